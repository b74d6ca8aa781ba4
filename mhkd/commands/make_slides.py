"""``mhkd make-slides``."""

from pathlib import Path
from typing import Any

import click

from ..terminal import say
from .numbers import ABOVE_0, FROM_0, FROM_1, SEED
from .paths import FOLDER


@click.command("make-slides")
@click.argument("out", type=FOLDER)
@click.option("-n", "--num-slides", type=FROM_1, default=4, show_default=True)
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option(
    "--size-px", type=FROM_1, default=4096, show_default=True, help="Width and height at base level."
)
@click.option("--mpp", type=ABOVE_0, default=1.0, show_default=True, help="Micrometres per base pixel.")
@click.option(
    "--num-glomeruli", type=FROM_0, nargs=2, default=(25, 50), show_default=True, help="Least and most."
)
@click.option("--workers", type=FROM_1, default=1, show_default=True, help="Processes.")
def make_slides(out: Path, num_slides: int, seed: int, **options: Any) -> None:
    """Draw kidney-like slides with annotations: pyramidal TIFF and QuPath GeoJSON."""
    from ..synthetic import make_slides as draw

    least, most = options["num_glomeruli"]
    if least > most:
        raise click.BadParameter(f"--num-glomeruli {least} {most}: the least comes first, then the most")
    for path in draw(out, num_slides, seed=seed, **options):
        say(path)
