"""The two views of one dataset entry: the same tissue at high (HR) and at low resolution (LR).

An entry is a Detectron2 dataset dict. Its boxes are in HR pixels; both views start at the same
corner of the tissue, and one LR pixel covers exactly ``lr_factor`` x ``lr_factor`` HR pixels.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from ..errors import InputError
from .block_mean import block_mean
from .images import read_rgb
from .slide import open_slide

LR_FILTERS = ("area", "lanczos")
LARGEST_PX = 16_384  # along a side of an image that a network sees


def read_view(
    entry: Mapping[str, Any], view: str, lr_factor: float = 1, lr_filter: str = "area"
) -> np.ndarray:
    """Read one view of a dataset entry.

    Args:
        entry: Detectron2 dataset dict with ``file_name``, ``height``, ``width`` (HR pixels) and, optionally,
            ``lr_file_name`` or ``region`` (see datasets/README.md).
        view: "hr" or "lr".
        lr_factor: HR pixels per LR pixel, along each axis, a whole number. The HR view is cropped at the
            right and at the bottom to a multiple of it.
        lr_filter: "area" (mean of the covered pixels) or "lanczos": how LR is made where it is not read from
            ``lr_file_name``.

    Returns:
        uint8 RGB, shape (h * lr_factor, w * lr_factor, 3) for "hr" and (h, w, 3) for "lr", where
        h = height // lr_factor and w = width // lr_factor.

    Raises:
        InputError: the file is missing, damaged, or of another size than the entry says.
    """
    if view not in ("hr", "lr"):
        raise InputError(f"view is {view!r}: use 'hr' or 'lr'")
    if lr_filter not in LR_FILTERS:
        raise InputError(f"INPUT.LR_FILTER is {lr_filter!r}: use one of {', '.join(LR_FILTERS)}")
    lr_factor = checked_factor(lr_factor)
    h, w = entry["height"] // lr_factor, entry["width"] // lr_factor
    if min(h, w) < 1:
        raise InputError(
            f"{entry['file_name']}: {entry['width']}x{entry['height']} px is less than one pixel at "
            f"INPUT.LR_FACTOR {lr_factor}: leave the image out or lower the factor"
        )

    if view == "lr" and entry.get("lr_file_name"):
        image = read_rgb(entry["lr_file_name"])
        if image.shape[:2] != (h, w):
            raise InputError(
                f"{entry['lr_file_name']}: is {image.shape[1]}x{image.shape[0]} px, but the LR image of "
                f"{entry['file_name']} at INPUT.LR_FACTOR {lr_factor} must be {w}x{h} px"
            )
        return image
    if "region" in entry:
        return _read_region(entry["region"], w, h, lr_factor, view, lr_filter)

    image = read_rgb(entry["file_name"])
    if image.shape[:2] != (entry["height"], entry["width"]):
        raise InputError(
            f"{entry['file_name']}: is {image.shape[1]}x{image.shape[0]} px, but its annotation file says "
            f"{entry['width']}x{entry['height']}: correct width and height there, or restore the image"
        )
    image = np.ascontiguousarray(image[: h * lr_factor, : w * lr_factor])
    return image if view == "hr" else downsample(image, lr_factor, lr_filter)


def downsample(image: np.ndarray, factor: int, lr_filter: str = "area") -> np.ndarray:
    """Bring an image to ``1 / factor`` of its size.

    Args:
        image: uint8 RGB, shape (h * factor, w * factor, 3).
        factor: input pixels per output pixel, along each axis.
        lr_filter: "area", the mean of each factor x factor block, or "lanczos".

    Returns:
        uint8 RGB, shape (h, w, 3).
    """
    if factor == 1:
        return image
    size = (image.shape[1] // factor, image.shape[0] // factor)
    if lr_filter == "area":
        return block_mean(image, size)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _read_region(
    region: Mapping[str, Any], w: int, h: int, lr_factor: int, view: str, lr_filter: str
) -> np.ndarray:
    """HR or LR pixels of a slide region, each resampled straight from the slide's base level."""
    slide = open_slide(region["slide_file"], region.get("slide_mpp"))
    scale = 1 if view == "lr" else lr_factor  # (w, h) is the size in LR pixels
    mpp = region["mpp"] * lr_factor / scale
    x_px, y_px = region["x_px"], region["y_px"]
    return slide.read_region(x_px, y_px, w * scale, h * scale, mpp, resample=lr_filter)


def checked_factor(lr_factor: float) -> int:
    """INPUT.LR_FACTOR as a whole number.

    Raises:
        InputError: it is none, or less than 1.
    """
    if lr_factor != int(lr_factor) or lr_factor < 1:
        raise InputError(f"INPUT.LR_FACTOR is {lr_factor!r}: it must be a whole number, 1 or more")
    return int(lr_factor)
