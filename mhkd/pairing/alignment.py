"""Where a place of the LR slide is on the HR slide, and the HR slide's pixels on the LR slide's grid."""

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from ..slides.slide import Slide

Affine = np.ndarray  # shape (2, 3): x' = a x + b y + c, y' = d x + e y + f
# HR pixels are read as they are where they are not much finer than wanted: one interpolation instead of two.
_ALMOST_AS_FINE = 1.5


@dataclass(frozen=True)
class Alignment:
    """LR base pixels to HR base pixels: an affine map after a small displacement that varies smoothly.

    Attributes:
        affine: of LR base pixels, shape (2, 3).
        cell_px: side of the displacement's cells, LR base pixels along x and y.
        displacement: at the cells' middles, LR base pixels, shape (rows, columns, 2); None: none.
    """

    affine: Affine
    cell_px: tuple[float, float] = (1.0, 1.0)
    displacement: np.ndarray | None = field(default=None)

    def to_hr(self, points: np.ndarray) -> np.ndarray:
        """Points of shape (n, 2), LR base pixels, in HR base pixels."""
        return apply(self.affine, points + self.displaced(points))

    def to_lr(self, points: np.ndarray) -> np.ndarray:
        """The inverse: HR base pixels in LR base pixels."""
        moved = apply(cv2.invertAffineTransform(self.affine), points)
        found = moved
        for _ in range(5):
            found = moved - self.displaced(found)
        return found

    def displaced(self, points: np.ndarray) -> np.ndarray:
        """The displacement at points, between the cells' middles bilinear, beyond the last as there."""
        if self.displacement is None:
            return np.zeros_like(points)
        rows, columns = self.displacement.shape[:2]
        x = np.clip(points[:, 0] / self.cell_px[0] - 0.5, 0, columns - 1)
        y = np.clip(points[:, 1] / self.cell_px[1] - 0.5, 0, rows - 1)
        i, j = np.minimum(y.astype(int), max(rows - 2, 0)), np.minimum(x.astype(int), max(columns - 2, 0))
        v, u = (y - i)[:, None], (x - j)[:, None]
        below, right = np.minimum(i + 1, rows - 1), np.minimum(j + 1, columns - 1)
        d = self.displacement
        return (1 - v) * ((1 - u) * d[i, j] + u * d[i, right]) + v * (
            (1 - u) * d[below, j] + u * d[below, right]
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        moved = None if self.displacement is None else np.round(self.displacement, 3).tolist()
        return {"affine": self.affine.tolist(), "cell_px": list(self.cell_px), "displacement": moved}

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> "Alignment":
        """What :meth:`as_dict` gave."""
        moved = found["displacement"]
        cell = found["cell_px"]
        return cls(np.array(found["affine"]), (cell[0], cell[1]), None if moved is None else np.array(moved))


def apply(affine: Affine, points: np.ndarray) -> np.ndarray:
    """An affine map of points of shape (n, 2)."""
    return points @ affine[:, :2].T + affine[:, 2]


def warped(
    hr: Slide, alignment: Alignment, x_px: float, y_px: float, size: tuple[int, int],
    step_px: tuple[float, float], mpp: float, from_base: bool = True,
) -> np.ndarray:  # fmt: skip
    """The HR slide as it lies on the LR slide.

    Args:
        hr: the HR slide.
        alignment: from LR to HR.
        x_px, y_px: top left corner, LR base pixels.
        size: width and height of the output.
        step_px: LR base pixels per output pixel, along x and y.
        mpp: micrometres per output pixel.
        from_base: see :meth:`mhkd.slides.slide.Slide.read_region`.

    Returns:
        uint8 RGB, shape (height, width, 3), white where the HR slide is not.
    """
    x = x_px + (np.arange(size[0]) + 0.5) * step_px[0]
    y = y_px + (np.arange(size[1]) + 0.5) * step_px[1]
    points = alignment.to_hr(np.stack(np.meshgrid(x, y), -1).reshape(-1, 2))
    read_mpp = hr.mpp if from_base and mpp <= _ALMOST_AS_FINE * hr.mpp else mpp
    scale = np.array([read_mpp / m for m in hr.mpp_xy])  # HR base pixels per pixel that is read
    corner = points.min(0) - 3 * scale
    width, height = np.ceil((points.max(0) - corner) / scale).astype(int) + 3
    pixels = hr.read_region(corner[0], corner[1], int(width), int(height), read_mpp, from_base)
    where = ((points - corner) / scale - 0.5).astype(np.float32).reshape(size[1], size[0], 2)
    return cv2.remap(
        pixels,
        where[..., 0],
        where[..., 1],
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(255, 255, 255),
    )
