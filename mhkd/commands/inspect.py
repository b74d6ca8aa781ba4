"""``mhkd inspect``."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ..terminal import say
from .numbers import FROM_0, FROM_1
from .paths import FOLDER


@click.command("inspect")
@click.argument("datasets", nargs=-1, required=True)
@click.option("--out", type=FOLDER, default="output/inspect", show_default=True)
@click.option(
    "--num-images", type=FROM_0, default=6, show_default=True, help="On a contact sheet; 0: none is drawn."
)
@click.option("--lr-factor", type=FROM_1, default=4, show_default=True, help="HR pixels per LR pixel.")
@click.option("--lr-filter", type=click.Choice(["area", "lanczos"]), default="area", show_default=True)
@click.option("--strict", is_flag=True, help="Exit with 1 if there is any warning.")
def inspect(datasets: Sequence[str], out: Path, strict: bool, **options: Any) -> None:
    """Count, check and draw DATASETS: "my_kidneys" (all splits) or "my_kidneys_train".

    Prints images, slides, patients and objects by class, and the objects' sizes (in micrometres where
    the images record their mpp). Warns of slides or patients in two splits, of boxes that are empty or
    outside their images, of classes that training does not see, and of sizes that no glomerulus has.
    OUT gets a contact sheet of each split with its boxes, HR beside LR, histograms of the sizes, and
    all of it as JSON. Of images with a class each (labels_<split>.csv) it prints sizes, and images, slides
    and patients by class, and warns of images that are missing, damaged or there twice.
    """
    from ..visualization.inspection import inspect as look_into

    report, warnings = look_into(datasets, out, **options)
    say(report)
    if strict and warnings:
        sys.exit(1)
