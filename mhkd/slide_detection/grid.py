"""Where tiles lie on a slide: over tissue only, and so that each object lies whole in one of them.

Written by hand: a lattice over all of the slide, as libraries lay it, has several times as many tiles.

A tile's *core* is the tile less half an overlap at each side that is inside the slide. An object which is no
larger than the overlap and whose middle is in a core lies whole in that tile. So it is enough that cores
cover the tissue, and tiles need not lie on a lattice: bands of tiles begin where tissue begins, and so do
the tiles of each band.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Grid:
    """Tiles of one size over a slide; all in LR pixels of the slide.

    Attributes:
        size_px: width and height of the slide, the part pixel at the end included.
        tile_px: width and height of a tile; at most the slide's.
        overlap_px: of neighbouring tiles at least; an even number.
        corners: (x, y) of the tiles, row by row.
    """

    size_px: tuple[int, int]
    tile_px: tuple[int, int]
    overlap_px: int
    corners: tuple[tuple[int, int], ...]

    def inner_sides(self, index: int) -> tuple[bool, ...]:
        """Whether a tile's left, top, right, bottom side is inside the slide."""
        begin = [c > 0 for c in self.corners[index]]
        end = [c + t < n for c, t, n in zip(self.corners[index], self.tile_px, self.size_px)]
        return (*begin, *end)


def lay_grid(
    mask: np.ndarray,
    mask_px: float,
    size_px: tuple[int, int],
    tile_px: int,
    overlap_px: float,
    shift_px: int = 0,
) -> Grid:
    """Lay tiles so that their cores cover a mask.

    Args:
        mask: bool, shape (h, w): tissue, from the slide's top left corner.
        mask_px: side of one of its pixels in LR pixels.
        size_px: width and height of the slide in LR pixels.
        tile_px: side of a tile; where the slide is smaller, tiles are as large as it is.
        overlap_px: the least overlap of neighbours, at most half a tile.
        shift_px: tiles lie so much before where they would. What is found should not depend on it.

    Returns:
        Without tiles where there is no tissue.
    """
    overlap = 2 * math.ceil(overlap_px / 2 - 1e-9)
    width, height = size_px
    tile = (min(tile_px, width), min(tile_px, height))
    corners: list[tuple[int, int]] = []
    columns, rows = (_Axis(mask_px, n, t, overlap, shift_px) for n, t in zip(size_px, tile))
    for y in rows.starts(np.any(mask, axis=1)):
        begin, end = rows.core(y)
        band = mask[math.floor(begin / mask_px) : math.ceil(end / mask_px)]
        corners += [(x, y) for x in columns.starts(np.any(band, axis=0))]
    return Grid((width, height), tile, overlap, tuple(corners))


class _Axis:
    """One axis: a slide of ``n`` pixels, tiles of ``tile``."""

    def __init__(self, mask_px: float, n: int, tile: int, overlap: int, shift: int) -> None:
        self.mask_px, self.n, self.tile, self.half = mask_px, n, tile, overlap // 2
        self.shift = shift % max(1, tile - overlap)
        self.last = n - tile

    def core(self, start: int) -> tuple[int, int]:
        """Begin and end of a tile's core; at the ends of the slide it goes on to them."""
        begin = start + self.half if start > 0 else 0
        end = start + self.tile - self.half if start < self.last else self.n
        return begin, end

    def starts(self, needed: np.ndarray) -> Sequence[int]:
        """Where tiles begin so that their cores cover the mask's pixels that are True, in order."""
        found: list[int] = []
        covered = 0.0
        for k in np.flatnonzero(needed):
            begin, end = k * self.mask_px, min((k + 1) * self.mask_px, self.n)
            while covered < end:
                start = max(math.floor(max(begin, covered) - self.half), 0)
                if begin > covered or not found:  # a new row of tiles
                    start -= self.shift
                place = min(max(start, 0), self.last)
                if place not in found[-1:]:  # a shifted tile and the next may end up in one place
                    found.append(place)
                # Not from where the tile lies: at the slide's edge the shift shows in the next one.
                covered = self.n if start >= self.last else start + self.tile - self.half
        return found
