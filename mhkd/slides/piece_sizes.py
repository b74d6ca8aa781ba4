"""Whether a tile or strip is as long, when decoded, as its page says.

Where a tile's width or length is told wrong and their number stays the same, nothing else shows it: libtiff
takes the beginning of what is there, in rows of another width. JPEG and JPEG 2000 record their own size, and
are compared where they are decoded. Lengths of LZW and PackBits are counted by hand: libtiff tells them on
the standard error alone, and libvips hangs in workers that were forked from a process that had used it.
"""

import os
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import InputError
from .tiff import BITS, COMPRESSION, PHOTOMETRIC, TiffPage

_ALIGN_BYTES = 16  # writers fill up with less than this
_YCBCR = 6  # its samples may be fewer than the pixels
_CLEAR, _END, _MOST_BITS = 256, 257, 12  # of LZW


def check_piece_sizes(path: str | os.PathLike[str], pages: Sequence[TiffPage]) -> None:
    """Refuse a TIFF of whose tiles one, the shortest of each page, is longer or shorter than its size.

    Where no page has tiles, strips are looked at. What does not decode is left to the readers.

    Raises:
        InputError: one is.
    """
    with open(path, "rb") as f:
        for page in [p for p in pages if p.is_tiled] or pages:
            count, number = _LENGTHS.get(page.first(COMPRESSION, 1)), _shortest(page)
            if count is None or number is None or not _has_plain_samples(page):
                continue
            assert page.offsets is not None and page.byte_counts is not None
            f.seek(int(page.offsets[number]))
            length = count(f.read(int(page.byte_counts[number])), page.unit_bytes + _ALIGN_BYTES)
            if length is not None and not 0 <= length - page.unit_bytes < _ALIGN_BYTES:
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


def _has_plain_samples(page: TiffPage) -> bool:
    """Whether its size in pixels says how many bytes a piece has."""
    return len({*page.tags.get(BITS, [1])}) == 1 and page.first(PHOTOMETRIC) != _YCBCR


def _plain_length(data: bytes, most: int) -> int:
    return len(data)


def _deflate_length(data: bytes, most: int) -> int | None:
    try:
        return len(zlib.decompressobj().decompress(data, most))
    except zlib.error:
        return None


def _packbits_length(data: bytes, most: int) -> int:
    """A byte tells how many follow, or how often the next one stands; 128 nothing (TIFF 6.0, section 9)."""
    length = at = 0
    while at < len(data) and length < most:
        n = data[at]
        length += n + 1 if n < 128 else (257 - n) % 129
        at += n + 2 if n < 128 else 1 if n == 128 else 2
    return length


def _lzw_length(data: bytes, most: int) -> int | None:
    """A new code stands for a byte more than the code before it did (TIFF 6.0, section 13)."""
    if data[:1] == b"\0":
        return None  # of before TIFF 5, its bits the other way round
    lengths: list[int] = []
    length = buffer = n_bits = before = 0
    width = 9
    for byte in data:
        buffer, n_bits = buffer << 8 | byte, n_bits + 8
        if n_bits < width:
            continue
        n_bits -= width
        code, buffer = buffer >> n_bits, buffer & (1 << n_bits) - 1
        if code == _END or length >= most:
            break
        if code == _CLEAR:
            lengths, before, width = [1] * (_END + 1), 0, 9
            continue
        if before:
            lengths.append(before + 1)
        if code >= len(lengths):
            return None
        before = lengths[code]
        length += before
        if len(lengths) + 1 >= 1 << width and width < _MOST_BITS:
            width += 1
    return length


# Of a piece's bytes, by compression: their number when decoded, `most` or a little more where it is larger.
_LENGTHS: dict[int, Callable[[bytes, int], int | None]] = {
    1: _plain_length,
    5: _lzw_length,
    8: _deflate_length,
    32946: _deflate_length,
    32773: _packbits_length,
}
