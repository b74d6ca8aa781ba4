"""``mhkd tile``."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from .numbers import ABOVE_0, AT_LEAST_0, FROM_1, SHARE
from .slide_options import CLASSES, READING, RUNNING, SPLITS, with_options


@click.command()
@click.argument("slides", nargs=-1, required=True, type=click.Path())
@click.option(
    "--out", type=click.Path(file_okay=False), required=True, help="datasets/NAME: NAME_train, NAME_val ..."
)
@click.option(
    "--mode",
    type=click.Choice(["grid", "centred", "whole"]),
    default="grid",
    show_default=True,
    help="Tiles on a grid, one around each glomerulus, or each slide as one image.",
)
@click.option("--mpp", type=ABOVE_0, help="Micrometres per HR pixel.")
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
@with_options(*SPLITS, *READING)
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
    workers: int, strict: bool, **options: Any,
) -> None:  # fmt: skip
    """Make a dataset to train on of SLIDES (files, folders) and their annotations, from whatever tool.

    Stopped, or run again with more slides, it does only what is missing. Slides and annotations that cannot
    be read are left out, and the exit status is 1; whatever else is in the folders is named.
    """
    from ..tiling.tile import is_complete, run_tile

    manifest = run_tile(slides, out, pairs, class_map, classes, workers, strict, **options)
    sys.exit(0 if is_complete(manifest) else 1)
