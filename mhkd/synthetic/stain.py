"""Stains and scanners: from dye concentrations to RGB.

Drawings are made of three concentrations per pixel: haematoxylin (nuclei), the counterstain (eosin
or PAS) and red cells. Beer-Lambert turns them into light: ``RGB = white * exp(-c @ od)``.
"""

from dataclasses import dataclass

import cv2
import numpy as np

CONC_SCALE = 80  # concentrations are kept as uint8: 255 / 80 = 3.2 at most
BAND_ROWS = 64  # small enough for the caches

_OD = {  # optical density of one unit: rows haematoxylin, counterstain, red cells; columns R, G, B
    "HE": ((0.92, 0.98, 0.44), (0.15, 0.92, 0.46), (0.16, 1.25, 0.95)),
    "PAS": ((0.98, 0.92, 0.42), (0.22, 0.97, 0.45), (0.22, 1.20, 0.75)),
}
# Counterstain taken up by what is drawn.
_UPTAKE = {
    "HE": {
        "proximal": 0.62,
        "distal": 0.42,
        "membrane": 0.22,
        "interstitium": 0.42,
        "matrix": 0.50,
        "fibrosis": 0.58,
        "muscle": 0.60,
        "cast": 0.62,
    },
    "PAS": {
        "proximal": 0.52,
        "distal": 0.30,
        "membrane": 0.75,
        "interstitium": 0.32,
        "matrix": 0.62,
        "fibrosis": 0.62,
        "muscle": 0.46,
        "cast": 0.62,
    },
}


@dataclass(frozen=True)
class Look:
    """How one slide was stained and scanned."""

    stain: str
    uptake: dict[str, float]
    od: np.ndarray  # (3, 3) optical density per unit concentration, strength included
    white: np.ndarray  # (3,) RGB of clear glass
    gamma: float
    blur_px: float
    noise: float  # standard deviation in grey levels


def random_look(rng: np.random.Generator, px_per_um: float, stain: str | None = None) -> Look:
    """A stain ("HE" or "PAS", by chance if None) with this slide's dye strengths and scanner."""
    stain = stain or str(rng.choice(["HE", "PAS"]))
    od = np.asarray(_OD[stain]) * rng.normal(1, 0.05, (3, 3))
    od *= np.array([[rng.uniform(0.85, 1.2)], [rng.uniform(0.8, 1.25)], [1.0]])
    return Look(
        stain=stain,
        uptake=dict(_UPTAKE[stain]),
        od=od.astype(np.float32),
        white=(rng.uniform(236, 246) + rng.normal(0, 2.2, 3)).clip(225, 252).astype(np.float32),
        gamma=float(rng.uniform(0.93, 1.08)),
        blur_px=float(rng.uniform(0.35, 0.8) * max(px_per_um, 0.5)),
        noise=float(rng.uniform(1.0, 2.5)),
    )


def develop(conc: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """Scan the slide: (H, W, 3) uint8 concentrations (times CONC_SCALE) to (H, W, 3) uint8 RGB."""
    rgb = np.empty_like(conc)
    to_log = np.ascontiguousarray(-look.od.T * (look.gamma / CONC_SCALE))
    grain = (rng.standard_normal((256, 1024, 3), dtype=np.float32) * look.noise).round()
    repeats = -(-conc.shape[1] // grain.shape[1])
    for y in range(0, len(conc), BAND_ROWS):
        light = cv2.exp(cv2.transform(conc[y : y + BAND_ROWS].astype(np.float32), to_log))
        light *= look.white
        rgb[y : y + BAND_ROWS] = light + np.float32(0.5)
    rgb = cv2.GaussianBlur(rgb, (0, 0), look.blur_px)
    for y in range(0, len(conc), len(grain)):  # after the blur: it is the sensor's
        tile = np.roll(grain, int(rng.integers(0, 1024)), axis=1)
        tile = np.tile(tile, (1, repeats, 1))[: len(conc) - y, : conc.shape[1]]
        band = rgb[y : y + len(grain)]
        rgb[y : y + len(grain)] = cv2.add(band, tile, dtype=cv2.CV_8U)
    return rgb
