"""Slides addressed in micrometres per pixel.

Positions are base pixels of the slide: pixel (i, j) covers the square from (i, j) to (i + 1, j +
1), so the middle of the first pixel is at (0.5, 0.5). A region is cut from a window that lies on
the pixel grid of one level, with a margin for the filter, and the rest, fractions included, is left
to one resampling step. That step is an exact block mean where output pixels are made of whole level
pixels, and an anti-aliased filter of Pillow, which takes fractional boxes, everywhere else: a triangle below
2 level pixels per output pixel, a Hamming-windowed sinc above. The centre of gravity of every output pixel is
then within 0.07 output pixels of where it should be. Written by hand for that: slide libraries cut regions at
whole pixels of a level.
"""

import functools
import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from ..errors import InputError
from .block_mean import block_mean
from .sources import open_pixels
from .windows import Pixels

OPEN_SLIDES = 8  # per process, see open_slide
SAME_MPP = 0.02  # relative: scanners differ by this from what they record
# A region is put together from blocks that read no more level pixels than this per axis: memory.
BLOCK_PX = 2048
COARSEST = 2 * BLOCK_PX  # pixels of a level that one of the output may cover: a slide is no dot
_LANCZOS_SUPPORT_PX, _SUPPORT_PX = 3, 1  # of the filters, in output pixels
# A region may drift by this from the pixel grid, at its far end, and still count as lying on it.
_ON_GRID_PX = 0.01
_ROUNDING_PX = 1e-3  # a last pixel that is on the slide but for this is one: resolutions are rounded


class Slide:
    """One slide, read by position and resolution.

    The file is opened on first use, once in every process: a Slide may be pickled and sent to
    workers, or survive a fork.
    """

    def __init__(self, path: str | os.PathLike[str], slide_mpp: float | None = None) -> None:
        """
        Args:
            path: slide, see :func:`mhkd.slides.sources.open_pixels`.
            slide_mpp: micrometres per base pixel, instead of what the file says; see :func:`slide_with_mpp`
                for one that the file comes before.

        Raises:
            InputError: ``slide_mpp`` is no positive number.
        """
        if slide_mpp is not None and not (math.isfinite(slide_mpp) and slide_mpp > 0):
            raise InputError(f"{path}: slide_mpp is {slide_mpp}: it must be a positive number")
        self.path = os.fspath(path)
        self.slide_mpp = slide_mpp
        self._pixels: Pixels | None = None
        self._pid: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pixels": None, "_pid": None}

    def __repr__(self) -> str:
        return f"Slide({self.path!r}, slide_mpp={self.slide_mpp})"

    @property
    def pixels(self) -> Pixels:
        """The opened file; after a fork opened anew, since file positions are shared."""
        if self._pixels is None or self._pid != os.getpid():
            self._pixels = open_pixels(self.path)
            self._pid = os.getpid()
        return self._pixels

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height in base pixels."""
        return self.pixels.size_px

    @property
    def mpp_xy(self) -> tuple[float, float]:
        """Micrometres per base pixel along x and y.

        Raises:
            InputError: the file does not say, and neither did the caller.
        """
        if self.slide_mpp is not None:
            return (self.slide_mpp, self.slide_mpp)
        if self.pixels.mpp is None:
            raise InputError(
                f"{self.path}: does not record its resolution: give it in micrometres per pixel with "
                "--slide-mpp, a number or a table (slide_mpp in Python)"
            )
        return self.pixels.mpp

    @property
    def mpp(self) -> float:
        """Micrometres per base pixel; the geometric mean where x and y differ."""
        return math.sqrt(self.mpp_xy[0] * self.mpp_xy[1])

    def size_at(self, mpp: float) -> tuple[int, int]:
        """Size of the whole slide at a resolution.

        Args:
            mpp: micrometres per pixel.

        Returns:
            Width and height in whole pixels that lie on the slide, at least 1.
        """
        width, height = (
            max(1, int(n * m / mpp + _ROUNDING_PX)) for n, m in zip(self.size_px, self.mpp_xy, strict=True)
        )
        return width, height

    def read_region(
        self,
        x_px: float,
        y_px: float,
        width_px: int,
        height_px: int,
        mpp: float,
        from_base: bool = True,
        resample: str = "area",
    ) -> np.ndarray:
        """Pixels of a rectangle at any resolution, right to less than half an output pixel everywhere.

        Args:
            x_px: the region's left edge in base pixels; fractions count.
            y_px: its top edge.
            width_px: width of the output.
            height_px: its height.
            mpp: micrometres per output pixel, along both axes.
            from_base: resample from the base level, as datasets do, or from the nearest level that is finer
                than ``mpp``: faster, and what the scanner's software made of it.
            resample: "area" (mean of what a pixel covers) or "lanczos".

        Returns:
            uint8 RGB, shape (height_px, width_px, 3), white where there is no slide. Memory beyond it is
            bounded, whatever the size.

        Raises:
            InputError: no resolution known, a value that makes no sense, or damaged pixels.
        """
        if not all(math.isfinite(v) for v in (x_px, y_px, mpp)) or mpp <= 0:
            raise InputError(f"{self.path}: cannot read at ({x_px}, {y_px}) px with {mpp} um per pixel")
        if width_px < 1 or height_px < 1:
            raise InputError(f"{self.path}: a region of {width_px}x{height_px} px is empty")
        scales = tuple(mpp / m for m in self.mpp_xy)  # base pixels per output pixel
        downsample = 1
        if not from_base:
            fine_enough = min(scales) * (1 + 1e-3)
            downsample = max(d for d in self.pixels.downsamples if d == 1 or d <= fine_enough)
        if max(scales) / downsample > COARSEST:
            raise InputError(
                f"{self.path}: cannot be read with {mpp:g} um per pixel: each would be {max(scales):.0f} of "
                "the slide's own"
            )
        x_axis = _Axis(x_px / downsample, scales[0] / downsample, width_px)
        y_axis = _Axis(y_px / downsample, scales[1] / downsample, height_px)

        out = np.empty((height_px, width_px, 3), np.uint8)
        for y0, y1 in y_axis.blocks():
            for x0, x1 in x_axis.blocks():
                out[y0:y1, x0:x1] = self._block(downsample, x_axis, y_axis, (x0, x1), (y0, y1), resample)
        return out

    def _block(
        self,
        downsample: int,
        x_axis: "_Axis",
        y_axis: "_Axis",
        x_range: tuple[int, int],
        y_range: tuple[int, int],
        resample: str,
    ) -> np.ndarray:
        size = (x_range[1] - x_range[0], y_range[1] - y_range[0])
        exact = x_axis.whole and y_axis.whole and (resample == "area" or x_axis.scale == y_axis.scale == 1)
        support = _LANCZOS_SUPPORT_PX if resample == "lanczos" else _SUPPORT_PX
        left, right, x_box = x_axis.window(x_range, 0 if exact else support)
        top, bottom, y_box = y_axis.window(y_range, 0 if exact else support)
        window = self.pixels.read(downsample, left, top, right - left, bottom - top)
        if exact:
            if window.shape[1::-1] == size:
                return window
            return block_mean(window, size)
        if resample == "lanczos":
            method = Image.Resampling.LANCZOS
        else:
            coarse = min(x_axis.scale, y_axis.scale) >= 2
            method = Image.Resampling.HAMMING if coarse else Image.Resampling.BILINEAR
        box = (x_box[0], y_box[0], x_box[1], y_box[1])
        return np.asarray(Image.fromarray(window).resize(size, method, box=box))


class _Axis:
    """Where the output pixels lie along one axis of a level."""

    def __init__(self, start: float, scale: float, n: int) -> None:
        """
        Args:
            start: of the region, in pixels of the level.
            scale: level pixels per output pixel.
            n: output pixels.
        """
        near_start, near_scale = round(start), max(round(scale), 1)
        drift = abs(start - near_start) + n * abs(scale - near_scale)
        self.whole = drift < _ON_GRID_PX
        self.start: float = near_start if self.whole else start
        self.scale: float = near_scale if self.whole else scale
        self.n = n

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Ranges of output pixels, none of which needs more than about BLOCK_PX level pixels."""
        step = max(1, int(BLOCK_PX / max(self.scale, 1)))
        for first in range(0, self.n, step):
            yield first, min(first + step, self.n)

    def window(self, out_range: tuple[int, int], support_px: int) -> tuple[int, int, tuple[float, float]]:
        """Level pixels to read for a range of output pixels, and where the range lies in them."""
        begin, end = (self.start + i * self.scale for i in out_range)
        margin = support_px and support_px * max(self.scale, 1) + 1
        first, last = math.floor(begin - margin), math.ceil(end + margin)
        return first, last, (begin - first, end - first)


def slide_with_mpp(
    path: str | os.PathLike[str], slide_mpp: float | None = None, override_slide_mpp: float | None = None
) -> tuple[Slide, str | None]:
    """A slide at the resolution that it records, or that the user gives for it.

    Args:
        path: slide.
        slide_mpp: micrometres per base pixel, if the file does not say.
        override_slide_mpp: the same, whatever the file says.

    Returns:
        The slide, from :func:`open_slide`, whose ``slide_mpp`` is None where the file's is used; and what is
        to be said where the file contradicts what was given.
    """
    slide = open_slide(path)
    recorded, given = slide.pixels.mpp, override_slide_mpp or slide_mpp
    if given is None:
        return slide, None
    remark = None
    if recorded and max(abs(m / given - 1) for m in recorded) > SAME_MPP:
        if override_slide_mpp:
            used = f"replaced by --override-slide-mpp {given:g}"
        else:
            used = f"kept: --slide-mpp {given:g} is for slides without (to replace it: --override-slide-mpp)"
        remark = f"recorded resolution, {recorded[0]:.4g} um per pixel, {used}"
    if recorded and not override_slide_mpp:
        return slide, remark
    return open_slide(path, given), remark


def open_slide(path: str | os.PathLike[str], slide_mpp: float | None = None) -> Slide:
    """A :class:`Slide` of this process, one of the last few used; opened anew if the file has changed.

    Args:
        path: slide.
        slide_mpp: see :class:`Slide`.

    Returns:
        A shared slide; do not change it.
    """
    try:
        stat = os.stat(path)
    except OSError:
        return Slide(path, slide_mpp)  # which says what is wrong when it is used
    return _open_slide(os.fspath(path), slide_mpp, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=OPEN_SLIDES)
def _open_slide(path: str, slide_mpp: float | None, _mtime_ns: int, _size: int) -> Slide:
    return Slide(path, slide_mpp)
