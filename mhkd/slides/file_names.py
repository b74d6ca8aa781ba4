"""The name that a slide's file gives it."""

import os


def slide_name(path: str | os.PathLike[str]) -> str:
    """A slide's name: its file name without the suffix (".ome.tiff" counts as one)."""
    stem = os.path.splitext(os.path.basename(path))[0]
    return stem[:-4] if stem.lower().endswith(".ome") else stem
