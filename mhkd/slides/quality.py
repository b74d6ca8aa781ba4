"""Where a slide is out of focus, under pen or black, by squares of tissue.

Focus is the variance of the Laplacian (Pech-Pacheco 2000) of the grey values, at one resolution whatever the
slide's own: what a student cannot see does not count. Pen and black are found as :mod:`mhkd.slides.tissue`
finds what is no tissue.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .slide import Slide
from .tissue import mask_mpp, pen_and_black

FOCUS_MPP = 4.0  # micrometres per pixel
SQUARE_UM = 256.0
# Grey values squared. Squares of real sections have 800 and more when sharp; blurred by a Gaussian of 4 um at
# most 600, of 8 um at most 40.
MIN_SHARPNESS = 300.0
MIN_TISSUE_SHARE = 0.25  # of a square: glass has no edges
INK_MPP, MAX_INK_SHARE = 16.0, 0.05  # where it is looked for; share of a square
BLURRED, PEN, BLACK = REASONS = ("blurred", "pen", "black")


@dataclass(frozen=True)
class Quality:
    """What is wrong where.

    Attributes:
        reasons: of each square, one of :data:`REASONS`, or "" where nothing is: str, shape (rows, columns),
            from the slide's top left corner.
        tissue_um2: of each square; float64, of that shape.
        focus_known: False for a slide that is coarser than :data:`FOCUS_MPP`.
    """

    reasons: np.ndarray
    tissue_um2: np.ndarray
    focus_known: bool = True

    def area_um2(self, reason: str) -> float:
        """Tissue in the squares of a reason."""
        return float(self.tissue_um2[self.reasons == reason].sum())

    def without(self, mask: np.ndarray, mpp: float) -> np.ndarray:
        """A mask of tissue, bool (h, w) at ``mpp``, without the squares that something is wrong with."""
        index = _square_index(mask.shape, mpp, self.reasons.shape[1]).clip(max=self.reasons.size - 1)
        return np.asarray(mask & (self.reasons.ravel() == "")[index].reshape(mask.shape))

    def record(self) -> dict[str, Any]:
        """For JSON: "square_um"; "tissue_mm2" by reason, and their "share" of all tissue; "squares_um", by
        reason x and y of upper left corners; "focus_known"."""
        total = self.tissue_um2.sum()
        wrong = self.tissue_um2[self.reasons != ""].sum()
        corners = {r: (np.argwhere(self.reasons == r)[:, ::-1] * SQUARE_UM).tolist() for r in REASONS}
        return {
            "square_um": SQUARE_UM,
            "tissue_mm2": {r: round(self.area_um2(r) / 1e6, 4) for r in REASONS},
            "share": round(float(wrong / total), 4) if total else 0.0,
            "focus_known": self.focus_known,
            "squares_um": corners,
        }

    def is_wrong_at(self, points_um: np.ndarray) -> np.ndarray:
        """Whether points, (n, 2) x and y in micrometres, lie in such squares; bool (n,)."""
        rows, columns = self.reasons.shape
        x, y = (points_um // SQUARE_UM).astype(int).T
        return np.asarray(self.reasons[y.clip(0, rows - 1), x.clip(0, columns - 1)] != "")


def slide_quality(slide: Slide, mask: np.ndarray, mpp: float) -> Quality:
    """Look at a slide's tissue.

    Args:
        slide: slide.
        mask: its tissue, bool (h, w), from its top left corner.
        mpp: micrometres per pixel of the mask.

    Returns:
        Where more than one thing is wrong, that which hides more: black, then pen, then blurred.
    """
    extent = [n * m for n, m in zip(slide.size_px, slide.mpp_xy)]
    columns, rows = (max(1, math.ceil(um / SQUARE_UM - 1e-6)) for um in extent)
    index = _square_index(mask.shape, mpp, columns).clip(max=rows * columns - 1)
    count = np.bincount(index, mask.ravel(), rows * columns).reshape(rows, columns)
    tissue_um2 = count * mpp**2
    reasons = np.full((rows, columns), "", "<U8")
    focus_known = max(slide.mpp_xy) <= FOCUS_MPP
    if focus_known:
        enough = tissue_um2 >= MIN_TISSUE_SHARE * SQUARE_UM**2
        reasons[_sharpness(slide, enough, mask, mpp) < MIN_SHARPNESS] = BLURRED
    pen, black = _ink_shares(slide, rows, columns)
    reasons[(pen > MAX_INK_SHARE) & (tissue_um2 > 0)] = PEN
    reasons[(black > MAX_INK_SHARE) & (tissue_um2 > 0)] = BLACK
    return Quality(reasons, tissue_um2, focus_known=focus_known)


def _sharpness(slide: Slide, wanted: np.ndarray, mask: np.ndarray, mpp: float) -> np.ndarray:
    """Variance of the Laplacian over tissue, of each wanted square, (rows, columns); infinite elsewhere."""
    side = round(SQUARE_UM / FOCUS_MPP)
    found = np.full(wanted.shape, np.inf)
    scale = [FOCUS_MPP / m for m in slide.mpp_xy]
    within = ((np.arange(1, side - 1) + 0.5) * FOCUS_MPP)[None]  # um from the square's corner
    for row, column in np.argwhere(wanted):
        x, y = int(column) * side, int(row) * side
        image = slide.read_region(x * scale[0], y * scale[1], side, side, FOCUS_MPP, from_base=False)
        rows, columns = ((within + k * SQUARE_UM) // mpp for k in (row, column))
        at = np.ix_(*(np.minimum(k[0].astype(int), n - 1) for k, n in zip((rows, columns), mask.shape)))
        found[row, column] = _laplacian(image)[mask[at]].var()
    return found


def _laplacian(image: np.ndarray) -> np.ndarray:
    """Of the grey values of uint8 RGB (h, w, 3): four neighbours less the pixel, (h - 2, w - 2)."""
    grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return np.asarray(around - 4 * grey[1:-1, 1:-1])


def _ink_shares(slide: Slide, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Share of each square that is under pen, and that is black."""
    mpp = mask_mpp(slide, INK_MPP)
    masks = pen_and_black(slide, mpp)
    index = _square_index(masks[0].shape, mpp, columns).clip(max=rows * columns - 1)
    size = np.maximum(np.bincount(index, minlength=rows * columns), 1)
    pen, black = (np.bincount(index, m.ravel(), rows * columns) / size for m in masks)
    return pen.reshape(rows, columns), black.reshape(rows, columns)


def _square_index(shape: tuple[int, ...], mpp: float, columns: int) -> np.ndarray:
    """Number of the square that each pixel of a mask has its middle in, row by row."""
    of_rows, of_columns = (((np.arange(n) + 0.5) * mpp // SQUARE_UM).astype(int) for n in shape)
    return np.asarray(of_rows[:, None] * columns + of_columns.clip(max=columns - 1)).ravel()
