"""How far small squares of the LR slide are from where an alignment puts them on the HR slide."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from ..slides.slide import Slide
from .alignment import Alignment, warped
from .structure import structure

CELL_PX = 64  # side of a square
MIN_CORRELATION = 0.3  # of structures; squares that do not belong together have 0.1, rarely 0.2
_BLOCK = 8  # squares that are read together, along an axis


@dataclass(frozen=True)
class Lattice:
    """Squares of CELL_PX pixels that cover the LR slide at a resolution.

    Attributes:
        mpp: the resolution.
        cell_px: a square's sides in LR base pixels.
        shape: rows and columns.
    """

    mpp: float
    cell_px: tuple[float, float]
    shape: tuple[int, int]

    @classmethod
    def of(cls, lr: Slide, mpp: float) -> "Lattice":
        """Whole squares that lie on the slide; at least one."""
        cell = CELL_PX * mpp / lr.mpp_xy[0], CELL_PX * mpp / lr.mpp_xy[1]
        columns, rows = (max(1, int(n / c + 1e-6)) for n, c in zip(lr.size_px, cell, strict=True))
        return cls(mpp, cell, (rows, columns))

    def middles(self) -> np.ndarray:
        """LR base pixels, shape (rows, columns, 2)."""
        rows, columns = self.shape
        x, y = (np.arange(columns) + 0.5) * self.cell_px[0], (np.arange(rows) + 0.5) * self.cell_px[1]
        return np.stack(np.meshgrid(x, y), -1)

    def tissue(self, mask: np.ndarray, mask_px: tuple[float, float]) -> np.ndarray:
        """Share of each square that is tissue.

        Args:
            mask: bool, of the whole LR slide.
            mask_px: its pixels' sides in LR base pixels.
        """
        inside: np.ndarray = np.zeros(self.shape, np.float32)
        for i, j in np.ndindex(self.shape):
            x0, x1 = (round((j + k) * self.cell_px[0] / mask_px[0]) for k in range(2))
            y0, y1 = (round((i + k) * self.cell_px[1] / mask_px[1]) for k in range(2))
            inside[i, j] = mask[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)].mean()
        return inside


def on_slide(hr: Slide, alignment: Alignment, points: np.ndarray) -> np.ndarray:
    """Whether points of the LR slide, (n, 2), are on the HR slide."""
    found = alignment.to_hr(points)
    return np.all((found >= 0) & (found <= hr.size_px), axis=1)


def measure(
    hr: Slide, lr: Slide, alignment: Alignment, lattice: Lattice, wanted: np.ndarray, radius_px: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find squares of the LR slide on the HR slide, near where they are expected.

    Args:
        hr, lr, alignment: the slides, and where they are expected.
        lattice: of the squares.
        wanted: bool, of the lattice's shape: those to be looked for.
        radius_px: how far, in pixels of the lattice.

    Returns:
        What is to be added to the LR place before the alignment, LR base pixels, shape (rows, columns, 2),
        nan where nothing was found; and the correlations, 0 where nothing was looked for.
    """
    shifts = np.full((*lattice.shape, 2), np.nan)
    scores: np.ndarray = np.zeros(lattice.shape, np.float32)
    step = lattice.cell_px[0] / CELL_PX, lattice.cell_px[1] / CELL_PX  # LR base pixels per pixel
    for i0, j0, block in _blocks(wanted):
        rows, columns = block.shape
        x_px, y_px = j0 * lattice.cell_px[0], i0 * lattice.cell_px[1]
        size = columns * CELL_PX, rows * CELL_PX
        seen = structure(lr.read_region(x_px, y_px, *size, lattice.mpp, from_base=False))
        around = warped(
            hr, alignment, x_px - radius_px * step[0], y_px - radius_px * step[1],
            (size[0] + 2 * radius_px, size[1] + 2 * radius_px), step, lattice.mpp, from_base=False,
        )  # fmt: skip
        expected = structure(around)
        for i, j in np.argwhere(block):
            y, x = i * CELL_PX, j * CELL_PX
            side = CELL_PX + 2 * radius_px
            found = _find(seen[y : y + CELL_PX, x : x + CELL_PX], expected[y : y + side, x : x + side])
            scores[i0 + i, j0 + j] = found[2]
            if found[2] >= MIN_CORRELATION:
                shifts[i0 + i, j0 + j] = found[0] * step[0], found[1] * step[1]
    return shifts, scores


def _blocks(wanted: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Parts of a lattice with anything wanted, and the squares around all that is."""
    for i0 in range(0, wanted.shape[0], _BLOCK):
        for j0 in range(0, wanted.shape[1], _BLOCK):
            block = wanted[i0 : i0 + _BLOCK, j0 : j0 + _BLOCK]
            if block.any():
                i, j = np.nonzero(block)
                block = block[i.min() : i.max() + 1, j.min() : j.max() + 1]
                yield i0 + int(i.min()), j0 + int(j.min()), block


def _find(square: np.ndarray, around: np.ndarray) -> tuple[float, float, float]:
    """Where a square is, from the middle, and its correlation there; 0 if the best place is at the edge."""
    if square.std() < 1e-4 or around.std() < 1e-4:
        return 0.0, 0.0, 0.0
    found = cv2.matchTemplate(around, square, cv2.TM_CCOEFF_NORMED)
    y, x = np.unravel_index(int(found.argmax()), found.shape)
    middle = found.shape[0] // 2
    if min(x, y) == 0 or max(x, y) == found.shape[0] - 1:
        return 0.0, 0.0, 0.0
    dx, dy = _top(found[y, x - 1 : x + 2]), _top(found[y - 1 : y + 2, x])
    return float(x - middle + dx), float(y - middle + dy), float(found[y, x])


def _top(three: np.ndarray) -> float:
    """Of the parabola through three values, from the middle one, which is the largest."""
    before, here, after = (float(v) for v in three)
    bend = before - 2 * here + after
    return 0.0 if bend >= 0 else 0.5 * (before - after) / bend
