"""The table of a training: what the teacher reaches, what each step adds, what LR alone would give."""

import re
from pathlib import Path
from typing import Any

from ..coco.schema import MAX_NUMBER
from ..errors import InputError
from ..files import read_json
from ..tables import markdown_head, markdown_row
from ..yaml_files import read_config
from .mask_scores import MASK_METRICS

TITLES = {
    "teacher_hr": "teacher on HR",
    "direct_lr": "teacher fed with LR (direct)",
    "lr_only": "student trained on LR alone",
}
STEP_TITLES = {
    "basic": "basic features",
    "adaptive": "adaptive features",
    "local": "local features",
    "semantic": "output",
}
METRICS = ("AP", "AP50", "AP75", "AR")
_STEP = re.compile(r"\d{1,6}_\w+")
TRAIN_AGAIN = "restore it, or move its folder away and train that step again"
TEACHER_AP = "teacher's AP on HR"  # after a step in which it trained, too


def collect(trained: Path, lr_only: Path | None = None) -> dict[str, dict[str, Any]]:
    """Scores in percent (None: no such class in the test set) and seconds of training.

    Args:
        trained: OUTPUT_DIR of any schedule, or of what is finished of it.
        lr_only: OUTPUT_DIR of schedule ``none``.

    Returns:
        "teacher_hr" and "direct_lr" where that training made its teacher, "lr_only" if given, and "stage1",
        ... of its student's steps -> AP, AP50, AP75, AR, AP-<class>, seconds; of a student's step also its
        name, "step", and, if the teacher trained in it, "teacher's AP on HR". With several test sets their
        names come before, "name/AP".

    Raises:
        InputError: a folder without a finished step, or ``lr_only`` of a training with a teacher's losses or
            with other test sets.
    """
    rows = {}
    steps = _reports(trained)
    if 0 in steps:
        rows["teacher_hr"] = _row(steps[0], "teacher")
        rows["direct_lr"] = {**_row(steps.pop(0), "direct"), "seconds": 0.0}  # the same weights
    if lr_only:
        _, report = _reports(lr_only).popitem()
        if "student" not in report["results"] or set(report.get("losses", ["detect"])) != {"detect"}:
            raise InputError(
                f"{lr_only}: its last step is {report['step']}: --lr-only is for a student trained on LR "
                "alone (MHKD.SCHEDULE none)"
            )
        _check_same_test_sets(trained, lr_only)
        rows["lr_only"] = _row(report, "student")
    for position, report in steps.items():
        row = {"step": report["step"], **_row(report, "student")}
        if report["results"].get("teacher"):  # one that trained in this step
            teacher = _row(report, "teacher")
            row |= {prefix + TEACHER_AP: teacher[f"{prefix}AP"] for prefix in _test_sets(teacher)}
        rows[f"stage{position}"] = row
    return rows


def markdown(results: dict[str, dict[str, Any]]) -> str:
    """The table, one for each test set, with the scores of each class where there are several."""
    sets = _test_sets(next(iter(results.values())))
    tables = [_table(results, name) for name in sets]
    if len(sets) == 1:
        return tables[0]
    return "\n".join(f"{name.rstrip('/')}:\n\n{table}" for name, table in zip(sets, tables))


def _table(results: dict[str, dict[str, Any]], prefix: str) -> str:
    first = next(iter(results.values()))
    classes = [k.removeprefix(prefix) for k in first if k.startswith(f"{prefix}AP-")]
    masks = [m for m in MASK_METRICS if prefix + m in first]
    columns = [*METRICS, *(classes if len(classes) > 1 else ()), *masks]
    columns += [TEACHER_AP] * any(prefix + TEACHER_AP in scores for scores in results.values()) + ["seconds"]
    lines = markdown_head("", *columns)
    for key, scores in results.items():
        values = (scores.get(c if c == "seconds" else prefix + c) for c in columns)
        cells = ("–" if v is None else f"{v:.1f}" for v in values)
        lines.append(markdown_row(_title(key, scores), *cells))
    return "\n".join(lines) + "\n"


def _title(key: str, row: dict[str, Any]) -> str:
    if "step" not in row:
        return TITLES.get(key, key)
    position, name = row["step"].split("_", 1)
    return f"student after step {position}, {STEP_TITLES.get(name, name.replace('_', ' '))}"


def _test_sets(scores: dict[str, Any]) -> list[str]:
    """What comes before the metrics of each: "" where there is one test set, else "name/"."""
    return [k.removesuffix("AP") for k in scores if k == "AP" or k.endswith("/AP")]


def _check_same_test_sets(trained: Path, lr_only: Path) -> None:
    """Scores on one test set are recorded without its name, so the configs have to tell."""
    configs = [folder / "config.yaml" for folder in (trained, lr_only)]
    if not all(config.is_file() for config in configs):
        return
    ours, others = (read_config(config)[0].get("DATASETS", {}).get("TEST", ()) for config in configs)
    if list(ours) != list(others):
        raise InputError(
            f"{lr_only}: was scored on {', '.join(others) or 'nothing'}, {trained} on "
            f"{', '.join(ours) or 'nothing'}: train both with the same DATASETS.TEST"
        )


def _reports(output_dir: Path) -> dict[int, dict[str, Any]]:
    """Position of each finished step, in order, and its ``stage.json`` with that "file"'s path."""
    files = sorted(Path(output_dir).glob("*_*/stage.json"))
    if not files:
        raise InputError(f"{output_dir}: no finished step in it (no <k>_<step>/stage.json); train first")
    reports = [read_stage(f) for f in files]
    return {int(r["step"].split("_", 1)[0]): {**r, "file": f} for r, f in zip(reports, files)}


def read_stage(path: Path) -> dict[str, Any]:
    """``stage.json`` of a finished step, as far as tables and curves need it.

    Returns:
        Among others its name, "<position>_<name>", in "step", its scores in "results", and "seconds".

    Raises:
        InputError: it is no such record.
    """
    report = read_json(path, dict, TRAIN_AGAIN)
    step, results, losses = (report.get(k) for k in ("step", "results", "losses"))
    good = isinstance(step, str) and _STEP.fullmatch(step) is not None
    good = good and isinstance(results, dict) and all(map(_are_scores, results.values()))
    good = good and _is_number(report.get("seconds"))
    good = good and (losses is None or isinstance(losses, (list, dict)))
    good = good and all(isinstance(name, str) for name in losses or ())
    if not good:
        raise InputError(f"{path}: is no record of a step with its scores: {TRAIN_AGAIN}")
    return report


def _are_scores(scores: Any) -> bool:
    """By name, in percent or None; or nothing, where a network was not scored."""
    return not scores or (
        isinstance(scores, dict) and all(v is None or _is_number(v) for v in scores.values())
    )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < MAX_NUMBER


def _row(report: dict[str, Any], which: str) -> dict[str, Any]:
    scores = report["results"].get(which)
    if not scores:
        raise InputError(
            f"{report['file']}: has no scores of the {which}: DATASETS.TEST was empty in its training, or "
            "the file is damaged"
        )
    kept: dict[str, Any] = {}
    for prefix in _test_sets(scores):
        metrics = {prefix + m for m in (*METRICS, *MASK_METRICS)}
        kept |= {k: v for k, v in scores.items() if k in metrics or k.startswith(f"{prefix}AP-")}
    return {**{k: v and round(v, 2) for k, v in kept.items()}, "seconds": report["seconds"]}
