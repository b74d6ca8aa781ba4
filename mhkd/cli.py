"""``mhkd``: the project's one command-line program."""

import io
import sys
from typing import Any

import click

from .commands.classify import classify
from .commands.corrections import corrections
from .commands.curves import curves
from .commands.demo import demo
from .commands.detect import detect
from .commands.export import export
from .commands.inspect import inspect
from .commands.make_slides import make_slides
from .commands.next import next_
from .commands.overlay import overlay
from .commands.pack import pack
from .commands.pair import pair
from .commands.record import record
from .commands.results import results
from .commands.robustness import robustness
from .commands.score import score
from .commands.table import table
from .commands.tile import tile
from .commands.train import evaluate, train
from .commands.view import view
from .errors import in_one_line
from .terminal import show_warnings
from .threads import wait_asleep
from .version import __version__

COMMANDS = (
    classify, corrections, curves, demo, detect, evaluate, export, inspect, make_slides, next_, overlay,
    pack, pair, record, results, robustness, score, table, tile, train, view,
)  # fmt: skip


class _Group(click.Group):
    """Bad input is one clear line and a non-zero exit, not a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name that is not UTF-8 can be named
            sys.stdout.reconfigure(errors="backslashreplace")
        with in_one_line("mhkd"):
            return super().invoke(ctx)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mhkd")
def main() -> None:
    """Find glomeruli in low-resolution kidney slides with a detector that a high-resolution one taught."""
    wait_asleep()
    show_warnings()


for _command in COMMANDS:
    main.add_command(_command)
