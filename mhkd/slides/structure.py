"""What the parts of a slide say of each other: places in the file, sizes, resolutions and pixels of levels.

A damaged slide may be readable, and shown in part from bytes that are something else's, stretched, or at
another resolution. The readers do not compare; here is what can be, before any of it is used.
"""

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from typing import NoReturn

import numpy as np

from ..errors import InputError
from .block_mean import block_mean
from .tiff import COMPRESSION, JPEG_2000, JPEG_TABLES, TiffPage
from .windows import Pixels, plausible_mpp

_ALIGN_BYTES = 16  # writers leave less than this between parts
_SAME_MPP = 0.02
_SAMPLES, _SLOW_SAMPLES = (
    2,
    1,
)  # pieces of the base that are compared with each level, the latter of JPEG 2000
_GRID = 8  # blocks a side in which a piece is compared
# Grey levels, of the mean difference of blocks: more than what resampling and compression make of a level,
# less than wrong colours or another place do.
MAX_DIFFERENCE = 16


def check_places(path: str | os.PathLike[str], pages: Sequence[TiffPage]) -> None:
    """Refuse a TIFF of which two parts lie in the same bytes, or most bytes are no part.

    Pieces may be the same bytes altogether, as blank tiles are, and so may the values of tags.

    Raises:
        InputError: they do, and what it means.
    """
    size = os.path.getsize(path)
    pages = [page for p in pages for page in (p, *p.sub_pages)]
    values = np.concatenate([p.value_places for p in pages])
    pieces = np.concatenate([_pieces(p) for p in pages])
    fixed = np.concatenate([[p.place for p in pages], [(0, 8)]]).astype(np.int64)
    parts = np.concatenate([fixed, pieces[pieces[:, 0] < pieces[:, 1]]])
    parts = parts[np.argsort(parts[:, 0], kind="stable")]
    begins, ends = parts.T
    same = (parts[1:] == parts[:-1]).all(1)
    reach = np.maximum.accumulate(ends)
    if ((begins[1:] < reach[:-1]) & ~same).any() or _overlap(values, begins, reach):
        _refuse(path, "parts of it lie in the same bytes")
    both = np.concatenate([parts, values])
    both = both[np.argsort(both[:, 0], kind="stable")]
    reached = np.maximum.accumulate(both[:, 1])
    known = np.maximum(0, both[1:, 1] - np.maximum(both[1:, 0], reached[:-1])).sum() + both[0, 1]
    if known < size / 2 and known < (end := _end(path, int(reached[-1]))) / 2:
        _refuse(path, f"{end - known} of its {size} bytes belong to none of its pages: one is lost")
    _check_empty(path, pages, begins, reach, size)


def _end(path: str | os.PathLike[str], after: int) -> int:
    """Where a file ends, or ``after`` if there are only zeros from there on, which some writers leave."""
    size = os.path.getsize(path)
    return size if after < size and np.memmap(path, np.uint8, "r", after).any() else after


def _pieces(page: TiffPage) -> np.ndarray:
    """Begin and end of each tile or strip; int64 (n, 2)."""
    if page.offsets is None or page.byte_counts is None:
        return np.empty((0, 2), np.int64)
    offsets, counts = page.offsets.astype(np.int64), page.byte_counts.astype(np.int64)
    return np.stack([offsets, offsets + counts], 1)


def _overlap(values: np.ndarray, begins: np.ndarray, reach: np.ndarray) -> bool:
    """Whether any of the values' bytes, (n, 2), are in a part too."""
    before = np.searchsorted(begins, values[:, 1]) - 1  # the last part that begins before their end
    return bool((before >= 0).any() and (reach[before] > values[:, 0])[before >= 0].any())


def _check_empty(
    path: str | os.PathLike[str], pages: Sequence[TiffPage], begins: np.ndarray, reach: np.ndarray, size: int
) -> None:
    """Refuse a piece without a length whose bytes are there all the same: they begin as others' do."""
    with open(path, "rb") as f:
        for page in pages:
            pieces = _pieces(page)
            filled = pieces[:, 1] > pieces[:, 0]
            empty = np.unique(pieces[~filled & (pieces[:, 0] > 0), 0])
            before = np.searchsorted(begins, empty, side="right") - 1
            after = np.append(begins, size)[before + 1]
            suspects = empty[(reach[before] <= empty) & (after - empty >= _ALIGN_BYTES)]
            for place in suspects[: 100 if filled.any() else 0]:
                heads = []
                for at in (int(place), int(pieces[filled.argmax(), 0])):
                    f.seek(at)
                    heads.append(f.read(2))
                if heads[0] == heads[1]:
                    _refuse(path, f"the piece at byte {place} has lost its length")


def check_tables(path: str | os.PathLike[str], pages: Sequence[TiffPage]) -> None:
    """Refuse a TIFF of whose pages two have JPEG tables that differ in one byte.

    Another quality changes many numbers of a table; one alone has been damaged.

    Raises:
        InputError: they do.
    """
    tables = {bytes(page.tags[JPEG_TABLES]) for page in pages if JPEG_TABLES in page.tags}
    for one, other in itertools.combinations(tables, 2):
        if len(one) == len(other) and sum(a != b for a, b in zip(one, other, strict=True)) == 1:
            _refuse(path, "the JPEG tables of two of its pages differ in one byte")


def check_sizes(path: str | os.PathLike[str], sizes_px: Sequence[tuple[int, int]]) -> None:
    """Refuse levels, widths and heights from the base on, that are no smaller pictures of the base.

    A writer may have rounded a level's size up or down, and that of each from the one before.

    Raises:
        InputError: the proportions of one are others than its rounding allows.
    """
    base = sizes_px[0]
    for size in sizes_px[1:]:
        least, most = zip(*((b / (n + 1), b / max(n - 1, 1e-9)) for b, n in zip(base, size, strict=True)))
        if max(least) > min(most):
            _refuse(path, f"its levels are {base[0]}x{base[1]} and {size[0]}x{size[1]} px")


def agreed_mpp(base: TiffPage, pages: Sequence[TiffPage]) -> tuple[float, float] | None:
    """Micrometres per pixel of the base page; None if a level's contradict it.

    A level's are the base's, copied, or its own; what is no scanner's is that of print and says nothing.
    """
    if base.mpp is None:
        return None
    for page in pages:
        mpp = plausible_mpp(page.mpp) if page.is_tiled else None
        if mpp is None or not all(page.size_px):
            continue
        for m, recorded, n, n_base in zip(mpp, base.mpp, page.size_px, base.size_px, strict=True):
            rounding = _SAME_MPP + 1 / n
            if all(abs(m / recorded / ratio - 1) > rounding for ratio in (1, n_base / n)):
                return None
    return base.mpp


def check_pixels(pixels: Pixels, places: Mapping[int, TiffPage]) -> None:
    """Refuse a slide of which a level shows something else than the base, in a few pieces.

    Args:
        pixels: the slide.
        places: the page of each downsample, to look where there is something; may be empty.

    Raises:
        InputError: it does. Pieces that are damaged are left to who reads them.
    """
    for box in _boxes(pixels, places) if len(pixels.downsamples) > 1 else ():
        try:
            base = pixels.read(1, *box)
        except InputError:
            continue
        for downsample in pixels.downsamples[1:]:
            _compare(pixels, base, box, downsample, places.get(downsample))


def _compare(
    pixels: Pixels, base: np.ndarray, box: tuple[int, int, int, int], downsample: int, page: TiffPage | None
) -> None:
    # A level whose size was rounded shows a little more or less than its downsample says.
    size_px = page.size_px if page else [n / downsample for n in pixels.size_px]
    ratios = [n / of_level for n, of_level in zip(pixels.size_px, size_px, strict=True)]
    left, top = (math.ceil(v / ratio) for v, ratio in zip(box[:2], ratios, strict=True))
    x, y = (round(v * r) - b for v, r, b in zip((left, top), ratios, box[:2], strict=True))
    width, height = (
        min((n - v) // downsample, int(of_level) - begin)
        for n, v, of_level, begin in zip(box[2:], (x, y), size_px, (left, top), strict=True)
    )
    if min(width, height) < 2 or (page and page.is_empty(left // page.unit_px[0], top // page.unit_px[1])):
        return
    try:
        level = pixels.read(downsample, left, top, width, height)
    except InputError:
        return
    blocks = [min(_GRID, n // 2) for n in (width, height)]
    block_px = [width // blocks[0], height // blocks[1]]  # of the level
    means = []
    for picture, begin, scale in ((base, (x, y), downsample), (level, (0, 0), 1)):
        across, down = (n * size * scale for n, size in zip(blocks, block_px, strict=True))
        part = picture[begin[1] : begin[1] + down, begin[0] : begin[0] + across]
        means.append(block_mean(np.ascontiguousarray(part), (blocks[0], blocks[1])).astype(int))
    if np.abs(means[0] - means[1]).mean() > MAX_DIFFERENCE:
        _refuse(
            pixels.path, f"the level that is {downsample} times smaller shows something else than the base"
        )


def _boxes(pixels: Pixels, places: Mapping[int, TiffPage]) -> list[tuple[int, int, int, int]]:
    """Left, top, width and height of a few pieces of the base, the longest in the file of each share."""
    page = places.get(1)
    if page is None or page.byte_counts is None:
        side = [min(n, 256) for n in pixels.size_px]
        return [((pixels.size_px[0] - side[0]) // 2, (pixels.size_px[1] - side[1]) // 2, side[0], side[1])]
    columns = -(-page.size_px[0] // page.unit_px[0])
    counts = page.byte_counts[: len(page.byte_counts) // page.planes]
    boxes = []
    samples = _SLOW_SAMPLES if page.first(COMPRESSION, 1) in JPEG_2000 else _SAMPLES
    for numbers in np.array_split(np.arange(len(counts)), samples):
        if len(numbers) and counts[numbers].max() > 0:
            row, column = divmod(int(numbers[counts[numbers].argmax()]), columns)
            left, top = column * page.unit_px[0], row * page.unit_px[1]
            width, height = (
                min(v, u) for v, u in zip((page.size_px[0] - left, page.size_px[1] - top), page.unit_px)
            )
            boxes.append((left, top, width, height))
    return boxes


def _refuse(path: str | os.PathLike[str], why: str) -> NoReturn:
    raise InputError(f"{path}: is damaged ({why}): copy it again")
