"""What the slide readers share: what each has, windows put together from tiles, and the cache of those.

The cache is one for all slides of a process, so that they share one bound on memory.
"""

import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import cachetools
import numpy as np

TILE_CACHE_BYTES = 64 * 2**20  # decoded tiles, per process, all slides together
# Scanners do not go coarser, nor light finer; what a file claims beyond this is a print resolution (72 dpi is
# 353 um), or damage.
MIN_SLIDE_MPP, MAX_SLIDE_MPP = 0.01, 40.0

tile_cache: cachetools.LRUCache[Any, np.ndarray] = cachetools.LRUCache(
    TILE_CACHE_BYTES, getsizeof=lambda v: getattr(v, "nbytes", sys.getsizeof(v))
)
tile_cache_lock = threading.RLock()


class Pixels(Protocol):
    """An opened slide.

    Attributes:
        path: the file.
        size_px: width and height of the base level.
        mpp: micrometres per base pixel along x and y; None where the file does not say.
        downsamples: base pixels per pixel of each level that is a whole number of times smaller, ascending
            from 1.
    """

    path: str
    size_px: tuple[int, int]
    mpp: tuple[float, float] | None
    downsamples: Sequence[int]

    def read(self, downsample: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Pixels of one level.

        Args:
            downsample: one of ``downsamples``; pixel (i, j) of that level covers the base pixels from
                (i, j) * downsample to (i + 1, j + 1) * downsample.
            x: left of the window in pixels of the level; it may lie outside the slide.
            y: its top.
            width: its pixels along x.
            height: its pixels along y.

        Returns:
            uint8 RGB, shape (height, width, 3), white outside the slide and where it has no data.

        Raises:
            InputError: pixels in the window are damaged.
        """


def read_window(
    x: int,
    y: int,
    width: int,
    height: int,
    size_px: tuple[int, int],
    tile_px: tuple[int, int],
    read_tile: Callable[[int, int, int, int, int, int], np.ndarray],
) -> np.ndarray:
    """A window of a picture that is read tile by tile.

    Args:
        x: left of the window, which may lie outside the picture.
        y: its top.
        width: its pixels along x.
        height: its pixels along y.
        size_px: width and height of the picture.
        tile_px: width and height of its tiles.
        read_tile: (column, row, left, top, right, bottom) -> uint8 RGB of that part of the picture, which
            lies in that tile.

    Returns:
        uint8 RGB, shape (height, width, 3), white outside the picture.
    """
    x0, x1 = max(x, 0), min(x + width, size_px[0])
    y0, y1 = max(y, 0), min(y + height, size_px[1])
    if (x0, y0, x1, y1) == (x, y, x + width, y + height):
        out = np.empty((height, width, 3), np.uint8)
    else:
        out = np.full((height, width, 3), 255, np.uint8)
    if x0 >= x1 or y0 >= y1:
        return out
    tile_w, tile_h = tile_px
    for row in range(y0 // tile_h, (y1 - 1) // tile_h + 1):
        for column in range(x0 // tile_w, (x1 - 1) // tile_w + 1):
            left, top = max(x0, column * tile_w), max(y0, row * tile_h)
            right, bottom = min(x1, (column + 1) * tile_w), min(y1, (row + 1) * tile_h)
            part = read_tile(column, row, left, top, right, bottom)
            out[top - y : bottom - y, left - x : right - x] = part
    return out


def on_white(pixels: np.ndarray) -> np.ndarray:
    """uint8 (h, w, 1 to 4) to RGB over white; the last of an even number of channels is alpha."""
    channels = pixels.shape[2]
    colour = pixels[..., : 1 if channels < 3 else 3]
    if channels % 2 == 0 and pixels[..., -1].min() < 255:
        alpha = pixels[..., -1:].astype(np.uint16)
        colour = ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return colour if channels >= 3 else np.repeat(colour, 3, axis=2)


def plausible_mpp(mpp: tuple[float, float] | None) -> tuple[float, float] | None:
    """(x, y) micrometres per pixel as a file has them; None if they are no scanner's."""
    return mpp if mpp is not None and all(MIN_SLIDE_MPP <= v <= MAX_SLIDE_MPP for v in mpp) else None
