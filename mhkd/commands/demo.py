"""``mhkd demo``."""

from pathlib import Path

import click

from .numbers import SEED
from .paths import FOLDER


@click.command()
@click.option("--out", type=FOLDER, default="output/demo", show_default=True)
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--steps", type=click.Choice(["recommended", "paper"]), default="recommended",
              show_default=True, help="A small student that features_falling teaches, from the "
                                      "teacher's weights, or the paper's four steps.")  # fmt: skip
def demo(out: Path, seed: int, steps: str) -> None:
    """Slides, teacher, a student it teaches and one on LR alone, table and pictures, small, on a CPU.

    Stopped, it goes on where it was. Everything is written below OUT.
    """
    from ..demo import run_demo

    run_demo(out, seed, steps=steps)
