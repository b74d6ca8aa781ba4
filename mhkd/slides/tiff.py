"""The pages of a TIFF, checked against the file before OpenSlide or libvips see it.

One absurd byte count makes OpenSlide allocate what the file claims, and GLib then ends the whole process.
What is checked is what these readers trust: the chain of pages, and where each page's tiles or strips
are, how long, and how large when decoded. What they find out by decoding is left to them. Written by hand
because TIFF libraries trust the same numbers.
"""

import math
import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NoReturn

import numpy as np

from ..errors import InputError
from ..system import read_at

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
DESCRIPTION, ORIENTATION, SAMPLES, PLANAR, UNIT = 270, 274, 277, 284, 296
EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES, X_RESOLUTION, Y_RESOLUTION = 338, 339, 347, 282, 283
JPEG_2000 = (33003, 33005, 34712)  # compressions
_STRIP_OFFSETS, _ROWS_PER_STRIP, _STRIP_BYTES = 273, 278, 279
_TILE_WIDTH, _TILE_LENGTH, TILE_OFFSETS, TILE_BYTES = 322, 323, 324, 325
_SUB_PAGES = 330
_NDPI = 65420  # its offsets beyond 4 GiB are kept in a way of its own
_RATIONAL = 5
_INTEGERS = {
    SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, SAMPLES, PLANAR, UNIT, EXTRA_SAMPLES,
    SAMPLE_FORMAT, _STRIP_OFFSETS, _ROWS_PER_STRIP, _STRIP_BYTES, _TILE_WIDTH, _TILE_LENGTH, TILE_OFFSETS,
    TILE_BYTES, _SUB_PAGES,
}  # fmt: skip
_OTHERS = {DESCRIPTION, JPEG_TABLES, X_RESOLUTION, Y_RESOLUTION}
# Type -> bytes; of whole numbers and rationals numpy's type (of those with a sign too: none is negative).
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_BYTES |= {16: 8, 17: 8, 18: 8}  # of BigTIFF
_NUMBERS = {k: f"u{_BYTES[k]}" for k in (1, 3, 4, 6, 8, 9, 13, 16, 17, 18)} | {_RATIONAL: "u4"}

# A tile or strip: pixels when decoded, and bytes that one byte in the file can stand for at most. Codecs
# that are not named here have no limit, or one that nobody has written down.
MAX_UNIT_PX = 2**28
_EXPANSION = {1: 3, 5: 5000, 7: 2000, 8: 1100, 32946: 1100, 32773: 130}
_MAX_OVERHEAD = 16  # bytes in the file per decoded byte
_OVERHEAD_BYTES = 2**20


@dataclass(frozen=True)
class TiffPage:
    """One page. Tags that the readers do not go by are left out.

    Attributes:
        tags: whole numbers as an array, others as the bytes in the file; rationals as pairs of whole numbers.
        place: begin and end in the file of the table of its tags.
        value_places: the same of the values of tags, pieces' offsets too, that lie elsewhere; int64 (n, 2).
        sub_pages: those that only this page leads to, and no reader reads.
    """

    tags: dict[int, Any]
    place: tuple[int, int]
    value_places: np.ndarray
    sub_pages: tuple["TiffPage", ...] = ()

    def first(self, tag: int, default: int = 0) -> int:
        """The first value of a tag of whole numbers; ``default`` where there is none."""
        values = self.tags.get(tag)
        return int(values[0]) if values is not None and len(values) else default

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height."""
        return (self.first(WIDTH), self.first(LENGTH))

    @property
    def is_tiled(self) -> bool:
        """Whether its pixels are in tiles, not in strips."""
        return _TILE_WIDTH in self.tags or TILE_OFFSETS in self.tags

    @property
    def unit_px(self) -> tuple[int, int]:
        """Width and height of a tile, or of a strip."""
        if self.is_tiled:
            return (self.first(_TILE_WIDTH), self.first(_TILE_LENGTH))
        width, length = self.size_px
        return (width, min(self.first(_ROWS_PER_STRIP, length), length))

    @property
    def offsets(self) -> np.ndarray | None:
        """Where each tile or strip begins in the file."""
        return self.tags.get(TILE_OFFSETS if self.is_tiled else _STRIP_OFFSETS)

    @property
    def byte_counts(self) -> np.ndarray | None:
        """How long each tile or strip is in the file."""
        return self.tags.get(TILE_BYTES if self.is_tiled else _STRIP_BYTES)

    @property
    def samples(self) -> int:
        """Samples per pixel."""
        return self.first(SAMPLES, 1)

    @property
    def planes(self) -> int:
        """How many times the page's tiles are there: once for each sample where they are apart."""
        return self.samples if self.first(PLANAR, 1) == 2 else 1

    @cached_property
    def is_sparse(self) -> bool:
        """Whether a tile or strip has no bytes."""
        return self.byte_counts is not None and not self.byte_counts.all()

    def is_empty(self, column: int, row: int) -> bool:
        """Whether that tile or strip has no bytes, of the first plane where they are apart."""
        columns, rows = (-(-n // u) for n, u in zip(self.size_px, self.unit_px, strict=True))
        if self.byte_counts is None or column >= columns or row >= rows:
            return False
        return not self.byte_counts[row * columns + column]

    @property
    def unit_bytes(self) -> int:
        """Of a tile or strip when decoded."""
        bits = max(int(b) for b in self.tags.get(BITS, [1]))
        across, down = self.unit_px
        return -(-across * bits * (self.samples if self.planes == 1 else 1) // 8) * down

    @cached_property
    def description(self) -> str | None:
        """The tag ImageDescription, as text."""
        text = self.tags.get(DESCRIPTION)
        return None if text is None else text.rstrip(b"\0").decode("utf-8", "replace")

    @property
    def mpp(self) -> tuple[float, float] | None:
        """Micrometres per pixel along x and y; None where none are recorded, as with the unit "none"."""
        unit_um = {2: 25_400.0, 3: 10_000.0}.get(self.first(UNIT, 2))
        x, y = (self.tags.get(tag, ()) for tag in (X_RESOLUTION, Y_RESOLUTION))
        if unit_um is None or min(len(x), len(y)) < 2 or not (x.all() and y.all()):
            return None
        return (unit_um * int(x[1]) / int(x[0]), unit_um * int(y[1]) / int(y[0]))


def read_pages(path: str | os.PathLike[str]) -> list[TiffPage] | None:
    """Read and check a TIFF.

    Args:
        path: a file that begins with one of MAGIC.

    Returns:
        Its pages; None for a dialect that cannot be checked, NDPI.

    Raises:
        InputError: a page lies outside the file, or claims what the file cannot hold.
    """
    try:
        with open(path, "rb", buffering=0) as f:
            return _Reader(path, f.fileno(), os.fstat(f.fileno()).st_size).pages()
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror})") from e


class _Reader:
    def __init__(self, path: str | os.PathLike[str], fd: int, size: int) -> None:
        self._path, self._fd, self._size = path, fd, size

    def pages(self) -> list[TiffPage] | None:
        head = self._at(0, 8, "its header")
        self._order = "<" if head[:2] == b"II" else ">"
        self._big = head[2:4] in (b"+\0", b"\0+")
        self._word = self._order + ("u8" if self._big else "u4")  # of offsets and counts
        pages: list[TiffPage] = []
        seen = set()
        offset = self._number(8 if self._big else 4, self._word)
        while offset:
            what = f"page {len(pages) + 1}"
            if offset in seen:
                self._refuse(f"{what} is one that was there before")
            seen.add(offset)
            page, offset = self._page(offset, what)
            if page is None:
                return None
            under = [self._page(int(o), f"a page under {what}")[0] for o in page.tags.get(_SUB_PAGES, ())]
            page = replace(page, sub_pages=tuple(p for p in under if p is not None))
            for one in (page, *page.sub_pages):
                self._check(one, what)
            pages.append(page)
        if not pages:
            self._refuse("it has no pages")
        return pages

    def _page(self, offset: int, what: str) -> tuple[TiffPage | None, int]:
        """A page, None where it is NDPI's, and where the next one is."""
        n_type, entry_bytes = ("u8", 20) if self._big else ("u2", 12)
        n = self._number(offset, self._order + n_type, what)
        begin = offset + (8 if self._big else 2)
        entries = np.frombuffer(
            self._at(begin, n * entry_bytes, what),
            [("tag", self._order + "u2"), ("type", self._order + "u2"), ("count", self._word),
             ("value", f"V{8 if self._big else 4}")],
        )  # fmt: skip
        if (entries["tag"] == _NDPI).any():
            return None, 0
        tags: dict[int, Any] = {}
        elsewhere = []
        for entry in entries:
            tag = int(entry["tag"])
            n_bytes = int(entry["count"]) * _BYTES.get(int(entry["type"]), 0)
            if n_bytes > entry["value"].nbytes:
                begin_value = int(np.frombuffer(entry["value"].tobytes(), self._word)[0])
                elsewhere.append((begin_value, begin_value + n_bytes))
            if tag in (X_RESOLUTION, Y_RESOLUTION) and entry["type"] != _RATIONAL:
                continue
            if tag in _INTEGERS or tag in _OTHERS:
                if tag in tags:
                    self._refuse(f"tag {tag} of {what} is there twice")
                tags[tag] = self._values(tag, entry, f"tag {tag} of {what}")
        end = begin + n * entry_bytes
        places = np.array([p for p in elsewhere if p[1] <= self._size], np.int64).reshape(-1, 2)
        page = TiffPage(tags, (offset, end + np.dtype(self._word).itemsize), places)
        return page, self._number(end, self._word, what)

    def _values(self, tag: int, entry: np.void, what: str) -> np.ndarray | bytes:
        kind, count = int(entry["type"]), int(entry["count"])
        if kind not in _BYTES or (tag in _INTEGERS and kind not in _NUMBERS):
            self._refuse(f"{what} is of type {kind}")
        n_bytes = count * _BYTES[kind]
        value = entry["value"].tobytes()
        if n_bytes > len(value):
            value = self._at(int(np.frombuffer(value, self._word)[0]), n_bytes, what)
        if kind not in _NUMBERS or tag in (DESCRIPTION, JPEG_TABLES):
            return value[:n_bytes]
        return np.frombuffer(value[:n_bytes], self._order + _NUMBERS[kind])

    def _check(self, page: TiffPage, what: str) -> None:
        """Refuse impossible sizes of tiles or strips; a page without any is none that is read."""
        offsets, counts = page.offsets, page.byte_counts
        if offsets is None and counts is None:
            return
        width, length = page.size_px
        across_px, down_px = page.unit_px
        if min(width, length, across_px, down_px, page.samples) < 1:
            self._refuse(f"{what} claims {width}x{length} px in pieces of {across_px}x{down_px}")
        n = math.ceil(width / across_px) * math.ceil(length / down_px) * page.planes
        none = np.empty(0)
        offsets, counts = (none if a is None else a for a in (offsets, counts))
        if (present := {len(offsets), len(counts)}) != {n}:
            there = " or ".join(map(str, sorted(present)))
            self._refuse(f"{what} claims {width}x{length} px, which are {n} pieces, and has {there}")
        offsets, counts = (a.astype(np.float64) for a in (offsets, counts))  # no overflow
        outside = (counts > 0) & (offsets + counts > self._size)
        if outside.any():
            k = int(outside.argmax())
            self._refuse(f"piece {k + 1} of {what}, {counts[k]:.0f} bytes at {offsets[k]:.0f}, is not in it")
        decoded = page.unit_bytes
        longest = counts.max()
        if longest > _MAX_OVERHEAD * decoded + _OVERHEAD_BYTES:
            self._refuse(f"{what} claims {longest:.0f} bytes for a piece of {across_px}x{down_px} px")
        expansion = _EXPANSION.get(page.first(COMPRESSION, 1), math.inf)
        if across_px * down_px > MAX_UNIT_PX or (longest and decoded > expansion * max(longest, 64)):
            self._refuse(f"{what} claims pieces of {across_px}x{down_px} px, of {longest:.0f} bytes at most")

    def _number(self, offset: int, dtype: str, what: str = "its header") -> int:
        return int(np.frombuffer(self._at(offset, np.dtype(dtype).itemsize, what), dtype)[0])

    def _at(self, offset: int, n_bytes: int, what: str) -> bytes:
        if offset + n_bytes > self._size:
            self._refuse(f"{what} is not in it")
        parts = []
        while n_bytes:
            part = read_at(self._fd, min(n_bytes, 2**30), offset)
            if not part:
                self._refuse(f"{what} is not in it")
            parts.append(part)
            offset, n_bytes = offset + len(part), n_bytes - len(part)
        return b"".join(parts)

    def _refuse(self, why: str) -> NoReturn:
        raise InputError(
            f"{self._path}: is damaged or cut short ({why}; the file has {self._size} bytes): copy it again"
        )
