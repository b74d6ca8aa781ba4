"""Slides that OpenSlide reads.

JPEG tiles of plain TIFF pyramids, SVS among them, are decoded straight from the file, which takes a
fraction of the time; OpenSlide is asked for everything else, for whatever is odd about a tile, and
once a level whether both mean the same by its pixels.
"""

import os
from collections.abc import Iterable, Sequence

import numpy as np
import openslide

from ..errors import InputError
from . import structure
from .block_mean import block_mean
from .jpeg_tiles import JpegTiles, find_pages
from .large_image_canvas import Canvas
from .openslide_raw import read_bgra
from .tiff import PHOTOMETRIC, TiffPage
from .windows import read_window

OPENSLIDE_CACHE_BYTES = 16 * 2**20  # OpenSlide's own, per process: windows may cut its tiles
# Vendors whose levels are pages of one TIFF, tile by tile: all that there is to check is in its tags.
CHECKED = ("aperio", "generic-tiff")
_BLOCK_PX = 1024  # OpenSlide is asked for blocks of this size: it takes 4 bytes a pixel

_openslide_cache = openslide.OpenSlideCache(OPENSLIDE_CACHE_BYTES)


class OpenSlidePixels:
    """An opened slide, read from the levels that are in the file."""

    def __init__(self, path: str | os.PathLike[str], canvas: Canvas, pages: Sequence[TiffPage] = ()) -> None:
        """
        Args:
            path: slide.
            canvas: what part of it was scanned, and which levels can be read.
            pages: of a slide of one of the vendors CHECKED.
        """
        self.path = os.fspath(path)
        self._open()
        self.vendor = self._openslide.properties[openslide.PROPERTY_NAME_VENDOR]
        # Of a TIFF the scanned part is what tiles there are: positions are those of its page all the same.
        self.size_px = self._openslide.dimensions if pages else canvas.size_px
        self._origin_px = (0, 0) if pages else canvas.origin_px or (0, 0)
        self.mpp: tuple[float, float] | None = canvas.mpp
        self._levels = self._whole_levels(canvas.levels)
        self.downsamples: Sequence[int] = sorted(self._levels)
        self._pages: dict[int, JpegTiles | None] = {}  # by downsample
        self._tiff_pages = find_pages(path, pages) if pages else {}
        sizes = {self._openslide.level_dimensions[n]: d for d, n in self._levels.items()}
        self._places = {sizes[p.size_px]: p for p in pages if p.is_tiled and p.size_px in sizes}

    def check(self) -> None:
        """Whether its levels are pictures of the same, see :mod:`mhkd.slides.structure`.

        Raises:
            InputError: they are not.
        """
        structure.check_sizes(self.path, self._openslide.level_dimensions)
        sizes = {d: self._openslide.level_dimensions[n] for d, n in self._levels.items()}
        if len({p.first(PHOTOMETRIC) for p in self._places.values()}) == 1:
            # Without OpenSlide at first, which takes several times as long.
            self._pages = {d: self._tiff_pages.get(size) for d, size in sizes.items()}
        try:
            structure.check_pixels(self, self._places)
        except InputError:
            self._pages.clear()
            structure.check_pixels(self, self._places)
        self._pages.clear()

    def _open(self) -> None:
        """Also after an error, when OpenSlide refuses all further work on what was open."""
        self._openslide = openslide.OpenSlide(self.path)
        self._openslide.set_cache(_openslide_cache)

    def _whole_levels(self, readable: Iterable[int]) -> dict[int, int]:
        """Levels that are a whole number of times smaller than the base: downsample -> number."""
        found: dict[int, int] = {}
        base = self._openslide.dimensions
        for level in sorted(readable, reverse=True):
            downsample = round(self._openslide.level_downsamples[level])
            size = self._openslide.level_dimensions[level]
            if all(abs(n * downsample - b) <= downsample for n, b in zip(size, base)):
                found[downsample] = level
        return {**found, 1: 0}

    def read(self, downsample: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """As :meth:`mhkd.slides.windows.Pixels.read`."""
        place = self._places.get(downsample)
        page = self._page(downsample) if place else None
        sparse = place if place and place.is_sparse else None
        tile_px = place.unit_px if place and (page or sparse) else (_BLOCK_PX, _BLOCK_PX)

        def part(column: int, row: int, left: int, top: int, right: int, bottom: int) -> np.ndarray:
            if sparse and sparse.is_empty(column, row):
                return self._of_finer(downsample, left, top, right - left, bottom - top)
            if page:
                tile = page.cached_tile(column, row)
                if tile is not None:
                    first, above = column * tile_px[0], row * tile_px[1]
                    return tile[top - above : bottom - above, left - first : right - first]
            return self._ask_openslide(downsample, left, top, right - left, bottom - top)

        level_px = (-(-self.size_px[0] // downsample), -(-self.size_px[1] // downsample))
        return read_window(x, y, width, height, level_px, tile_px, part)

    def _of_finer(self, downsample: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """What a level lacks is on a finer one; what the base lacks is white."""
        if downsample == 1:
            return np.full((height, width, 3), 255, np.uint8)
        finer = max(d for d in self.downsamples if d < downsample and downsample % d == 0)
        ratio = downsample // finer
        pixels = self.read(finer, x * ratio, y * ratio, width * ratio, height * ratio)
        return block_mean(pixels, (width, height))

    def _page(self, downsample: int) -> JpegTiles | None:
        """The level's JPEG tiles, if they are what OpenSlide reads."""
        if downsample not in self._pages:
            page = self._tiff_pages.get(self._openslide.level_dimensions[self._levels[downsample]])
            self._pages[downsample] = page if page and self._is_same(downsample, page) else None
        return self._pages[downsample]

    def _is_same(self, downsample: int, page: JpegTiles) -> bool:
        tile = page.tile(0, 0)
        if tile is None:
            return False
        width, height = (min(n, t) for n, t in zip(page.size_px, page.tile_px))
        try:
            pixels = self._ask_openslide(downsample, 0, 0, width, height)
        except InputError:
            return False
        return np.array_equal(tile[:height, :width], pixels)

    def _ask_openslide(self, downsample: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        level, opened = self._levels[downsample], self._openslide  # a thread may open it anew meanwhile
        # OpenSlide divides base pixels by the mean of the levels' proportions, 4.0013 instead of 4
        scale = opened.level_downsamples[level]
        left, top = (round((v + o / downsample) * scale) for v, o in zip((x, y), self._origin_px))
        try:
            bgra = read_bgra(opened, left, top, level, width, height)
        except openslide.OpenSlideError as e:
            self._open()
            raise InputError(
                f"{self.path}: its pixels at base pixel ({x * downsample}, {y * downsample}) are damaged: "
                "copy the slide again"
            ) from e
        rgb, alpha = np.empty((height, width, 3), np.uint8), bgra[..., 3:]
        for k in range(3):
            rgb[..., k] = bgra[..., 2 - k]
        if alpha.min() == 255:
            return rgb
        return np.minimum(rgb, alpha) + (255 - alpha)  # premultiplied, on white
