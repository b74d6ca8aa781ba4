"""Whether a tile or strip is as long, when decoded, as its page says.

Where a tile's width or length is told wrong and their number stays the same, nothing else shows it: libtiff
takes the beginning of what is there, in rows of another width. JPEG and JPEG 2000 record their own size, and
are compared where they are decoded.
"""

import logging
import os
import struct
from collections.abc import Sequence

import numpy as np
import pyvips
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ..errors import InputError
from .tiff import BITS, COMPRESSION, LENGTH, PHOTOMETRIC, SAMPLES, WIDTH, TiffPage

_STRIP_OFFSETS, _ROWS_PER_STRIP, _STRIP_BYTES = 273, 278, 279
_PLAIN, _LIBTIFFS = 1, (5, 8, 32946, 32773)  # LZW, deflate, PackBits
_ALIGN_BYTES = 16  # writers fill up with less than this
_YCBCR = 6  # its samples may be fewer than the pixels
_LARGEST_BYTES = 2**26  # when decoded; time and memory

# Rows that a sound tile lacks are an error to libvips, which it raises, and says once more.
logging.getLogger("pyvips").setLevel(logging.ERROR)


def check_piece_sizes(path: str | os.PathLike[str], pages: Sequence[TiffPage]) -> None:
    """Refuse a TIFF of whose tiles one, the shortest of each page, is longer or shorter than its size.

    Where no page has tiles, strips are looked at. What does not decode is left to the readers.

    Raises:
        InputError: one is.
    """
    with open(path, "rb") as f:
        for page in [p for p in pages if p.is_tiled] or pages:
            number = _shortest(page)
            if number is None or page.unit_bytes > _LARGEST_BYTES or not _is_plain_samples(page):
                continue
            assert page.offsets is not None and page.byte_counts is not None
            f.seek(int(page.offsets[number]))
            data = f.read(int(page.byte_counts[number]))
            if not _fits(data, page):
                across, down = page.unit_px
                raise InputError(
                    f"{path}: is damaged (its pieces are not of the {across}x{down} px that it claims): "
                    "copy it again"
                )


def _shortest(page: TiffPage) -> int | None:
    """Number of the piece with the fewest bytes; not of the last strips, which end where the page does."""
    if page.offsets is None or page.byte_counts is None:
        return None
    counts = page.byte_counts.astype(np.float64)
    counts[counts == 0] = np.inf
    if not page.is_tiled and page.size_px[1] % page.unit_px[1]:
        per_plane = len(counts) // page.planes
        counts[per_plane - 1 :: per_plane] = np.inf
    return int(counts.argmin()) if np.isfinite(counts).any() else None


def _is_plain_samples(page: TiffPage) -> bool:
    """Whether its size in pixels says how many bytes a piece has."""
    return len({*page.tags.get(BITS, [1])}) == 1 and page.first(PHOTOMETRIC) != _YCBCR


def _fits(data: bytes, page: TiffPage) -> bool:
    """Whether a piece has the rows that its page says and no more, or does not say how long it is."""
    codec, rows = page.first(COMPRESSION, 1), page.unit_px[1]
    if codec == _PLAIN:
        return 0 <= len(data) - page.unit_bytes < _ALIGN_BYTES
    if codec not in _LIBTIFFS:
        return True
    return not _has_rows(data, codec, page.unit_bytes // rows, rows + 1)


def _has_rows(data: bytes, codec: int, row_bytes: int, rows: int) -> bool:
    """Whether libtiff finds so many rows in it, read as a grey TIFF of one strip."""
    tags = ImageFileDirectory_v2()
    tags[WIDTH], tags[LENGTH], tags[_ROWS_PER_STRIP] = row_bytes, rows, rows
    tags[BITS], tags[SAMPLES], tags[PHOTOMETRIC], tags[COMPRESSION] = 8, 1, 1, codec
    tags[_STRIP_OFFSETS], tags[_STRIP_BYTES] = 0, len(data)  # counted from the end of the tags
    head = struct.pack("<2sHI", b"II", 42, 8)
    try:
        image = pyvips.Image.new_from_buffer(head + tags.tobytes(len(head)) + data, "", fail_on="error")
        image.copy_memory()
    except pyvips.Error:
        return False
    return True
