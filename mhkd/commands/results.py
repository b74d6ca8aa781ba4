"""``mhkd results``."""

from pathlib import Path

import click

from ..terminal import say
from .paths import EXISTING, FOLDER


@click.command()
@click.argument("output_dir", type=EXISTING)
@click.option("--lr-only", type=EXISTING, help="OUTPUT_DIR of the same student trained with schedule none.")
@click.option("--out", type=FOLDER, help="Write results.json and results.md there too.")
def results(output_dir: Path, lr_only: Path | None, out: Path | None) -> None:
    """Print the table of a training: teacher, direct, LR-only, and what each step of its schedule added."""
    from ..evaluation.report import collect, markdown
    from ..files import write_json, write_text

    found = collect(output_dir, lr_only)
    say(markdown(found))
    if out:
        write_json(found, out / "results.json")
        write_text(markdown(found), out / "results.md")
