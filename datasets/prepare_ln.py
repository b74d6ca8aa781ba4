#!/usr/bin/env python
"""Whole slides of lupus nephritis in five classes, each as one image: the paper's LN setting."""

import logging
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from mhkd.annotations import ClassMap
from mhkd.commands.slide_options import CLASSES as CLASS_OPTIONS
from mhkd.commands.slide_options import READING, RUNNING, SPLITS, with_options
from mhkd.errors import InputError
from mhkd.tiling.layout import Layout
from mhkd.tiling.slide_task import TileOptions
from mhkd.tiling.splits import assign_splits
from mhkd.tiling.tile import is_complete, summary, tile_slides

import click

CLASSES = ("Slight", "Severe", "Fibrosis", "Incomplete", "Uncertain")
SIZE_PX = (2304, 768)  # width, height
LR_FACTOR = 3


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("slides", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--out", default="datasets/ln", show_default=True, help="ln_train, ln_val.")
@with_options(*CLASS_OPTIONS, *SPLITS, *READING)
@click.option(
    "--tiles",
    type=click.Choice(["png", "regions"]),
    default="png",
    show_default=True,
    help="HR and LR files, or regions that are read from the slides while training (very slow).",
)
@with_options(*RUNNING)
def main(slides: tuple[str, ...], out: str, **options: Any) -> None:
    """Make a dataset of SLIDES (files, folders) of lupus nephritis with annotated glomeruli.

    \b
      datasets/prepare_ln.py slides/ --annotations qupath/ --split-csv patients.csv
      mhkd inspect ln --lr-factor 3
      make train CONFIG=projects/MHKD/configs/LN/mhkd_R50_FPN.yaml

    The paper's own 349 slides of 163 patients are private; any with its classes will do: Slight,
    Severe, Fibrosis, Incomplete, Uncertain, whatever the annotations call them (--class
    'GS=Fibrosis'). Annotations of QuPath, ImageScope, ASAP, Digital Slide Archive, COCO and label masks
    are read. Give the patients, by --split-csv or --patient-pattern, where one has several slides.

    Every slide becomes one image of 2304x768 px (HR) and 768x256 px (LR): as large as fits, in its
    own proportions, from the top left corner, the rest white. So each image has a resolution of its
    own, which is recorded; some 8 um per HR pixel for a biopsy of 2 cm. Slides that are upright become
    upright images, of 768x2304 px.

    Slides that cannot be read are left out, and the exit status is 1. Stopped, the same command goes on
    where it was.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        manifest = prepare(slides, out, **options)
    except InputError as e:
        raise click.ClickException(str(e)) from e
    click.echo(summary(manifest, out))
    sys.exit(0 if is_complete(manifest) else 1)


def prepare(
    slides: Sequence[str],
    out: str,
    *,
    annotations: str | None,
    pairs: Sequence[str],
    class_map: str | None,
    split: str | None,
    folds: int | None,
    split_csv: str | None,
    patient_pattern: str | None,
    seed: int,
    slide_mpp: float | dict[str, float] | None,
    point_diameter_um: float | None,
    tiles: str,
    workers: int = 1,
    strict: bool = False,
    override_slide_mpp: float | dict[str, float] | None = None,
) -> dict[str, Any]:
    """Make the dataset, see ``--help``.

    Returns:
        The manifest.

    Raises:
        InputError: a parameter makes no sense, no slide can be read, or strict and one cannot.
    """
    return tile_slides(
        slides,
        out,
        TileOptions(
            Layout(mode="whole", fit_px=SIZE_PX, lr_factor=LR_FACTOR),
            ClassMap.parse(pairs, class_map, CLASSES),
            annotations,
            slide_mpp,
            point_diameter_um,
            tiles,
            override_slide_mpp=override_slide_mpp,
        ),
        partial(
            assign_splits,
            shares=split,
            folds=folds,
            table=split_csv,
            pattern=patient_pattern,
            seed=seed,
        ),
        workers=workers,
        strict=strict,
        command=sys.argv,
    )


if __name__ == "__main__":
    main()
