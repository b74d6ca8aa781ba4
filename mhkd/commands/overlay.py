"""``mhkd overlay``."""

from pathlib import Path

import click

from ..terminal import say
from .numbers import FROM_1, SHARE
from .paths import EXISTING, FOLDER


@click.command()
@click.option(
    "--student", type=EXISTING, required=True, help="Folder of an exported student, or a file of mhkd pack."
)
@click.option("--dataset", help="A dataset's name, e.g. kidney_roi_val.")
@click.option("--dataset-of", metavar="FILE", help="Take DATASETS.TEST of this config instead.")
@click.option("--out", type=FOLDER, required=True, help="Folder for the pictures.")
@click.option(
    "--score-threshold",
    type=SHARE,
    help="Score from which on a detection is drawn.  [default: what was chosen for the student, else 0.5]",
)
@click.option(
    "--teacher",
    type=EXISTING,
    help="Of a classifier: folder of its teacher, OUTPUT_DIR/0_teacher/teacher, whose map is drawn on HR.",
)
@click.option("--limit", type=FROM_1, help="At most so many pictures.")
@click.option("--device", default="", help="cpu, cuda, ...; default: CUDA if there is one.")
def overlay(
    student: Path, dataset: str | None, dataset_of: str | None, out: Path,
    score_threshold: float | None, teacher: Path | None, limit: int | None, device: str,
) -> None:  # fmt: skip
    """Draw what a student finds on LR: HR beside LR, false positives red, false negatives yellow.

    Of a classifier: where it looks, a Grad-CAM of the annotated class over the image, and with --teacher the
    teacher's on HR beside it.
    """
    from ..config_files import find_config
    from ..packed_student import unpacked
    from ..visualization.predict import test_sets

    if dataset:
        names = [dataset]
    elif dataset_of:
        names = test_sets(find_config(dataset_of))
    else:
        raise click.UsageError("give --dataset or --dataset-of")
    with unpacked(student) as source:
        _draw(Path(source), names, out, score_threshold, teacher, limit, device)


def _draw(
    student: Path, names: list[str], out: Path,
    score_threshold: float | None, teacher: Path | None, limit: int | None, device: str,
) -> None:  # fmt: skip
    from ..engine.exported import exported_cfg
    from ..evaluation.threshold_file import working_threshold
    from ..visualization.predict import overlay_dataset

    if exported_cfg(student, device).MHKD.TASK == "classification":
        from ..visualization.attention import attention_dataset

        if score_threshold is not None:
            raise click.UsageError(f"--score-threshold is of boxes: {student} tells classes of images")
        for name in names:
            paths = attention_dataset(student, name, out, teacher, limit, device)
            say(f"{len(paths)} pictures in {out}")
        return
    if teacher:
        raise click.UsageError(f"--teacher is of a classifier: {student} finds boxes")
    threshold = working_threshold(student, score_threshold)
    for name in names:
        paths = overlay_dataset(student, name, out, threshold.score, limit, device)
        say(f"{len(paths)} pictures in {out}; scores of {threshold.score:g} or more ({threshold.source})")
