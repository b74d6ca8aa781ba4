"""Whether the region of a dataset's entry lies on its slide."""

import functools
import os
from typing import Any

from ..errors import InputError
from ..slides.slide import Slide


def check_region(entry: dict[str, Any], source: str) -> None:
    """An entry's region shows something of its slide.

    Raises:
        InputError: it does not, or the slide cannot be opened.
    """
    region = entry["region"]
    path = region["slide_file"]
    size_px, mpp_xy = slide_facts(path, region.get("slide_mpp"))
    for k, side in enumerate(("width", "height")):
        begin = region["xy"[k] + "_px"]
        end = begin + entry[side] * region["mpp"] / mpp_xy[k]
        if end <= 0 or begin >= size_px[k]:
            raise InputError(
                f"{source}: image {entry['image_id']} lies off its slide {path} of {size_px[0]}x{size_px[1]} "
                "px: x_px and y_px of its 'region' are base pixels"
            )


def slide_facts(path: str, slide_mpp: float | None = None) -> tuple[tuple[int, int], tuple[float, float]]:
    """Size in base pixels and micrometres per base pixel along x and y, remembered."""
    try:
        stat = os.stat(path)
    except OSError:
        return _slide_facts(path, slide_mpp, 0, 0)  # which says what is wrong
    return _slide_facts(path, slide_mpp, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=2**14)
def _slide_facts(
    path: str, slide_mpp: float | None, _mtime_ns: int, _size: int
) -> tuple[tuple[int, int], tuple[float, float]]:
    slide = Slide(path, slide_mpp)
    return slide.size_px, slide.mpp_xy
