"""Where distillation pays: tables beyond the paper's. Students start from the teacher's weights, but those of
table `bfa`, which start from scratch, as the paper's do."""

from dataclasses import replace

from ..errors import InputError
from .rows import METHODS, TABLES, Method, Row, Table

_FEW = ("MHKD.LABELED_SHARE", "0.25")
_FEW_HR = (*_FEW, "MHKD.TEACHER_LABELED_SHARE", "0.25")
_MIXED = ("MHKD.UNLABELED_RATIO", "0.75")
_ADAPTED = ("MHKD.STUDENT_START", "teacher")
# Four times the parameters, on the coarsest level that the heads of R18 see; the paper's BFA is five times as
# large as all the rest.
_LARGE_BFA = ("MODEL.BFA.LEVELS", "['p5']", "MODEL.BFA.CHANNELS", "288")
_X8 = ("INPUT.LR_FACTOR", "8")
_NATIVE = ("MODEL.STUDENT.INPUT", "native")
_HALF = (
    *_NATIVE, "MODEL.STUDENT.STEM_OUT_CHANNELS", "32", "MODEL.STUDENT.RES2_OUT_CHANNELS", "32",
    "MODEL.STUDENT.STAGES", "3", "MODEL.STUDENT.FPN_CHANNELS", "64", "MODEL.STUDENT.FC_DIM", "128",
)  # fmt: skip
_BATCH_4 = (
    "SOLVER.IMS_PER_BATCH", "4", "SOLVER.REFERENCE_IMS_PER_BATCH", "1", "MHKD.STUDENT_ITERS", "1000",
)  # fmt: skip
_MASKS = (
    "MODEL.MASK_ON", "True", "MODEL.ROI_MASK_HEAD.NUM_CONV", "2", "MODEL.ROI_MASK_HEAD.CONV_DIM", "128",
    "MODEL.ROI_MASK_HEAD.NORM", "GN",
)  # fmt: skip
_SCANNER = ("INPUT.SCANNER.BLUR_PX", "1.0", "INPUT.SCANNER.NOISE", "8.0", "INPUT.SCANNER.JPEG_QUALITY", "50")


def _row(key: str, title: str, schedule: str = "", options: tuple[str, ...] = ()) -> Row:
    """Of the schedule of that name, unless another is given."""
    direct = "faster_rcnn" if schedule == "direct" else ""
    return Row(Method(key, title, schedule or key, direct, (), options), {}, title)


def _known(key: str, title: str) -> Row:
    """A row of the paper's tables."""
    return Row(METHODS[key], {}, title)


def _table(name: str, title: str, reference: str, *rows: Row) -> Table:
    return Table(name, title, "", reference, rows)


def _regime(name: str, title: str, options: tuple[str, ...]) -> Table:
    """The same students under other conditions."""
    return _table(
        name,
        title,
        f"none_{name}",
        _row(f"direct_{name}", "teacher fed with LR", "direct", options),
        _row(f"none_{name}", "trained on LR", "none_from_teacher", options),
        _row(f"features_{name}", "and features, at weight 8 throughout", "features_w8", options),
        _row(f"falling_{name}", "and features, at a falling weight", "features_falling", options),
        _row(f"label_free_{name}", "features alone, no labels", "label_free", options),
    )


def _half(key: str, title: str, *options: str, schedule: str = "none_from_teacher") -> Row:
    """One way of training a native student half as wide, after the table's one teacher."""
    row = _row(f"half_{key}", title, schedule, _HALF + options)
    return replace(row, method=replace(row.method, given_teacher=True))


def _few(percent: int) -> tuple[Row, Row]:
    """The student knows the annotations of so many images; the others it draws as often as they are."""
    share = ("MHKD.LABELED_SHARE", str(percent / 100))
    mixed = (*share, "MHKD.UNLABELED_RATIO", str(1 - percent / 100))
    return (
        _row(f"none_{percent}", f"{percent} % of the labels: trained on LR", "none_from_teacher", share),
        _row(f"mixed_{percent}", f"{percent} %: features, others with pseudo labels", "features_w8", mixed),
    )


REGIMES = {
    t.number: t
    for t in (
        _table(
            "all_labels",
            "every image labelled at LR",
            "none_from_teacher",
            _known("none_from_teacher", "trained on LR"),
            _row("none_bfa_adapted", "trained on LR, with BFA", "none_bfa", _ADAPTED),
            _row("features_w8", "and features"),
            _row("features_falling", "and features, at a falling weight"),
        ),
        _table(
            "label_free",
            "no label at LR",
            "faster_rcnn",
            _known("faster_rcnn", "teacher fed with LR"),
            _row("label_free", "features alone, no labels"),
            _row("features_w8", "features and all labels"),
            _known("none_from_teacher", "all labels"),
        ),
        _table(
            "few_labels",
            "a share of the images labelled at LR",
            "none_25",
            *(row for percent in (10, 25, 50) for row in _few(percent)),
            _row("label_free", "features of all images, no labels"),
        ),
        _table(
            "few_labels_hr",
            "a quarter of the images labelled, for the teacher too",
            "none_25_hr",
            _row("direct_25_hr", "teacher fed with LR", "direct", _FEW_HR),
            _row("none_25_hr", "trained on LR", "none_from_teacher", _FEW_HR),
            _row("pseudo_25_hr", "others with pseudo labels", "none_from_teacher", _FEW_HR + _MIXED),
            _row("mixed_25_hr", "and features, others with pseudo labels", "features_w8", _FEW_HR + _MIXED),
            _row("falling_25_hr", "the same at a falling weight", "features_falling", _FEW_HR + _MIXED),
            _row("label_free_25_hr", "features of all images, no labels", "label_free", _FEW_HR + _MIXED),
        ),
        _table(
            "native",
            "a student that sees the LR pixels themselves",
            "features_falling_native",
            _row("features_falling", "upsampled, features at a falling weight"),
            _row("none_native", "native, trained on LR", "none_from_teacher", _NATIVE),
            _row(
                "features_falling_native", "native, features at a falling weight", "features_falling", _NATIVE
            ),
            _row("none_native_half", "half as wide, trained on LR", "none_from_teacher", _HALF),
            _row("features_falling_native_half", "half as wide, features", "features_falling", _HALF),
        ),
        _table(
            "bfa",
            "the size of the Basic Feature Adaptive module",
            "three_step",
            _known("three_step", "three steps, without BFA"),
            _known("mhkd", "four steps, BFA on every level"),
            _row("mhkd_large_bfa", "four steps, four times that on the coarsest", "mhkd", _LARGE_BFA),
            _known("none", "on LR alone, without BFA"),
            _known("none_bfa", "on LR alone, BFA on every level"),
            _row("none_large_bfa", "on LR alone, four times that on the coarsest", "none_bfa", _LARGE_BFA),
        ),
        _table(
            "peers",
            "what other works distil with",
            "none_from_teacher",
            _known("none_from_teacher", "trained on LR"),
            _row("features_falling", "features at a falling weight (ours)"),
            _row("features_w8", "features at one weight"),
            _row("pkd", "correlation of features (PKD)"),
            _row("fgd_focal", "features of objects, by attention (FGD's focal part)"),
        ),
        _table(
            "peers_half",
            "what other works distil with, to a native student half as wide",
            "half_none",
            _half("none", "trained on LR"),
            _half("features_falling", "features at a falling weight (ours)", schedule="features_falling"),
            _half("pkd", "correlation of features (PKD)", schedule="pkd"),
            _half("fgd_focal", "features of objects, by attention (FGD's focal part)", schedule="fgd_focal"),
        ),
        _table(
            "options",
            "what other detectors are trained with, one at a time, at as many images",
            "half_none",
            _half("none", "native, half as wide, trained on LR"),
            _half("ema", "weights averaged", "SOLVER.EMA_DECAY", "0.998"),
            _half("cosine", "a cosine course", "SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR"),
            _half("batch_4", "batches of four", *_BATCH_4),
        ),
        _table(
            "masks",
            "boxes and outlines",
            "features_falling",
            _known("none_from_teacher", "boxes, trained on LR"),
            _row("features_falling", "boxes, and features"),
            _row("direct_masks", "boxes and masks, teacher fed with LR", "direct", _MASKS),
            _row("none_masks", "boxes and masks, trained on LR", "none_from_teacher", _MASKS),
            _row("features_falling_masks", "boxes and masks, and features", "features_falling", _MASKS),
        ),
        _regime("x8", "eight times coarser", _X8),
        _regime("scanner", "blur, noise and JPEG of a cheap scanner", _SCANNER),
    )
}


def get_tables(name: str) -> list[Table]:
    """The table of that name, or with "all" the paper's six.

    Raises:
        InputError: another name.
    """
    if name.lower() == "all":
        return list(TABLES.values())
    known = {k.lower(): t for k, t in (TABLES | REGIMES).items()}
    if name.lower() not in known:
        names = ", ".join(t.number for t in known.values())
        raise InputError(f"unknown table {name!r}: choose one of {names}, all")
    return [known[name.lower()]]
