"""A TIFF in another layout for libvips, which refuses some whose tiles it could decode.

It takes no tiles of which each plane is apart, and none much larger than their page. Both are said in the
page's directory alone, so libvips is given the file with others behind its end: a page of one sample for
each plane, as large as its tiles reach. The pixels' bytes stay where they are.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyvips

from ..errors import InputError
from ..system import read_at
from . import tiff
from .tiff import TiffPage

MAX_TILE_PX = 4096  # side; memory
_RGB, _LONG, _LONG8 = 2, 4, 16
_HEAD_BYTES = 16
_END_OF_CLASSIC = 2**32


def is_refused(page: TiffPage) -> bool:
    """Whether libvips takes its layout only as :func:`open_planes` gives it."""
    if not page.is_tiled or max(page.unit_px) > MAX_TILE_PX:
        return False
    if page.planes > 1:
        return page.first(tiff.PHOTOMETRIC) == _RGB  # other colours are not the planes as they are
    return any(u > n for u, n in zip(page.unit_px, page.size_px, strict=True))


def open_planes(path: str | os.PathLike[str], page: TiffPage) -> pyvips.Image:
    """The page, opened with libvips.

    Args:
        path: TIFF.
        page: of it, whose samples have been checked and whose layout is refused.

    Raises:
        pyvips.Error: libvips cannot open it so either.
        InputError: the file is too long for one more page.
    """
    parts = [
        pyvips.Image.new_from_source(_Overlaid(path, page).source(), "", page=k, fail_on="warning")
        for k in range(page.planes)
    ]
    image = parts[0].bandjoin(parts[1:]) if parts[1:] else parts[0]
    return image.crop(0, 0, *page.size_px)


class _Overlaid:
    """The file's bytes, but that its head leads to the directories behind its end."""

    def __init__(self, path: str | os.PathLike[str], page: TiffPage) -> None:
        self._file = open(path, "rb", buffering=0)  # closed with this
        self._size, self._position = os.fstat(self._file.fileno()).st_size, 0
        head = self._at(0, _HEAD_BYTES)
        order, big = "<" if head[:2] == b"II" else ">", head[2:4] in (b"+\0", b"\0+")
        self._word = np.dtype(order + ("u8" if big else "u4"))
        self._count = np.dtype(order + ("u8" if big else "u2"))
        self._entry = np.dtype(
            [("tag", order + "u2"), ("type", order + "u2"), ("count", self._word), ("value", self._word)]
        )
        first, self._end = self._directories(page)
        if not big and self._size + len(self._end) >= _END_OF_CLASSIC:
            raise InputError(f"{path}: is too long for tiles of such a layout: convert it to a BigTIFF")
        n = self._word.itemsize  # which is where the head says where the first is, too
        self._head = head[:n] + self._words([first]) + head[2 * n :]

    def source(self) -> pyvips.SourceCustom:
        source = pyvips.SourceCustom()
        source.on_read(self._read)
        source.on_seek(self._seek)
        return source

    def _directories(self, page: TiffPage) -> tuple[int, bytes]:
        """Where the first of them is, and all, the last plane's first."""
        assert page.offsets is not None and page.byte_counts is not None
        begin = page.place[0] + self._count.itemsize
        old = np.frombuffer(self._at(begin, page.place[1] - self._word.itemsize - begin), self._entry)
        changed: dict[int, Any] = {}
        for tag, n, unit in zip((tiff.WIDTH, tiff.LENGTH), page.size_px, page.unit_px, strict=True):
            changed[tag] = [-(-n // unit) * unit]
        if page.planes > 1:
            changed |= {tiff.BITS: [8], tiff.PHOTOMETRIC: [1], tiff.SAMPLES: [1], tiff.PLANAR: [1]}
            old = old[~np.isin(old["tag"], (tiff.EXTRA_SAMPLES, tiff.SAMPLE_FORMAT))]
        added, after = bytearray(-self._size % 8), 0
        planes = zip(np.split(page.offsets, page.planes), np.split(page.byte_counts, page.planes))
        for offsets, counts in reversed(list(planes)):
            values = changed | {tiff.TILE_OFFSETS: offsets, tiff.TILE_BYTES: counts}
            kept = old[~np.isin(old["tag"], list(values))]
            entries = np.zeros(len(kept) + len(values), self._entry)
            entries[: len(kept)] = kept
            for entry, (tag, numbers) in zip(entries[len(kept) :], values.items(), strict=True):
                place = numbers[0]
                if len(numbers) > 1:
                    place = self._size + len(added)
                    added += self._words(numbers)
                kind = _LONG8 if self._word.itemsize == 8 else _LONG
                entry["tag"], entry["type"], entry["count"], entry["value"] = tag, kind, len(numbers), place
            entries.sort(order="tag")
            here = self._size + len(added)
            added += np.array([len(entries)], self._count).tobytes()
            added += entries.tobytes() + self._words([after])
            after = here
        return after, bytes(added)

    def _words(self, numbers: Sequence[int] | np.ndarray) -> bytes:
        return np.asarray(numbers).astype(self._word).tobytes()

    def _at(self, offset: int, n_bytes: int) -> bytes:
        return read_at(self._file.fileno(), n_bytes, offset)

    def _read(self, n_bytes: int) -> bytes:
        at = self._position
        if at < _HEAD_BYTES:
            data = self._head[at : at + n_bytes]
        elif at < self._size:
            data = self._at(at, min(n_bytes, self._size - at))
        else:
            data = self._end[at - self._size : at - self._size + n_bytes]
        self._position += len(data)
        return data

    def _seek(self, offset: int, whence: int) -> int:
        base = (0, self._position, self._size + len(self._end))[whence]
        self._position = base + offset
        return self._position
