"""``mhkd score``."""

import sys
from pathlib import Path
from typing import Any

import click

from ..terminal import say
from .numbers import FROM_0, SEED, SHARE
from .slide_options import WITHIN, with_options


@click.command()
@click.argument("out_dir", type=click.Path(path_type=Path))
@click.option("--annotations", type=click.Path(exists=True), required=True, help="Folder, or one file.")
@click.option(
    "--slides",
    type=click.Path(exists=True, file_okay=False),
    help="Where the slides are now, if they have moved.",
)
@click.option(
    "--class",
    "pairs",
    multiple=True,
    metavar="FROM=TO",
    help="Class of the annotations to one of the student; FROM= drops; '*' is all others, '' those "
    "without one.",
)
@click.option("--class-map", type=click.Path(), help="YAML file of FROM: TO.")
@with_options(*WITHIN)
@click.option("--one-class", is_flag=True, help="Score all classes of both sides as one.")
@click.option("--patient-csv", type=click.Path(), help="Table with the columns slide and patient.")
@click.option(
    "--patient-pattern", help="Regular expression with (?P<patient>...) for the slides' file names."
)
@click.option(
    "--score-threshold",
    type=SHARE,
    help="For counts, sensitivity, precision and sheets; AP and FROC use all detections.  "
    "[default: what mhkd detect counted from]",
)
@click.option(
    "--choose-threshold",
    is_flag=True,
    help="Record the threshold with the highest F1 in the student's folder (or beside its .onnx file), for "
    "mhkd detect.",
)
@click.option(
    "--student",
    type=click.Path(exists=True),
    help="With --choose-threshold: where the student is now, if it has moved.",
)
@click.option(
    "--bootstrap", type=FROM_0, default=1000, show_default=True, help="Samples for the intervals; 0: none."
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the samples.")
@click.option(
    "--sheets",
    type=FROM_0,
    default=24,
    show_default=True,
    help="At most so many false positives, and missed ones, on a slide's sheet; 0: no sheets.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the scores.  [default: OUT_DIR/scores]",
)
def score(
    out_dir: Path, annotations: str, out: Path | None, sheets: int, choose_threshold: bool, **options: Any
) -> None:
    """Score what `mhkd detect` found against annotations.

    AP, AP50, AP75 and AR after stitching, each slide one image; sensitivity, precision and FROC; how far the
    counts are off; all by class, with 95 % intervals by patient (slide, where patients are not known). OUT
    gets scores.json, scores.md, slides.csv, the annotations as coco_annotations.json with the ids of the COCO
    results and, for each slide, a sheet of its errors: false positives red, missed glomeruli yellow.

    A slide without an annotation file is reported and not scored; one whose file is there and empty has no
    glomeruli. Slides that cannot be used are reported, and the exit status is 1.

    What was found is not changed: the counts stay those of mhkd detect.
    """
    from ..slide_detection.scores.run import run_score
    from ..visualization.error_sheet import write_error_sheets

    out = out or out_dir / "scores"
    scoring = run_score(out_dir, annotations, out, choose_threshold=choose_threshold, **options)
    if sheets:
        write_error_sheets(scoring.slides, out / "errors", scoring.report["score_threshold"], sheets)
    say(scoring.text + (scoring.choose_threshold() if choose_threshold else ""))
    sys.exit(1 if scoring.report["failed"] else 0)
