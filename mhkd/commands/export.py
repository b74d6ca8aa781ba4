"""``mhkd export``."""

from pathlib import Path

import click

from .paths import EXISTING, FOLDER


@click.command()
@click.argument("checkpoint", type=EXISTING)
@click.option("--out", type=FOLDER, required=True, help="Folder for model_final.pth and config.yaml.")
@click.option("--network", type=click.Choice(["student", "teacher"]), default="student", show_default=True)
def export(checkpoint: Path, out: Path, network: str) -> None:
    """Take the student (or the teacher) out of any training checkpoint."""
    from ..engine.exported import export_checkpoint

    click.echo(export_checkpoint(checkpoint, out, network))
