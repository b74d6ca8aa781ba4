"""``mhkd curves``."""

from collections.abc import Sequence
from pathlib import Path

import click

from ..terminal import say
from .paths import EXISTING


@click.command()
@click.argument("output_dirs", nargs=-1, required=True, type=EXISTING)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="PNG, SVG or PDF, by its ending. Default: curves.png in the first folder.",
)
def curves(output_dirs: Sequence[Path], out: Path | None) -> None:
    """Draw losses and scores over the iterations of one or more trainings."""
    from ..visualization.predict import draw_curves, name_runs

    out = out or output_dirs[0] / "curves.png"
    draw_curves(name_runs(output_dirs), out)
    say(out)
