"""OpenSlide's pixels as they are in its buffer: ``read_region`` goes through Pillow, at twice the time.

The one place that uses what openslide-python keeps to itself; a test compares it with ``read_region`` for the
versions that it names.
"""

import ctypes

import numpy as np
import openslide


def read_bgra(slide: openslide.OpenSlide, x: int, y: int, level: int, width: int, height: int) -> np.ndarray:
    """Read a window of a level.

    Args:
        slide: opened.
        x: left edge in base pixels.
        y: top edge in base pixels.
        level: number of the level.
        width: in pixels of the level.
        height: in pixels of the level.

    Returns:
        uint8, shape (height, width, 4): blue, green, red, each multiplied by alpha, and alpha.

    Raises:
        openslide.OpenSlideError: the window is damaged; the slide is to be opened anew.
    """
    bgra = np.empty((height, width, 4), np.uint8)  # of words with alpha in their highest byte, little-endian
    pointer = bgra.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32))
    openslide.lowlevel._read_region(slide._osr, pointer, x, y, level, width, height)
    return bgra
