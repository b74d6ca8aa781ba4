"""Slides that OpenSlide reads.

JPEG tiles of plain TIFF pyramids, SVS among them, are decoded straight from the file, which takes a
fraction of the time; OpenSlide is asked for everything else, for whatever is odd about a tile, and
once a level whether both mean the same by its pixels.
"""

import ctypes

import cv2
import numpy as np
import openslide

from ..errors import InputError
from .jpeg_tiles import find_pages
from .windows import read_window, tile_cache, tile_cache_lock

OPENSLIDE_CACHE_BYTES = 16 * 2**20  # OpenSlide's own, per process: windows may cut its tiles
# Vendors whose levels are pages of one TIFF, tile by tile: all that there is to check is in its tags.
CHECKED = ("aperio", "generic-tiff")
_BLOCK_PX = 1024  # OpenSlide is asked for blocks of this size: it takes 4 bytes a pixel

_openslide_cache = openslide.OpenSlideCache(OPENSLIDE_CACHE_BYTES)


class OpenSlidePixels:
    """An opened slide, read from the levels that are in the file."""

    def __init__(self, path, source, pages=()):
        """
        Args:
            path (str): slide.
            source (large_image_source_openslide.OpenslideFileTileSource): the same; it knows what part
                of the canvas was scanned, and which levels can be read.
            pages (Sequence[TiffPage]): of a slide of one of the vendors CHECKED.
        """
        self.path = path
        self.size_px = (source.sizeX, source.sizeY)
        bounds = source._bounds or {"x": 0, "y": 0}
        self._origin_px = (bounds["x"], bounds["y"])
        self._open()
        recorded = source.getNativeMagnification()
        self.mpp = tuple((recorded[k] or 0) * 1000 for k in ("mm_x", "mm_y"))
        self._levels = self._whole_levels({level["svslevel"] for level in source._svslevels})
        self.downsamples = sorted(self._levels)
        self._pages = {}  # downsample -> JpegTiles, or None
        self._tiff_pages = find_pages(path, pages) if pages and source._bounds is None else {}

    def _open(self):
        """Also after an error, when OpenSlide refuses all further work on what was open."""
        self._openslide = openslide.OpenSlide(self.path)
        self._openslide.set_cache(_openslide_cache)

    def _whole_levels(self, readable):
        """Levels that are a whole number of times smaller than the base: downsample -> number."""
        found = {}
        base = self._openslide.dimensions
        for level in sorted(readable, reverse=True):
            downsample = round(self._openslide.level_downsamples[level])
            size = self._openslide.level_dimensions[level]
            if all(abs(n * downsample - b) <= downsample for n, b in zip(size, base)):
                found[downsample] = level
        return {**found, 1: 0}

    def read(self, downsample, x, y, width, height):
        """Pixels of one level.

        Args:
            downsample (int): one of ``downsamples``; pixel (i, j) of that level covers the base
                pixels from (i, j) * downsample to (i + 1, j + 1) * downsample.
            x, y, width, height (int): the window in pixels of the level; it may lie outside the
                slide.

        Returns:
            ndarray: uint8 RGB, shape (height, width, 3), white outside the slide and where it has
                no data.

        Raises:
            InputError: pixels in the window are damaged.
        """
        page = self._page(downsample)
        tile_px = page.tile_px if page else (_BLOCK_PX, _BLOCK_PX)

        def part(column, row, left, top, right, bottom):
            if page:
                tile = self._cached_tile(page, column, row)
                if tile is not None:
                    first, above = column * tile_px[0], row * tile_px[1]
                    return tile[top - above : bottom - above, left - first : right - first]
            return self._ask_openslide(downsample, left, top, right - left, bottom - top)

        level_px = tuple(-(-n // downsample) for n in self.size_px)
        return read_window(x, y, width, height, level_px, tile_px, part)

    def _page(self, downsample):
        """The level's JPEG tiles, if they are what OpenSlide reads."""
        if downsample not in self._pages:
            page = self._tiff_pages.get(self._openslide.level_dimensions[self._levels[downsample]])
            self._pages[downsample] = page if page and self._is_same(downsample, page) else None
        return self._pages[downsample]

    def _is_same(self, downsample, page):
        tile = page.tile(0, 0)
        if tile is None:
            return False
        width, height = (min(n, t) for n, t in zip(page.size_px, page.tile_px))
        try:
            pixels = self._ask_openslide(downsample, 0, 0, width, height)
        except InputError:
            return False
        return np.array_equal(tile[:height, :width], pixels)

    def _cached_tile(self, page, column, row):
        key = (page, column, row)
        with tile_cache_lock:
            tile = tile_cache.get(key)
        if tile is None:
            tile = page.tile(column, row)
            if tile is not None:
                with tile_cache_lock:
                    tile_cache[key] = tile
        return tile

    def _ask_openslide(self, downsample, x, y, width, height):
        level, opened = self._levels[downsample], self._openslide  # a thread may open it anew meanwhile
        # OpenSlide divides base pixels by the mean of the levels' proportions, 4.0013 instead of 4
        scale = opened.level_downsamples[level]
        base = [round((v + o / downsample) * scale) for v, o in zip((x, y), self._origin_px)]
        argb = np.empty((height, width, 4), np.uint8)
        pointer = argb.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32))
        try:  # into an array: OpenSlide's own read_region goes through Pillow, at twice the time
            openslide.lowlevel._read_region(opened._osr, pointer, *base, level, width, height)
        except openslide.OpenSlideError as e:
            self._open()
            raise InputError(
                f"{self.path}: its pixels at base pixel ({x * downsample}, {y * downsample}) are damaged: "
                "copy the slide again"
            ) from e
        rgb = cv2.cvtColor(argb, cv2.COLOR_BGRA2RGB)  # little-endian
        alpha = argb[..., 3:]
        if alpha.min() == 255:
            return rgb
        return cv2.add(rgb, cv2.cvtColor(255 - alpha, cv2.COLOR_GRAY2RGB))  # premultiplied, on white
