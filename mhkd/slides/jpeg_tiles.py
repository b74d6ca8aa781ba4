"""JPEG tiles of a TIFF, decoded straight from the file: several times as fast as through OpenSlide.

Most slides are pyramids of such tiles (Aperio SVS, generic tiled TIFF). The decoder is libjpeg-turbo, as
in OpenSlide, and as strict: whatever it does not like is left to OpenSlide to decide about. Written by hand
because no library does both: libtiff and libvips are as fast and invent pixels for damaged ones.
"""

import io
import os
from collections.abc import Sequence

import numpy as np
import simplejpeg

from ..system import read_at
from . import tiff
from .tiff import TiffPage
from .windows import tile_cache, tile_cache_lock

MAX_TILE_PX = 2048  # side; memory

_SOI = b"\xff\xd8"
_JPEG = 7  # compression
# TIFF's photometric interpretation, in JPEG's own words: an Adobe segment with its colour transform.
_ADOBE = {
    photometric: b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])
    for photometric, transform in ((2, 0), (6, 1))  # RGB, YCbCr
}


class JpegTiles:
    """One page of a TIFF. Made by :func:`find_pages`."""

    def __init__(self, file: io.FileIO, page: TiffPage) -> None:
        """
        Args:
            file: the TIFF, open for reading, unbuffered.
            page: one of it.

        Raises:
            LookupError: no page of JPEG tiles in colour, or one of a layout that is not known here.
        """
        if page.offsets is None or page.byte_counts is None:
            raise LookupError
        self.size_px, self.tile_px = page.size_px, page.unit_px
        across, down = (-(-n // t) for n, t in zip(self.size_px, self.tile_px))
        if not (
            page.is_tiled
            and page.first(tiff.COMPRESSION) == _JPEG
            and page.samples == 3
            and list(page.tags[tiff.BITS]) == [8, 8, 8]
            and page.planes == 1
            and max(self.tile_px) <= MAX_TILE_PX
            and len(page.offsets) == len(page.byte_counts) == across * down
        ):
            raise LookupError
        self._offsets, self._sizes = (a.reshape(down, across) for a in (page.offsets, page.byte_counts))
        self._file = file
        tables = bytes(page.tags.get(tiff.JPEG_TABLES, b""))[2:-2]  # less the marks of begin and end
        self._head = _SOI + _ADOBE[page.first(tiff.PHOTOMETRIC)] + tables

    def tile(self, column: int, row: int) -> np.ndarray | None:
        """Pixels of one tile.

        Returns:
            uint8 RGB, shape (tile height, tile width, 3) also at the page's edges; None if there are no data,
            or none that decode without a complaint.
        """
        if row >= self._sizes.shape[0] or column >= self._sizes.shape[1]:
            return None  # of a level whose size was rounded down
        size = int(self._sizes[row, column])
        pixels = np.empty((*self.tile_px[::-1], 3), np.uint8)
        if size > 2 * pixels.nbytes:
            return None
        data = read_at(self._file.fileno(), size, int(self._offsets[row, column]))
        if len(data) != size or data[:2] != _SOI:
            return None
        try:  # into a buffer: a tile may claim to be larger than it should
            decoded = simplejpeg.decode_jpeg(self._head + data[2:], "RGB", buffer=pixels, strict=True)
        except ValueError:
            return None
        return pixels if decoded.shape == pixels.shape else None

    def cached_tile(self, column: int, row: int) -> np.ndarray | None:
        """The same, kept in the cache of all slides."""
        key = (self, column, row)
        with tile_cache_lock:
            tile = tile_cache.get(key)
        if tile is None:
            tile = self.tile(column, row)
            if tile is not None:
                with tile_cache_lock:
                    tile_cache[key] = tile
        return tile


def find_pages(
    path: str | os.PathLike[str], tiff_pages: Sequence[TiffPage]
) -> dict[tuple[int, int], JpegTiles]:
    """The pages of JPEG tiles of a TIFF.

    Args:
        path: file.
        tiff_pages: all of its pages.

    Returns:
        The pages by width and height, those that no other page shares.
    """
    pages: dict[tuple[int, int], JpegTiles] = {}
    seen = set()
    file = open(path, "rb", buffering=0)  # closed with the last page
    for tiff_page in tiff_pages:
        try:
            page = JpegTiles(file, tiff_page)
        except LookupError:
            continue
        if page.size_px in seen:
            pages.pop(page.size_px, None)
        else:
            pages[page.size_px] = page
        seen.add(page.size_px)
    return pages
