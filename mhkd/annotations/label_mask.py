"""Label masks: a PNG or TIFF of the slide, or a smaller one of it, with a class for every pixel.

An index map's classes are called "1", "2", ...; a colour map's "#rrggbb". Zero, black and
transparent pixels are background. The class map gives them their names.
"""

from typing import Any

import numpy as np
import pyvips
import shapely

from ..coco.runs import MAX_RUNS, TooManyRuns, outlines
from ..errors import InputError
from .collect import Collector
from .files import AnnotationFile
from .formats import AnnotationFormat
from .frames import scale_to_slide

MASK = "label mask"
_IMAGES = (b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_CLASSES = 255
THIN_PX = 1.6  # twice the area over the outline's length: 1 of a line of one pixel, 2 of one of two
MIN_THIN_VALUES, MIN_THIN_SHARE = 3, 0.1  # of the values, of the objects: an edge has shades
MAX_MASK_PX = 2**32
_STRIP_PX = 2**22
_COLUMNS = ("value", "y", "begin", "end")
_RUN = np.dtype([(k, np.int64) for k in _COLUMNS])
_TYPES: dict[str, Any] = {"uchar": np.uint8, "ushort": np.uint16, "uint": np.uint32}


def recognise(file: AnnotationFile) -> str | None:
    """The path."""
    return file.path if file.head.startswith(_IMAGES) else None


def read(path: str, collector: Collector) -> None:
    """Fill the collector: every connected part of a class is an object.

    The mask is read in strips; memory grows with what is on it, not with its size. It may be smaller than the
    slide.
    """
    try:
        image = pyvips.Image.new_from_file(path, access="sequential", fail_on="truncated")
        mask_px = (image.width, image.height)
        if image.width * image.height > MAX_MASK_PX or image.width > 2**24:
            raise InputError(f"{path}: a mask of {mask_px[0]}x{mask_px[1]} px is too large")
        formats = _TYPES if image.bands < 3 else ("uchar",)
        if image.format not in formats or image.interpretation in ("cmyk", "lab"):
            raise InputError(
                f"{path}: has pixels of {image.format} ({image.interpretation}), which are no "
                "classes: save the mask as whole numbers or 8-bit RGB"
            )
        if collector.size_px is not None:
            collector.scale = scale_to_slide(path, mask_px, collector.size_px)
        runs = _runs(image, path)
    except pyvips.Error as e:
        reason = " ".join(str(e).split())[:120]
        raise InputError(f"{path}: is damaged or cut short ({reason}): write it again") from e

    values = np.unique(runs["value"])
    is_colour = image.bands >= 3
    areas: list[Any] = []
    names: list[str] = []
    for value in values:
        chosen = runs[runs["value"] == value]
        try:
            found = outlines(chosen["y"], chosen["begin"], chosen["end"])
        except TooManyRuns as e:
            raise _noise(path) from e
        areas += found
        names += [f"#{value:06x}" if is_colour else str(value)] * len(found)
    _check_edges(areas, np.array(names), collector)
    for area, name in zip(areas, names):  # the runs are rows: x and y the other way round
        collector.area(shapely.transform(area, lambda xy: xy[:, ::-1]), str(name))


def _runs(image: pyvips.Image, path: str) -> np.ndarray:
    """Structured array of value, y, begin and end of every run of one value in a row."""
    region = pyvips.Region.new(image)
    rows = max(1, _STRIP_PX // image.width)
    # one growing buffer: an array a strip would pin the strips' freed memory in between
    found, count = bytearray(), 0
    classes: set[int] = set()
    for top in range(0, image.height, rows):
        n = min(rows, image.height - top)
        pixels = np.frombuffer(region.fetch(0, top, image.width, n), _TYPES[image.format])
        values = _values(pixels.reshape(n, image.width, image.bands))
        begins = np.ones((n, image.width), bool)
        begins[:, 1:] = values[:, 1:] != values[:, :-1]
        y, begin = np.nonzero(begins)
        end = np.append(begin[1:], image.width)
        end[np.append(np.diff(y) > 0, True)] = image.width
        value = values[y, begin]
        keep = value != 0
        count += int(keep.sum())
        part = np.empty(int(keep.sum()), _RUN)
        for key, column in zip(_COLUMNS, (value, y + top, begin, end)):
            part[key] = column[keep]
        classes.update(np.unique(part["value"]).tolist())
        if count > MAX_RUNS or len(classes) > MAX_CLASSES:
            raise _noise(path)
        found += part.tobytes()
    return np.frombuffer(found, _RUN)


def _values(pixels: np.ndarray) -> np.ndarray:
    """One number per pixel; the last of an even number of channels is alpha."""
    colours = min(3, pixels.shape[2] - (pixels.shape[2] % 2 == 0))
    values = np.zeros(pixels.shape[:2], np.uint32)
    for c in range(colours):
        values = (values << 8) | pixels[..., c]  # one channel may have more than 8 bits
    if pixels.shape[2] % 2 == 0:
        values[pixels[..., -1] == 0] = 0
    return values


def _check_edges(areas: list[Any], names: np.ndarray, collector: Collector) -> None:
    """Smoothing, scaling and lossy compression put lines of other values around objects."""
    thin = np.flatnonzero(2 * shapely.area(areas) < THIN_PX * shapely.length(areas))
    line, other = shapely.STRtree(areas).query(np.array(areas, object)[thin], predicate="intersects")
    at_edge = thin[np.unique(line[names[thin[line]] != names[other]])]  # beside an object of another value
    if not len(at_edge) or len(at_edge) < MIN_THIN_SHARE * len(areas):
        return
    values = np.unique(names[at_edge])
    if len(values) < MIN_THIN_VALUES:
        what = "objects a pixel wide at the edge of another class (was the mask scaled?)"
        collector.counts[what] += len(at_edge)
        return
    raise InputError(
        f"{collector.path}: {len(at_edge)} of its {len(areas)} objects are a pixel wide, at the edge of "
        f"others, and of {len(values)} values ({', '.join(values[:5])}, ...): it was smoothed, scaled with "
        "interpolation or compressed with losses: export the label mask again with one value a class, as PNG"
    )


def _noise(path: str) -> InputError:
    return InputError(
        f"{path}: has too many values or spots for a label mask: a photograph, an anti-aliased or "
        f"an instance mask? One value or colour a class is needed, {MAX_CLASSES} at most"
    )


FORMAT = AnnotationFormat(MASK, recognise, read)
