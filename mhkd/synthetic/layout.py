"""Where things are on a synthetic slide: the tissue, the glomeruli and their look-alikes."""

from dataclasses import dataclass

import cv2
import numpy as np

from ..errors import InputError
from .texture import smooth_field

CLASSES = ("normal", "sclerotic")
LOOKALIKES = ("artery", "atrophic", "infiltrate", "cast")

# Diameters in micrometres: the ranges overlap, so size alone tells no kind from another.
DIAMETER_UM = {
    "normal": (150, 220),
    "sclerotic": (130, 195),
    "artery": (110, 200),
    "atrophic": (140, 220),
    "infiltrate": (130, 210),
    "cast": (110, 170),
}
FIELD_SIZE = 512  # the tissue field is drawn on a grid of this size
MIN_SIZE_UM = 700


@dataclass(frozen=True)
class Item:
    """One round thing on the slide: ``outline`` is (N, 2) float32 (x, y) in base pixels."""

    kind: str
    center_px: tuple[float, float]
    outline: np.ndarray

    @property
    def radius_px(self) -> float:
        return float(np.linalg.norm(self.outline - self.center_px, axis=1).max())


def tissue_field(rng: np.random.Generator, size_um: float) -> np.ndarray:
    """(FIELD_SIZE, FIELD_SIZE) float32, about the distance to the tissue's edge in micrometres,
    positive inside: two or more biopsy cores, or one section. Slides below 2.5 mm get a section."""
    unit = size_um / FIELD_SIZE
    y, x = np.mgrid[:FIELD_SIZE, :FIELD_SIZE].astype(np.float32) * np.float32(unit)
    x, y = x - size_um / 2, y - size_um / 2
    ragged = smooth_field(rng, FIELD_SIZE, max(4, int(size_um / 450)))
    fine = smooth_field(rng, FIELD_SIZE, max(12, int(size_um / 90)))
    bend = smooth_field(rng, FIELD_SIZE, 2)
    if size_um >= 2500 and rng.random() < 0.5:
        angle = rng.normal(0, 0.06) + (np.pi / 2 if rng.random() < 0.5 else 0)
        u = x * np.cos(angle) + y * np.sin(angle)
        v = y * np.cos(angle) - x * np.sin(angle) + bend * 60
        count = max(2, int(size_um / 1330))
        pitch = size_um * 0.97 / count
        inside = np.full_like(u, -np.inf)
        for k in range(count):
            half_width = pitch * rng.uniform(0.40, 0.45)
            half_length = size_um * rng.uniform(0.43, 0.48)
            across = half_width - np.abs(v - (k - (count - 1) / 2) * pitch)
            inside = np.maximum(inside, np.minimum(across, half_length - np.abs(u)))
        inside = inside + ragged * 22
    else:
        a, b = size_um * rng.uniform(0.44, 0.49, 2)
        power = rng.uniform(2.5, 4.0)
        radius = (np.abs(x / a) ** power + np.abs(y / b) ** power) ** (1 / power)
        inside = (1 - radius) * min(a, b) + ragged * min(45, 0.02 * size_um) + bend * 0.02 * size_um
    return (inside + fine * 5).astype(np.float32)


def outline(rng: np.random.Generator, center_px: tuple[float, float], radius_px: float) -> np.ndarray:
    """(72, 2) points of an irregular, roughly elliptical closed curve that is star-shaped."""
    theta = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    radius = 1 + rng.uniform(0.02, 0.13) * np.cos(2 * (theta - rng.uniform(0, np.pi)))
    for k in range(3, 9):
        radius += rng.normal(0, 0.11 / k) * np.cos(k * theta + rng.uniform(0, 2 * np.pi))
    radius *= radius_px / np.sqrt(np.mean(radius**2))
    points = np.stack([np.cos(theta), np.sin(theta)], 1) * radius[:, None] + center_px
    return points.astype(np.float32)


def place_items(
    rng: np.random.Generator, field: np.ndarray, size_px: int, mpp: float, num_glomeruli: int
) -> list[Item]:
    """Glomeruli first (exactly as many as asked for, at least one of each class from two on),
    then nearly as many look-alikes as there is room for.

    Raises:
        InputError: the tissue has no room for that many glomeruli.
    """
    unit_px = size_px / FIELD_SIZE
    room_px = cv2.distanceTransform((field > 0).astype(np.uint8), cv2.DIST_L2, 5) * unit_px
    border = np.minimum(np.arange(FIELD_SIZE), np.arange(FIELD_SIZE)[::-1]) * unit_px
    room_px = np.minimum(room_px, np.minimum(border[:, None], border[None, :]))
    share = rng.uniform(0.25, 0.5)  # of sclerotic glomeruli: patients differ
    num_sclerotic = int(np.clip(round(share * num_glomeruli), num_glomeruli > 1, num_glomeruli))
    kinds = ["sclerotic"] * num_sclerotic + ["normal"] * (num_glomeruli - num_sclerotic)
    kinds += list(rng.choice(LOOKALIKES, round(0.9 * num_glomeruli)))

    items, taken = [], np.empty((0, 3))
    for kind in kinds:
        for _ in range(8 if kind in LOOKALIKES else 60):
            radius_px = rng.uniform(*DIAMETER_UM[kind]) / 2 / mpp
            shape = outline(rng, (0, 0), radius_px)
            reach_px = float(np.linalg.norm(shape, axis=1).max()) + 12 / mpp
            ys, xs = np.nonzero(room_px > reach_px)
            if len(ys) == 0:
                continue
            pick = rng.integers(0, len(ys), 40)
            centers = (np.stack([xs[pick], ys[pick]], 1) + rng.random((40, 2))) * unit_px
            gap = np.linalg.norm(centers[:, None] - taken[None, :, :2], axis=2) - taken[:, 2]
            free = (gap > reach_px).all(axis=1)
            if free.any():
                x, y = centers[free.argmax()].tolist()
                center = (x, y)
                items.append(Item(kind, center, (shape + center).astype(np.float32)))
                taken = np.vstack([taken, [*center, reach_px]])
                break
        else:
            if kind not in LOOKALIKES:
                raise InputError(
                    f"no room for {num_glomeruli} glomeruli on a slide of {size_px} px at {mpp} "
                    f"mpp: lower num_glomeruli or raise size_px"
                )
    return items
