"""A slide as a Deep Zoom image (DZI): a pyramid of small JPEGs.

Written by hand: openslide-python's generator reads the formats of OpenSlide only, and no stretched pixels.

Deep Zoom's levels halve the size down to one pixel, whatever levels the file has. Its highest level is the
base level of the slide, so that the page's image pixels are base pixels; where those are not square, their
longer side is stretched, since a page has square pixels.
"""

import io
import math
import threading
from functools import cached_property

import numpy as np
from PIL import Image

from ..errors import InputError
from ..slides.slide import Slide

TILE_PX, OVERLAP_PX = 510, 1
OVERVIEW_PX = 2048  # levels up to this size are made from one picture in memory
JPEG_QUALITY = 85


class DeepZoom:
    """Tiles of one slide; may be called from many threads.

    Attributes:
        mpp: micrometres per pixel of the page, if the slide's resolution is known.
        stretch: the page's pixels per base pixel along x and y, 1 where they are square.
        size_px: width and height in the page's pixels.
        max_level: of the base level; 0 is one pixel.
    """

    def __init__(self, slide: Slide) -> None:
        """
        Args:
            slide: it need not have a resolution.
        """
        try:
            x_mpp, y_mpp = slide.mpp_xy
            self._slide = Slide(slide.path, slide.slide_mpp)
        except InputError:  # pixels are all that counts
            x_mpp = y_mpp = 1.0
            self._slide = Slide(slide.path, slide_mpp=1.0)
        self.mpp = min(x_mpp, y_mpp)
        self.stretch = (x_mpp / self.mpp, y_mpp / self.mpp)
        self.size_px = tuple(math.ceil(n * s - 1e-6) for n, s in zip(slide.size_px, self.stretch))
        self.max_level = math.ceil(math.log2(max(self.size_px)))
        self._lock = threading.Lock()  # libvips and Pillow sources are not made for threads

    @property
    def dzi(self) -> str:
        """The XML that describes the pyramid."""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="jpeg" '
            f'Overlap="{OVERLAP_PX}" TileSize="{TILE_PX}">'
            f'<Size Width="{self.size_px[0]}" Height="{self.size_px[1]}"/></Image>\n'
        )

    def tile(self, level: int, column: int, row: int) -> bytes:
        """One tile, as JPEG.

        Args:
            level: 0 is one pixel, ``max_level`` the base level.
            column, row: from the top left.

        Raises:
            LookupError: there is no such tile.
            InputError: the slide is damaged there, or gone.
        """
        if not 0 <= level <= self.max_level:
            raise LookupError
        downsample = 2 ** (self.max_level - level)
        width, height = (math.ceil(n / downsample) for n in self.size_px)
        left, right = _span(column, width)
        top, bottom = _span(row, height)
        with self._lock:
            if max(width, height) <= OVERVIEW_PX:
                whole = Image.fromarray(self._overview).resize((width, height), Image.Resampling.BOX)
                rgb = np.asarray(whole)[top:bottom, left:right]
            else:
                rgb = self._read(left, top, right - left, bottom - top, downsample)
        encoded = io.BytesIO()
        Image.fromarray(rgb).save(encoded, "jpeg", quality=JPEG_QUALITY)
        return encoded.getvalue()

    @cached_property
    def _overview(self) -> np.ndarray:
        """All of it, small. Read once: of a slide without coarse levels every pixel is decoded for this."""
        downsample = 2 ** max(0, math.ceil(math.log2(max(self.size_px) / OVERVIEW_PX)))
        width, height = (math.ceil(n / downsample) for n in self.size_px)
        return self._read(0, 0, width, height, downsample)

    def _read(self, x: float, y: float, width: int, height: int, downsample: int) -> np.ndarray:
        try:
            x, y = (v * downsample / s for v, s in zip((x, y), self.stretch))
            return self._slide.read_region(x, y, width, height, self.mpp * downsample, from_base=False)
        except OSError as e:
            raise InputError(f"{self._slide.path}: can no longer be read ({e})") from e


def _span(index: int, length: int) -> tuple[int, int]:
    """Begin and end of a tile along an axis of ``length`` pixels."""
    begin, end = index * TILE_PX - OVERLAP_PX, (index + 1) * TILE_PX + OVERLAP_PX
    if index < 0 or index * TILE_PX >= length:
        raise LookupError
    return max(0, begin), min(length, end)
