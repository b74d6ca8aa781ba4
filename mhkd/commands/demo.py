"""``mhkd demo``."""

from pathlib import Path

import click

from .numbers import SEED
from .paths import FOLDER


@click.command()
@click.option("--out", type=FOLDER, default="output/demo", show_default=True)
@click.option("--seed", type=SEED, default=0, show_default=True)
def demo(out: Path, seed: int) -> None:
    """Slides, teacher, four steps, LR-only student, table and pictures, small, on a CPU.

    Stopped, it goes on where it was. Everything is written below OUT.
    """
    from ..demo import run_demo

    run_demo(out, seed)
