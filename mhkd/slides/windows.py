"""What the slide readers share: windows put together from tiles, and the cache of decoded ones."""

import sys
import threading

import cachetools
import cv2
import numpy as np

TILE_CACHE_BYTES = 64 * 2**20  # decoded tiles, per process, all slides together
# Scanners do not go coarser; what a file claims beyond this is a print resolution (72 dpi is 353 um).
MAX_SLIDE_MPP = 40.0

tile_cache = cachetools.LRUCache(TILE_CACHE_BYTES, getsizeof=lambda v: getattr(v, "nbytes", sys.getsizeof(v)))
tile_cache_lock = threading.RLock()


def read_window(x, y, width, height, size_px, tile_px, read_tile):
    """A window of a picture that is read tile by tile.

    Args:
        x, y, width, height (int): the window; it may lie outside the picture.
        size_px, tile_px (tuple[int, int]): widths and heights of the picture and of its tiles.
        read_tile (callable): (column, row, left, top, right, bottom) -> uint8 RGB of that part of the
            picture, which lies in that tile.

    Returns:
        ndarray: uint8 RGB, shape (height, width, 3), white outside the picture.
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


def on_white(pixels):
    """uint8 (h, w, 1 to 4) to RGB over white; the last of an even number of channels is alpha."""
    channels = pixels.shape[2]
    colour = pixels[..., : 1 if channels < 3 else 3]
    if channels % 2 == 0 and pixels[..., -1].min() < 255:
        alpha = pixels[..., -1:].astype(np.uint16)
        colour = ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return colour if channels >= 3 else cv2.cvtColor(np.ascontiguousarray(colour), cv2.COLOR_GRAY2RGB)


def plausible_mpp(mpp):
    """(x, y) micrometres per pixel as a file has them; None if they are no scanner's."""
    return mpp if mpp is not None and all(0 < v <= MAX_SLIDE_MPP for v in mpp) else None
