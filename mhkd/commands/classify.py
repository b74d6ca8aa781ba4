"""``mhkd classify``."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ..terminal import legible, say
from .numbers import ABOVE_0
from .slide_options import SLIDE_MPP, with_options


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(), metavar="IMAGES|SLIDES...")
@click.option(
    "--student",
    type=click.Path(exists=True),
    required=True,
    help="Folder of a trained classifier, OUTPUT_DIR/student, or a file of mhkd pack.",
)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the results."
)
@click.option("--device", default="", help="cpu, cuda, ...; default: CUDA if there is one.")
@click.option(
    "--mode",
    type=click.Choice(["image", "section", "whole"]),
    help="Image files, or slides: each piece of tissue on them, or each slide as one image.  "
    "[default: as the student was trained]",
)
@click.option(
    "--image-mpp",
    type=ABOVE_0,
    help="Micrometres per pixel of image files.  [default: HR, as those that the student was trained on]",
)
@click.option("--lr", "are_lr", is_flag=True, help="Image files are at low resolution already.")
@with_options(*SLIDE_MPP)
@click.option(
    "--student-mpp", type=ABOVE_0, help="Micrometres per LR pixel of a student whose data did not record it."
)
def classify(
    paths: Sequence[str], student: str, out: Path, device: str, mode: str | None, image_mpp: float | None,
    are_lr: bool, student_mpp: float | None, **slide_mpp: Any,
) -> None:  # fmt: skip
    """Tell the class of IMAGES (files, folders), or of SLIDES and their pieces of tissue.

    OUT/classes.csv has a row for each file: its class and the probability of each class. A slide's are the
    mean of its pieces; each slide also gets a folder in OUT with a table of the pieces, GeoJSON for QuPath
    and JSON for Digital Slide Archive.

    Images are brought to the student's low resolution as in training, slides are read at it. Stopped at any
    moment, the same command goes on; what is finished is skipped. A file that cannot be used is reported, the
    others go on, and the exit status is 1.
    """
    from ..annotations.folders import find_slides
    from ..classifier import load_classifier
    from ..files import make_folder, write_text
    from ..slide_classification.images import classify_images, find_images, row_of
    from ..slide_classification.slides import SlideOptions, classify_slides
    from ..slide_detection.many import check_names
    from ..tables import csv_text
    from ..tiling.cut import Cut

    classifier = load_classifier(student, device, student_mpp, "--student-mpp")
    cut = classifier.cut if classifier.cut and classifier.cut.mode != "centred" else None
    asked, mode = mode, mode or (cut.mode if cut else "image")
    if mode == "image":
        if any(v is not None for v in slide_mpp.values()):
            raise click.UsageError("--slide-mpp and --override-slide-mpp are of slides: add --mode section")
        if are_lr and image_mpp:
            raise click.UsageError("--lr and --image-mpp: give one of them")
        images = find_images(paths, any_named=asked is not None)
        make_folder(out)
        said = classify_images(images, out, classifier, image_mpp, are_lr)
    else:
        if are_lr or image_mpp:
            raise click.UsageError(f"--lr and --image-mpp are of image files, not of --mode {mode}")
        slides, _ = find_slides(paths)
        check_names(slides, out)
        make_folder(out)
        # As mhkd tile cuts by default.
        how = cut if cut and cut.mode == mode else Cut(mode, min_tissue_um2=10_000.0, max_hole_um2=10_000.0)
        said = classify_slides(slides, out, classifier, SlideOptions(how, **slide_mpp))
    names = classifier.class_names
    lines = [row_of(path, names, found) for path, found in said.probabilities.items()]
    lines += [[path, *[None] * (2 + len(names)), error] for path, error in said.errors.items()]
    header = ["file", "class", "probability", *(f"p({name})" for name in names), "error"]
    filled = (line + [None] * (len(header) - len(line)) for line in lines)
    write_text(csv_text(header, filled), out / "classes.csv")
    say(f"{len(said.probabilities)} classified; see {out / 'classes.csv'}")
    if said.errors:
        say(f"{len(said.errors)} failed:", err=True)
        for error in said.errors.values():
            say(f"  {legible(error)}", err=True)
        sys.exit(1)
