"""``mhkd record``."""

from pathlib import Path

import click

from ..terminal import say
from .paths import EXISTING


@click.command()
@click.argument("student", type=EXISTING)
@click.option("--train", metavar="DATASET", help="What it learned from, e.g. mine_train: its colour.")
@click.option("--val", metavar="DATASET", help="What it has not seen, e.g. mine_val: how sure it is there.")
@click.option("--device", default="", help="cpu, cuda, ...  [default: CUDA if there is one]")
def record(student: Path, train: str | None, val: str | None, device: str) -> None:
    """Record in an exported STUDENT what its training data are like, so that unlike slides are named.

    \b
      mhkd record output/mine/student --train mine_train --val mine_val

    A training does this by itself; this is for students of before, and for those of mhkd export, which know
    the colour alone. It writes training_data.json into the folder. An .onnx file or a packed one is made of
    the folder anew. mhkd detect, given again, names finished slides that are unlike, and does not search
    them again.
    """
    from ..slide_detection.record import record_training_data

    if not (train or val):
        raise click.UsageError("give --train, --val or both")
    for line in record_training_data(student, train, val, device):
        say(line)
