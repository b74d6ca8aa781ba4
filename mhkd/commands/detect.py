"""``mhkd detect``."""

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from ..terminal import legible, say
from .numbers import ABOVE_0, AT_LEAST_0, FROM_1, SHARE
from .slide_options import SLIDE_MPP, with_options


@click.command()
@click.argument("slides", nargs=-1, required=True, type=click.Path())
@click.option(
    "--student",
    type=click.Path(exists=True),
    required=True,
    help="Folder of a trained student, OUTPUT_DIR/student; or an .onnx file of mhkd export; or a file of "
    "mhkd pack.",
)
@click.option("--out", type=click.Path(file_okay=False), required=True, help="Folder for the results.")
@click.option(
    "--device",
    default="",
    help="cpu, cuda, ...; default: CUDA if there is one; an .onnx file runs on the cpu.",
)
@click.option("--batch-size", type=FROM_1, default=4, show_default=True, help="Tiles in one forward.")
@click.option(
    "--score-threshold",
    type=SHARE,
    help="Score from which on a detection counts.  [default: what was chosen for the student, else 0.5]",
)
@click.option(
    "--keep-from-score",
    type=SHARE,
    default=0.05,
    show_default=True,
    help="Lowest score in the COCO results, for mhkd score, mhkd view and other thresholds.",
)
@click.option(
    "--overlap-um",
    type=AT_LEAST_0,
    default=300.0,
    show_default=True,
    help="Of neighbouring tiles: the largest glomerulus there may be.",
)
@click.option(
    "--tile-size-px",
    type=FROM_1,
    help="Side of a tile in HR pixels.  [default: what the student was scored on]",
)
@click.option(
    "--workers",
    type=FROM_1,
    default=2,
    show_default=True,
    help="Threads that read tiles; with --scheduler local: processes, a slide each.",
)
@with_options(*SLIDE_MPP)
@click.option(
    "--student-mpp", type=ABOVE_0, help="Micrometres per LR pixel of a student whose data did not record it."
)
@click.option(
    "--tissue-only/--glass-too",
    default=True,
    show_default=True,
    help="Leave out glass, or not, where tissue is taken for it.",
)
@click.option(
    "--qc",
    is_flag=True,
    help="Leave out tissue that is out of focus, under pen or black, and say how much. Without, summary.json "
    "says how much there is.",
)
@click.option(
    "--grade",
    type=click.Path(exists=True),
    help="Folder of a trained classifier, or a file of mhkd pack: tells the class of each glomerulus that is "
    "found, beside the student's.",
)
@click.option(
    "--grade-field-um",
    type=ABOVE_0,
    help="Side of the square around a glomerulus that it looks at.  [default: as it was trained]",
)
@click.option(
    "--grade-field-boxes", type=ABOVE_0, help="Instead: the same in longer sides of the glomerulus' box."
)
@click.option(
    "--grade-mpp",
    type=ABOVE_0,
    help="Micrometres per LR pixel of a classifier whose data did not record it.",
)
@click.option(
    "--flips",
    is_flag=True,
    help="Look at each tile and its flips, and average what the student says: four times the work.",
)
@click.option("--scheduler", help="Dask scheduler's address (tcp://host:8786), or local.")
def detect(
    slides: Sequence[str], student: str, out: str, device: str, overlap_um: float, tile_size_px: int | None,
    student_mpp: float | None, score_threshold: float | None, keep_from_score: float,
    workers: int, scheduler: str | None, grade: str | None, grade_field_um: float | None,
    grade_field_boxes: float | None, grade_mpp: float | None, flips: bool, **options: Any,
) -> None:  # fmt: skip
    """Find the glomeruli of SLIDES (files, folders) with a trained student.

    Each slide is read at the student's low resolution, whatever its own is, and gets a folder in OUT: COCO
    results, GeoJSON for QuPath, JSON for Digital Slide Archive, a table, an overview picture and a summary.
    OUT/summary.csv has a row for each slide.

    COCO results keep all detections from a low score on; everything else counts those from --score-threshold
    on. Given another threshold, or when one was chosen for the student, finished slides are counted anew
    without running the student again.

    With --grade a classifier tells the class of each glomerulus from its surroundings: CSV, GeoJSON and DSA
    then have its class and probability beside the student's own. Slides that are finished without are graded
    without being searched again.

    Stopped at any moment, the same command goes on inside the slide; finished slides are skipped. A slide
    that cannot be used is reported, the others go on, and the exit status is 1.

    What was corrected in `mhkd view` stays in the folder, and is made on what is found anew.

    Many machines: start "dask scheduler" on one and "dask worker ADDRESS --nthreads 1" on each (one worker
    a GPU, or one a CPU core), with the same files in sight, and give --scheduler ADDRESS. "local" does the
    same with --workers processes of this machine.
    """
    from ..corrections.journal import CORRECTIONS
    from ..evaluation.threshold_file import working_threshold
    from ..slide_detection.many import detect_slides
    from ..slide_detection.options import DetectOptions

    of_grades = {"field_um": grade_field_um, "field_boxes": grade_field_boxes, "lr_mpp": grade_mpp}
    if not grade and any(v is not None for v in of_grades.values()):
        raise click.UsageError("--grade-field-um, --grade-field-boxes and --grade-mpp are of --grade")
    grader = {"folder": grade, "device": device, **of_grades} if grade else None
    threshold = working_threshold(student, score_threshold)
    results, mixed = detect_slides(
        list(slides),
        out,
        {
            "folder": student,
            "device": device,
            "student_mpp": student_mpp,
            "overlap_um": overlap_um,
            "tile_size_px": tile_size_px,
            "min_score": keep_from_score,
            "flips": flips,
        },
        DetectOptions(
            overlap_um=overlap_um,
            score_threshold=threshold.score,
            score_threshold_from=threshold.source,
            keep_from_score=keep_from_score,
            **options,
        ),
        scheduler=scheduler,
        workers=workers,
        grader=grader,
    )
    failed = [r["error"] for r in results.values() if "error" in r]
    found = sum(r["glomeruli"] for r in results.values() if "error" not in r)
    say(f"counted: scores of {threshold.score:g} or more ({threshold.source})")
    say(f"slides finished: {len(results) - len(failed)}, glomeruli: {found}; see {out}/summary.csv")
    if kept := [
        path for path in results if os.path.exists(os.path.join(out, os.path.basename(path), CORRECTIONS))
    ]:
        say(
            f"corrections of {len(kept)} slides are kept; mhkd view and mhkd corrections make them on what "
            "was found now"
        )
    for line in mixed:
        say(f"warning: {legible(f'{out}: {line}')}", err=True)
    if failed:
        say(f"{len(failed)} failed:", err=True)
        for error in failed:
            say(f"  {legible(error)}", err=True)
        sys.exit(1)
