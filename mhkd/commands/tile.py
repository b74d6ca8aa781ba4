"""``mhkd tile``."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click
from click.core import ParameterSource

from ..errors import InputError
from .numbers import ABOVE_0, AT_LEAST_0, FROM_1, SHARE
from .slide_options import CLASSES, READING, RUNNING, SPLITS, WITHIN, with_options


@click.command()
@click.argument("slides", nargs=-1, required=True, type=click.Path())
@click.option(
    "--out", type=click.Path(file_okay=False), required=True, help="datasets/NAME: NAME_train, NAME_val ..."
)
@click.option(
    "--task",
    type=click.Choice(["detection", "classification"]),
    default="detection",
    show_default=True,
    help="Tiles with the boxes in them, or images with a class each.",
)
@click.option(
    "--mode",
    type=click.Choice(["grid", "centred", "section", "whole"]),
    help="Tiles on a grid, one around each glomerulus, each piece of tissue (classification), or each slide "
    "as one image.  [default: grid; classification: centred]",
)
@click.option(
    "--field-um", type=ABOVE_0, help="Classification, centred: side of the square around an object's middle."
)
@click.option(
    "--field-boxes",
    type=ABOVE_0,
    help="Instead: the same in longer sides of the object's box, for where no resolution is known.",
)
@click.option(
    "--labels",
    type=click.Path(),
    help="Classification: table with the columns slide and class, in place of the annotated classes.",
)
@click.option(
    "--mpp", type=ABOVE_0, help="Micrometres per HR pixel.  [default for classification: of the base level]"
)
@click.option(
    "--fit-px",
    type=FROM_1,
    nargs=2,
    help="Instead, for whole slides: width and height they are fitted into, lying or upright.",
)
@click.option("--lr-factor", type=FROM_1, default=4, show_default=True, help="HR pixels per LR pixel.")
@click.option(
    "--tile-size-px", type=FROM_1, default=1024, show_default=True, help="Side of a tile in HR pixels."
)
@click.option(
    "--overlap-um",
    type=AT_LEAST_0,
    default=0.0,
    show_default=True,
    help="Of the grid's tiles; a glomerulus is 200.",
)
@click.option(
    "--min-visible",
    type=SHARE,
    default=0.5,
    show_default=True,
    help="A glomerulus cut to less than this is ignored.",
)
@click.option("--keep-empty", type=SHARE, help="Share of empty tiles kept.  [default: 1; centred: 0]")
@click.option(
    "--tissue-only/--glass-too",
    default=True,
    show_default=True,
    help="Leave out empty tiles of glass, or not, where tissue is taken for it.",
)
@click.option(
    "--min-tissue",
    type=SHARE,
    default=0.05,
    show_default=True,
    help="Share of an empty tile that must be tissue.",
)
@click.option(
    "--min-tissue-um2", type=AT_LEAST_0, default=10000.0, show_default=True, help="Smaller pieces are dust."
)
@click.option(
    "--max-hole-um2", type=AT_LEAST_0, default=10000.0, show_default=True, help="Smaller holes are tissue."
)
@with_options(*CLASSES)
@click.option(
    "--classes", help="The dataset's classes in order, A,B; others are left out.  [default: what there is]"
)
@with_options(*WITHIN, *SPLITS, *READING)
@click.option(
    "--no-annotations",
    is_flag=True,
    help="Of slides that nobody annotated, for MHKD.UNLABELED: tissue without objects or classes, "
    "all in NAME_train unless splits are asked for.",
)
@click.option(
    "--tiles",
    type=click.Choice(["regions", "png"]),
    default="regions",
    show_default=True,
    help="Read from the slides while training, or HR and LR files.",
)
@click.option(
    "--lr-filter",
    type=click.Choice(["area", "lanczos"]),
    default="area",
    show_default=True,
    help="Of LR files; regions go by INPUT.LR_FILTER.",
)
@click.option("--verify", is_flag=True, help="Read every tile now, so that damage shows.")
@with_options(*RUNNING)
def tile(
    slides: Sequence[str], out: str, pairs: Sequence[str], class_map: str | None, classes: str | None,
    workers: int, strict: bool, task: str, mode: str | None, mpp: float | None,
    field_um: float | None, field_boxes: float | None, labels: str | None,
    min_tissue_um2: float, max_hole_um2: float, **options: Any,
) -> None:  # fmt: skip
    """Make a dataset to train on of SLIDES (files, folders) and their annotations, from whatever tool.

    Stopped, or run again with more slides, it does only what is missing. Slides and annotations that cannot
    be read are left out, and the exit status is 1; whatever else is in the folders is named.

    With --task classification the dataset is of images with a class each, which stay parts of the slides:

    \b
      mhkd tile slides/ --out datasets/gloms --task classification --mpp 0.5 --field-um 300
      mhkd tile slides/ --out datasets/pieces --task classification --mode section --mpp 2 --labels table.csv
      mhkd tile datasets/kidneys --out datasets/gloms --task classification --field-boxes 1.5

    The last is of a COCO dataset, annotations_<split>.json, one image an object; its splits stay.
    """
    from ..tiling.cut import Cut
    from ..tiling.tile import run_tile

    given = dict(field_um=field_um, field_boxes=field_boxes, labels=labels)
    tissue = dict(mpp=mpp, min_tissue_um2=min_tissue_um2, max_hole_um2=max_hole_um2)
    if task == "classification":
        _refuse_given(OF_TILES, "is of tiles to detect in: leave it out with --task classification")
        mode = mode or "centred"
        cut = Cut(mode, field_um=field_um, field_boxes=field_boxes, **tissue)  # type: ignore[arg-type]
        options |= {"cut": cut, "labels": labels}
    else:
        _refuse_given(given, "is of images with a class each: add --task classification")
        options |= {"mode": mode or "grid", **tissue}
    sys.exit(0 if run_tile(slides, out, pairs, class_map, classes, workers, strict, **options) else 1)


# Options that say nothing of images with a class each.
OF_TILES = ("fit_px", "lr_factor", "tile_size_px", "overlap_um", "min_visible", "keep_empty", "tissue_only",
            "min_tissue", "tiles", "lr_filter", "within")  # fmt: skip


def _refuse_given(names: Iterable[str], why: str) -> None:
    """Options that were written on the command line and would change nothing."""
    context = click.get_current_context()
    options = {p.name: p.opts[0] for p in context.command.params}
    for name in names:
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            raise InputError(f"{options[name]}: {why}")
