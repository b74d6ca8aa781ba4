"""Files and folders that options take."""

from pathlib import Path

import click

FOLDER = click.Path(file_okay=False, path_type=Path)
EXISTING = click.Path(exists=True, path_type=Path)
PATH = click.Path(path_type=Path)
