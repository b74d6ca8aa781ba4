"""``mhkd overlay``."""

from pathlib import Path

import click

from .numbers import FROM_1, SHARE
from .paths import EXISTING, FOLDER


@click.command()
@click.option("--student", type=EXISTING, required=True, help="Folder of an exported student.")
@click.option("--dataset", help="A dataset's name, e.g. kidney_roi_val.")
@click.option("--dataset-of", metavar="FILE", help="Take DATASETS.TEST of this config instead.")
@click.option("--out", type=FOLDER, required=True, help="Folder for the pictures.")
@click.option(
    "--score-threshold",
    type=SHARE,
    help="Score from which on a detection is drawn.  [default: what was chosen for the student, else 0.5]",
)
@click.option("--limit", type=FROM_1, help="At most so many pictures.")
@click.option("--device", default="", help="cpu, cuda, ...; default: CUDA if there is one.")
def overlay(
    student: Path, dataset: str | None, dataset_of: str | None, out: Path,
    score_threshold: float | None, limit: int | None, device: str,
) -> None:  # fmt: skip
    """Draw what a student finds on LR: HR beside LR, false positives red, false negatives yellow."""
    from ..config_files import find_config
    from ..evaluation.threshold_file import working_threshold
    from ..visualization.predict import overlay_dataset, test_sets

    if dataset:
        names = [dataset]
    elif dataset_of:
        names = test_sets(find_config(dataset_of))
    else:
        raise click.UsageError("give --dataset or --dataset-of")
    threshold = working_threshold(student, score_threshold)
    for name in names:
        paths = overlay_dataset(student, name, out, threshold.score, limit, device)
        click.echo(
            f"{len(paths)} pictures in {out}; scores of {threshold.score:g} or more ({threshold.source})"
        )
