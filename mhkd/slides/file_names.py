"""The name that a slide's file gives it."""

import os


def slide_name(path: str | os.PathLike[str]) -> str:
    """A slide's name: its file name without the suffix (".ome.tiff" is one, the end of a UID is none)."""
    base = os.path.basename(path)
    stem, suffix = os.path.splitext(base)
    if suffix[1:].isdigit():  # of DICOM, whose folders have UIDs for names
        return base
    return stem[:-4] if stem.lower().endswith(".ome") else stem
