"""Opens a slide file and hands out windows of its pixels; everything format-specific ends here.

OpenSlide comes first: it is the one reader that refuses damaged tiles instead of inventing pixels; it is
opened through large-image. libvips serves the TIFFs that OpenSlide does not take (striped, planar), Pillow
plain PNG and JPEG. A TIFF is checked before either sees it. Formats that we cannot check are read in a
process of their own, since OpenSlide ends the process on some damage; so are folders, of DICOM series, and
what libvips would read in a forked process, where it may hang.
"""

import os
import unicodedata
from collections.abc import Sequence

import numpy as np
import openslide

from ..errors import InputError
from . import dicom, structure, tiff
from .images import read_rgb
from .large_image_canvas import TileSourceError, read_canvas
from .magic import read_head
from .ome import Ome, read_ome
from .openslide_pixels import CHECKED, OpenSlidePixels
from .piece_sizes import check_piece_sizes
from .reader_process import ProcessPixels
from .samples import check_samples
from .tiff import TiffPage
from .vips_pixels import VipsPixels
from .windows import Pixels, plausible_mpp

_PLAIN_BYTES = 1024  # OpenSlide reads tiles that are not compressed only if they are as long as a multiple
_UNFORKED = os.getpid()
_PNG_JPEG = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


def open_pixels(path: str) -> Pixels:
    """Open a slide or a plain image.

    Args:
        path: whatever OpenSlide opens, the folder of a DICOM series, a TIFF that libvips opens, PNG or JPEG.

    Raises:
        InputError: the file is missing, empty, damaged, or of a format that none of them takes; or its name
            cannot be written into results.
    """
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in path):  # Cs: bytes that are not UTF-8
        raise InputError(
            f"{path!r}: the name has a line break or is not UTF-8, so that no result can hold it: rename it"
        )
    if os.path.isdir(path):
        return ProcessPixels(path)
    magic, _ = read_head(path, "slide", "copy the slide again", 8)
    if magic.startswith(_PNG_JPEG):
        return ImagePixels(path)
    pages = tiff.read_pages(path) if magic.startswith(tiff.MAGIC) else None
    vendor = openslide.OpenSlide.detect_format(path)
    if pages is None or vendor not in (None, *CHECKED):
        if vendor is not None:
            return ProcessPixels(path)
        raise InputError(
            f"{path}: is no slide or image that OpenSlide, libvips or Pillow know, whatever its name says: "
            "convert it to a tiled pyramidal TIFF"
        )
    structure.check_places(path, pages)
    structure.check_tables(path, pages)
    check_piece_sizes(path, pages)
    ome = read_ome(pages[0].description)
    pixels: Pixels | None = None
    if vendor is not None:
        pixels = _openslide_pixels(path, vendor, pages, ome.channels)
    if pixels is None:  # the largest page, as with OpenSlide: a label or a thumbnail may come first
        number = max(range(len(pages)), key=lambda n: pages[n].size_px[0] * pages[n].size_px[1])
        drop = check_samples(path, pages[number], pages, ome.channels)
        levels = [p.size_px for p in pages if p.is_tiled and p.first(tiff.SUBFILE) == 1]
        structure.check_sizes(path, [pages[number].size_px, *levels])
        if os.getpid() == _UNFORKED:
            pixels = VipsPixels(path, pages[number], number, drop)
        else:
            pixels = ProcessPixels(path, checked=True)
        pixels.mpp = structure.agreed_mpp(pages[number], pages)
        ome = ome if number == 0 else Ome()
    if ome.size_px and ome.size_px != pages[0].size_px:
        raise InputError(
            f"{path}: is damaged, or was cut or scaled by a program that left its OME-XML, which says "
            f"{ome.size_px}, its pixels are {pages[0].size_px}: copy it again, or convert it anew"
        )
    pixels.mpp = plausible_mpp(ome.mpp or pixels.mpp)
    return pixels


def _openslide_pixels(
    path: str, vendor: str, pages: Sequence[TiffPage], channels: int | None
) -> Pixels | None:
    """None where libvips is to read it."""
    tiled = [p for p in pages if p.is_tiled]
    base = max(tiled, key=lambda p: p.size_px[0], default=pages[0])
    if check_samples(path, base, pages, channels) or base.samples == 2:
        return None  # OpenSlide takes a fourth sample for alpha, whatever it is, and leaves grey's as it is
    if vendor == "generic-tiff" and base.first(tiff.COMPRESSION, 1) == 1 and base.unit_bytes % _PLAIN_BYTES:
        return None
    try:
        pixels = OpenSlidePixels(path, read_canvas(path), pages)
        if vendor == "generic-tiff":  # the others' is in words
            pixels.mpp = structure.agreed_mpp(base, pages)
        pixels.check()
        return pixels
    except TileSourceError:
        _reject_if_damaged(path)
    return None


def open_unchecked(path: str) -> Pixels:
    """A slide of another format than CHECKED; for the process that reads it.

    Raises:
        InputError: it cannot be opened.
    """
    file = dicom.file_of(path) if os.path.isdir(path) else path
    if path.lower().endswith(dicom.SUFFIXES) and file == path:
        dicom.series_of(path)
    try:
        canvas = read_canvas(file)
        if 0 not in canvas.levels:  # large-image would take a smaller one for the slide
            raise InputError(f"{path}: its finest level is damaged or cut short: copy the slide again")
        pixels = OpenSlidePixels(file, canvas)
    except TileSourceError as e:
        _reject_if_damaged(file)
        raise InputError(f"{path}: is a slide, but none of its levels can be read ({e})") from e
    pixels.mpp = plausible_mpp(pixels.mpp)
    if pixels.vendor == "dicom":
        pixels.check()
    return pixels


def _reject_if_damaged(path: str) -> None:
    """large-image also refuses files for reasons of its own; only OpenSlide's word means damage."""
    try:
        openslide.OpenSlide(path).close()
    except openslide.OpenSlideUnsupportedFormatError:
        return
    except openslide.OpenSlideError as e:
        if "Unsupported TIFF compression" in str(e):  # which libvips may know
            return
        raise InputError(f"{path}: is damaged or cut short ({e}): copy the slide again") from e


class ImagePixels:
    """A plain PNG or JPEG, decoded once and held in memory."""

    mpp: tuple[float, float] | None = None  # the resolution in such files is one of print
    downsamples: Sequence[int] = (1,)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._image = read_rgb(path)
        self.size_px = (self._image.shape[1], self._image.shape[0])

    def read(self, downsample: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """As :meth:`mhkd.slides.windows.Pixels.read`."""
        out = np.full((height, width, 3), 255, np.uint8)
        x0, x1 = max(x, 0), min(x + width, self.size_px[0])
        y0, y1 = max(y, 0), min(y + height, self.size_px[1])
        if x0 < x1 and y0 < y1:
            out[y0 - y : y1 - y, x0 - x : x1 - x] = self._image[y0:y1, x0:x1]
        return out
