"""From which point of the slide a tool counts its pixels.

Some slides (MIRAX, Hamamatsu, Leica) carry more canvas than was scanned and record the bounds of
what was (``openslide.bounds-x`` ...). QuPath crops to the bounds and counts from their corner
(unless the slide was imported with --no-crop), and so does large-image, hence :class:`Slide` and
the Digital Slide Archive, where the bounds lie within the canvas. ASAP counts from the corner of
the canvas, and Aperio's slides have no bounds. NDP.view counts from the middle of the glass that was scanned.
Masks and COCO images are held against the size of
the slide instead.
"""

import os
from collections.abc import Mapping

import numpy as np
import openslide

from ..errors import InputError
from ..slides.slide import Slide

NDPA = "Hamamatsu NDPA"
_FROM_BOUNDS = {"QuPath GeoJSON"}
_FROM_CANVAS = {"ASAP XML", "Aperio ImageScope XML", NDPA}
_KEYS = tuple(f"openslide.bounds-{k}" for k in ("x", "y", "width", "height"))


def tool_offset_px(file_format: str, slide: Slide) -> tuple[float, float]:
    """What to add to a tool's coordinates to get base pixels of a slide.

    Args:
        file_format: name of a format.
        slide: slide.

    Returns:
        x and y in base pixels; none for a format that counts as :class:`Slide` does.
    """
    if file_format not in _FROM_BOUNDS | _FROM_CANVAS:
        return (0.0, 0.0)
    return offset_between(file_format, _properties(slide), slide.size_px)


def offset_between(
    file_format: str, properties: Mapping[str, str], size_px: tuple[int, int]
) -> tuple[float, float]:
    """As :func:`tool_offset_px`, from what OpenSlide says of the slide.

    Args:
        file_format: name of a format.
        properties: OpenSlide's properties of the slide.
        size_px: the slide's size as :class:`Slide` has it: cropped or not.

    Returns:
        x and y in base pixels.
    """
    try:
        x, y, width, height = (int(properties[k]) for k in _KEYS)
    except (KeyError, ValueError):
        return (0.0, 0.0)
    slide_origin = (x, y) if tuple(size_px) == (width, height) else (0, 0)
    tool_origin = (x, y) if file_format in _FROM_BOUNDS else (0, 0)
    return float(tool_origin[0] - slide_origin[0]), float(tool_origin[1] - slide_origin[1])


def glass_frame(path: str, slide: Slide | None) -> tuple[np.ndarray, np.ndarray]:
    """Where a slide's canvas lies on its glass, as Hamamatsu's scanners record it.

    Args:
        path: of the annotations, for the message.
        slide: slide.

    Returns:
        The canvas' corner from the middle of the glass, and the size of a base pixel, in nanometres: float64,
        shape (2,) each, x and y.

    Raises:
        InputError: no slide, or one that does not record it.
    """
    if slide is None:
        raise InputError(f"{path}: counts from the middle of the glass: it is read with its .ndpi slide only")
    properties = _properties(slide)
    try:
        size_px, middle_nm, mpp = (
            np.array([float(properties[k.format(a)]) for a in axes])
            for k, axes in (
                ("openslide.level[0].{}", ("width", "height")),
                ("hamamatsu.{}OffsetFromSlideCentre", "XY"),
                ("openslide.mpp-{}", "xy"),
            )
        )
    except (KeyError, ValueError) as e:
        raise InputError(
            f"{path}: counts in nanometres from the middle of the glass, and {slide.path} does not record "
            "where that is (hamamatsu.XOffsetFromSlideCentre): use the .ndpi itself, or export GeoJSON"
        ) from e
    return middle_nm - size_px / 2 * mpp * 1000, mpp * 1000


def scale_to_slide(
    path: str | os.PathLike[str], image_px: tuple[int, int], slide_px: tuple[int, int]
) -> tuple[float, float]:
    """Base pixels per pixel of an image or mask of the whole slide.

    Args:
        path: of the annotations, for the message.
        image_px: width and height of the image.
        slide_px: width and height of the slide.

    Returns:
        Along x and y. A whole number where the size agrees with one, be it that the image's last pixel was
        cut or filled up.

    Raises:
        InputError: the image is larger than the slide or has other proportions.
    """
    x, y = (s / i for s, i in zip(slide_px, image_px))
    whole = round(x if abs(x - round(x)) <= abs(y - round(y)) else y)
    if whole >= 1 and all(s // whole == i or -(-s // whole) == i for s, i in zip(slide_px, image_px)):
        return (float(whole), float(whole))
    # a free size is rounded to whole pixels: the proportions may be off by one of them
    off_px = abs(x / y - 1) * min(image_px)
    if min(x, y) < 1 or off_px > 1.5:
        raise InputError(
            f"{path}: its image of {image_px[0]}x{image_px[1]} px is not one of a slide of "
            f"{slide_px[0]}x{slide_px[1]} px: are these the annotations of another slide?"
        )
    return x, y


def _properties(slide: Slide) -> Mapping[str, str]:
    """What OpenSlide says of a slide; nothing of a plain image."""
    try:
        with openslide.OpenSlide(slide.path) as opened:
            return dict(opened.properties)
    except (openslide.OpenSlideError, OSError):
        return {}
