"""Where distillation pays: tables beyond the paper's. All students start from the teacher's weights."""

from .rows import METHODS, Method, Row, Table

_FEW = ("MHKD.LABELED_SHARE", "0.25")
_FEWER = ("MHKD.LABELED_SHARE", "0.1")
_MIXED = ("MHKD.UNLABELED_RATIO", "0.75")
_X8 = ("INPUT.LR_FACTOR", "8")
_SCANNER = ("INPUT.SCANNER.BLUR_PX", "1.0", "INPUT.SCANNER.NOISE", "8.0", "INPUT.SCANNER.JPEG_QUALITY", "50")


def _row(key: str, title: str, schedule: str, options: tuple[str, ...] = ()) -> Row:
    direct = "faster_rcnn" if schedule == "direct" else ""
    return Row(Method(key, title, schedule, direct, (), options), {}, title)


def _regime(suffix: str, title: str, options: tuple[str, ...]) -> Table:
    """The same five students under other conditions."""
    return Table(
        suffix,
        title,
        "",
        f"none_{suffix}",
        (
            _row(f"direct_{suffix}", "teacher fed with LR", "direct", options),
            _row(f"none_{suffix}", "trained on LR", "none_from_teacher", options),
            _row(f"features_{suffix}", "and features of the teacher", "features_w8", options),
            _row(f"label_free_{suffix}", "features alone, no labels", "label_free", options),
            _row(f"pseudo_{suffix}", "features and pseudo labels, no labels", "pseudo_features", options),
        ),
    )


REGIMES = {
    t.number: t
    for t in (
        Table(
            "losses",
            "what to distil, all labels",
            "",
            "none_from_teacher",
            (
                Row(METHODS["none_from_teacher"], {}, "trained on LR"),
                _row("features_w1", "basic + local, weight 1", "features_w1"),
                _row("features_w4", "basic + local, weight 4", "features_w4"),
                _row("features_w8", "basic + local, weight 8", "features_w8"),
                _row("basic_w8", "basic, weight 8", "basic_w8"),
                _row("local_w8", "local, weight 8", "local_w8"),
                _row("standardized", "standardised features (PKD)", "standardized"),
                _row("standardized_w4", "standardised features (PKD), weight 4", "standardized_w4"),
                _row("foreground_w8", "foreground-weighted features, weight 8", "foreground_w8"),
                _row("attention_w8", "attention maps, weight 8", "attention_w8"),
                _row("soft", "softened outputs", "soft"),
                _row("features_soft", "basic + local, weight 8, softened outputs", "features_soft"),
                _row("features_then_labels", "weight 8, then weight 1", "features_then_labels"),
                _row("label_free_then_labels", "label-free, then labels", "label_free_then_labels"),
            ),
        ),
        Table(
            "label_free",
            "no label at LR",
            "",
            "faster_rcnn",
            (
                Row(METHODS["faster_rcnn"], {}, "teacher fed with LR"),
                _row("label_free", "basic + local, weight 8, the teacher's heads", "label_free"),
                _row("label_free_standardized", "standardised features, weight 4", "label_free_standardized"),
                _row("pseudo_labels", "pseudo labels", "pseudo_labels"),
                _row("pseudo_features", "pseudo labels, basic + local, weight 8", "pseudo_features"),
                Row(METHODS["none_from_teacher"], {}, "all labels"),
            ),
        ),
        Table(
            "few_labels",
            "a quarter and a tenth of the labelled images",
            "",
            "none_25",
            (
                _row("none_25", "25 %: trained on LR", "none_from_teacher", _FEW),
                _row("features_25", "25 %: and features", "features_w8", _FEW),
                _row("mixed_25", "25 %: and features, unlabelled images", "features_w8", _FEW + _MIXED),
                _row("none_10", "10 %: trained on LR", "none_from_teacher", _FEWER),
                _row("features_10", "10 %: and features", "features_w8", _FEWER),
                _row("mixed_10", "10 %: and features, unlabelled images", "features_w8", _FEWER + _MIXED),
            ),
        ),
        _regime("x8", "eight times coarser", _X8),
        _regime("scanner", "blur, noise and JPEG of a cheap scanner", _SCANNER),
    )
}
