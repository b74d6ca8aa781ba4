"""The table of a training: what the teacher reaches, what each step adds, what LR alone would give."""

import json
from pathlib import Path

from ..errors import InputError

TITLES = {
    "teacher_hr": "teacher on HR",
    "direct_lr": "teacher fed with LR (direct)",
    "lr_only": "student trained on LR alone",
    "stage1": "student after step 1, basic features",
    "stage2": "student after step 2, adaptive features",
    "stage3": "student after step 3, local features",
    "stage4": "student after step 4, output",
}
METRICS = ("AP", "AP50", "AP75", "AR")


def collect(trained: Path, lr_only: Path | None = None) -> dict[str, dict]:
    """Scores in percent (None: no such class in the test set) and seconds of training.

    Args:
        trained: OUTPUT_DIR of schedule ``mhkd``, or of what is finished of it.
        lr_only: OUTPUT_DIR of schedule ``none``.

    Returns:
        Keys of :data:`TITLES` -> AP, AP50, AP75, AR, AP-<class>, seconds.

    Raises:
        InputError: a folder without a finished step.
    """
    teacher, *steps = _reports(trained)
    rows = {
        "teacher_hr": _row(teacher, "teacher"),
        "direct_lr": {**_row(teacher, "direct"), "seconds": 0.0},  # the same weights
    }
    if lr_only:
        rows["lr_only"] = _row(_reports(lr_only)[0], "student")
    rows.update({f"stage{k}": _row(step, "student") for k, step in enumerate(steps, 1)})
    return rows


def markdown(results: dict[str, dict]) -> str:
    """The table, with the scores of each class where there are several."""
    classes = [k for k in results["teacher_hr"] if k.startswith("AP-")]
    columns = [*METRICS, *(classes if len(classes) > 1 else ()), "seconds"]
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for key, scores in results.items():
        cells = ("–" if scores[c] is None else f"{scores[c]:.1f}" for c in columns)
        lines.append(f"| {TITLES.get(key, key)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _reports(output_dir: Path) -> list[dict]:
    files = sorted(Path(output_dir).glob("*_*/stage.json"))
    if not files:
        raise InputError(f"{output_dir}: no finished step in it (no <k>_<step>/stage.json); train first")
    return [json.loads(f.read_text()) for f in files]


def _row(report: dict, which: str) -> dict:
    scores = report["results"].get(which)
    if not scores:
        raise InputError(f"{report['step']} was not scored as {which}: DATASETS.TEST was empty")
    kept = {k: v for k, v in scores.items() if k in METRICS or k.startswith("AP-")}
    return {**{k: v and round(v, 2) for k, v in kept.items()}, "seconds": report["seconds"]}
