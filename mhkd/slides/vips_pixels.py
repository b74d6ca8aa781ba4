"""TIFFs that OpenSlide does not take, read with libvips; JPEG tiles as OpenSlide would."""

import os
from collections.abc import Sequence

import numpy as np
import pyvips

from ..errors import InputError
from . import vips_layouts
from .jpeg_tiles import find_pages
from .tiff import TiffPage
from .windows import on_white, read_window

_BLOCK_PX = 1024


class VipsPixels:
    """An opened TIFF, of which the base level is read."""

    downsamples: Sequence[int] = (1,)

    def __init__(
        self, path: str | os.PathLike[str], page: TiffPage, number: int = 0, drop_last: bool = False
    ) -> None:
        """
        Args:
            path: TIFF.
            page: of it, whose samples have been checked.
            number: of that page, from 0.
            drop_last: its last sample is neither colour nor alpha.

        Raises:
            InputError: libvips cannot open it.
        """
        self.path = os.fspath(path)
        self.mpp = page.mpp
        self._page, self._number, self._drop_last = page, number, drop_last
        self._image = self._open()
        self._jpeg = find_pages(path, [page]).get(page.size_px)
        self.size_px = (self._image.width, self._image.height)

    def _open(self) -> pyvips.Image:
        """Also after an error: libvips gives black for what it reads next of what was open."""
        try:  # by default libvips makes up pixels for damaged ones, and remembers files by name
            if vips_layouts.is_refused(self._page):
                image = vips_layouts.open_planes(self.path, self._page)
            else:
                image = pyvips.Image.tiffload(
                    self.path, page=self._number, fail_on="warning", revalidate=True
                )
        except pyvips.Error as e:
            raise InputError(
                f"{self.path}: neither OpenSlide nor libvips can open this TIFF: it is damaged or cut short "
                "(copy it again), or compressed in a way they do not know (convert it)"
            ) from e
        return image[: image.bands - 1] if self._drop_last else image

    def read(self, downsample: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """As :meth:`mhkd.slides.windows.Pixels.read`."""
        by_tile = self._jpeg or self._page.is_sparse
        block_px = self._page.unit_px if by_tile else (_BLOCK_PX, _BLOCK_PX)
        return read_window(x, y, width, height, self.size_px, block_px, self._part)

    def _part(self, column: int, row: int, left: int, top: int, right: int, bottom: int) -> np.ndarray:
        width, height = right - left, bottom - top
        if self._page.is_sparse and self._page.is_empty(column, row):
            return np.full((height, width, 3), 255, np.uint8)
        if self._jpeg:
            tile = self._jpeg.cached_tile(column, row)
            if tile is None:
                raise self._damaged(left, top)
            x, y = left - column * self._page.unit_px[0], top - row * self._page.unit_px[1]
            return tile[y : y + height, x : x + width]
        try:
            data = pyvips.Region.new(self._image).fetch(left, top, width, height)
        except pyvips.Error as e:
            self._image = self._open()
            raise self._damaged(left, top) from e
        return on_white(np.frombuffer(data, np.uint8).reshape(height, width, self._image.bands))

    def _damaged(self, left: int, top: int) -> InputError:
        return InputError(
            f"{self.path}: its pixels at base pixel ({left}, {top}) are damaged, or not what its tags say: "
            "copy the slide again, or convert it to a tiled TIFF"
        )
