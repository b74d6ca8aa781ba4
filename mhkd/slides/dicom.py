"""DICOM slides: a series in a folder of its own, of one file or more for each level, label and overview.

OpenSlide reads them, but takes what it finds: of a series that was copied in part it makes a smaller slide,
or one that fails in the middle of the work. Here that is an error before it begins.
"""

import os

import openslide

from ..errors import InputError
from .magic import read_head

SUFFIXES = (".dcm", ".dicom")
_AGAIN = "copy the series again"


def files_of(folder: str | os.PathLike[str]) -> list[str]:
    """The DICOM files in a folder, by their names, sorted; none where it cannot be read or is no folder."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [os.path.join(folder, n) for n in names if n.lower().endswith(SUFFIXES) and not n.startswith(".")]


def file_of(folder: str) -> str:
    """Any one file of the series in a folder, for which OpenSlide opens all of them.

    Raises:
        InputError: no series, several, or one of which something is missing.
    """
    series: dict[str, str] = {}
    for path in files_of(folder):
        head, _ = read_head(path, "DICOM file", _AGAIN, 132)
        if not head.endswith(b"DICM"):
            raise InputError(f"{path}: is no DICOM file, whatever its name says: {_AGAIN}, or remove it")
        if openslide.OpenSlide.detect_format(path) == "dicom":  # there may be others, of annotations say
            series.setdefault(series_of(path), path)
    if len(series) != 1:
        what = f"has {len(series)} DICOM series: put each into a folder" if series else "has no DICOM slide"
        raise InputError(f"{folder}: {what}" + (" of its own" if series else ": correct the path"))
    return next(iter(series.values()))


def series_of(path: str) -> str:
    """The identifier of the series that a file is of.

    Raises:
        InputError: something of the series is missing.
    """
    try:
        with openslide.OpenSlide(path) as slide:
            if slide.properties.get("dicom.ImageType[3]") == "RESAMPLED":
                raise InputError(
                    f"{os.path.dirname(path)}: of the DICOM series the level that was scanned is missing or "
                    f"damaged, only smaller ones are there: {_AGAIN}"
                )
            for level, (width, height) in enumerate(slide.level_dimensions):
                scale = slide.level_downsamples[level]  # the last tile is there if all are
                slide.read_region((int((width - 1) * scale), int((height - 1) * scale)), level, (1, 1))
            return slide.properties.get("dicom.SeriesInstanceUID", "")
    except openslide.OpenSlideError as e:
        raise InputError(
            f"{os.path.dirname(path)}: the DICOM series is damaged or cut short ({e}): {_AGAIN}"
        ) from e
