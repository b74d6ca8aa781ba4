"""The close-ups: glomeruli of both classes and the look-alikes, one small patch each.

Up close the kinds differ plainly (capillary loops, nuclei, Bowman's space, fibres, onion-like
muscle, small lumens). Their mean colours and sizes overlap, so that far away only a weak cue
remains.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from .layout import Item
from .stain import Look
from .texture import NoiseBank, cell_mosaic, jittered_points, nucleus_stamps, ramp, stamp_max

Dyes = tuple[np.ndarray, np.ndarray, np.ndarray]  # of haematoxylin, counterstain and red cells


@dataclass
class Patch:
    """What a drawing starts from. Arrays are (H, W) float32; ``depth_um`` is the distance from the
    outline, positive inside; ``theta`` and ``r_um`` are polar coordinates around the centre."""

    rng: np.random.Generator
    noise: NoiseBank
    px_per_um: float
    look: Look
    depth_um: np.ndarray
    theta: np.ndarray
    r_um: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return self.depth_um.shape

    def texture(self, name: str) -> np.ndarray:
        return self.noise.random_crop(self.rng, name, self.shape)

    def cells(self, pitch_um: float, warp_um: float = 2.5) -> tuple[np.ndarray, np.ndarray]:
        """(value in [0, 1) of each cell, distance to the cell's border in um), both (H, W)."""
        warp = warp_um * self.px_per_um
        labels, border_px = cell_mosaic(
            self.rng,
            self.shape,
            pitch_um * self.px_per_um,
            self.texture("mid") * warp,
            self.texture("mid") * warp,
        )
        value = self.rng.random(int(labels.max()) + 1, dtype=np.float32)[labels]
        return value, border_px / np.float32(self.px_per_um)

    def line(self, distance_um: np.ndarray, width_um: float) -> np.ndarray:
        """A soft line of the given width where ``distance_um`` is 0."""
        return np.exp(-((distance_um / np.float32(width_um / 1.66)) ** 2))

    def nuclei(
        self, pitch_um: float, keep: np.ndarray, length_um: float = 7.0, width_um: float = 5.5
    ) -> np.ndarray:
        """(H, W) nuclei at random places, each kept with the probability in ``keep``."""
        canvas = np.zeros(self.shape, np.float32)
        points = jittered_points(self.rng, *self.shape, pitch_um * self.px_per_um)
        chance = keep[points[:, 0], points[:, 1]]
        points = points[self.rng.random(len(points)) < chance]
        stamps = nucleus_stamps(self.rng, length_um, width_um, self.px_per_um)
        stamp_max(canvas, points, stamps, self.rng)
        return canvas

    def swirls(self) -> np.ndarray:
        """Fibres that run in bent bundles, mean 0, deviation 1."""
        s = self.px_per_um
        y, x = np.indices(self.shape, dtype=np.float32)
        angle = self.rng.uniform(0, np.pi) + 0.5 * cv2.GaussianBlur(self.texture("mid"), (0, 0), 8 * s) * 4
        mean = float(angle.mean())
        bend = (angle - mean) * 14 * s
        u = x * np.cos(mean) + y * np.sin(mean)
        v = y * np.cos(mean) - x * np.sin(mean) + bend
        shift = self.rng.uniform(0, 1000, 2)
        return self.noise.sample("fibre", v + shift[0], u + shift[1])

    def onion(self) -> np.ndarray:
        """Fibres that run around the centre, mean 0, deviation 1."""
        s = self.px_per_um
        v = (self.r_um + 2.5 * self.texture("mid")) * s
        u = self.theta * 45 * s
        return self.noise.sample("fibre", v, u + self.rng.uniform(0, 1000))


def _normal(p: Patch) -> Dyes:
    """Capillary loops in lobules, many nuclei, a thin Bowman's space and the capsule's line."""
    up = p.look.uptake
    crescent = 0.5 + 0.5 * np.cos(p.theta - p.rng.uniform(0, 2 * np.pi))
    space = 3.5 + p.rng.uniform(1, 8) * crescent**2 + 2.0 * p.texture("mid")
    tuft = ramp(p.depth_um - space, 2.0)
    value, border = p.cells(9.5, 3.0)
    _, lobule = p.cells(48, 6.0)
    loop = ramp(border - 1.7, 1.2) * (value > 0.38)  # an open capillary
    cleft = 1 - ramp(lobule - 1.3 + 0.8 * p.texture("mid"), 1.5)
    solid = tuft * (1 - 0.45 * cleft)
    counter = solid * ((1 - loop) * up["matrix"] * (1 + 0.2 * p.texture("fine")) + loop * 0.10)
    red = solid * loop * (value > 0.84) * 0.75
    nuclei = p.nuclei(7.6, tuft * (1 - 0.7 * loop) * p.rng.uniform(0.62, 0.88), 6.2, 5.0)
    capsule = p.line(p.depth_um - 1.2, 2.4)
    lining = p.nuclei(8.0, 0.45 * p.line(p.depth_um - 2.5, 3.0), 9.0, 3.2)
    counter = np.maximum(counter, capsule * (up["membrane"] + 0.25)) * (1 - 0.3 * nuclei)
    haem = np.maximum(solid * 0.10 + 1.25 * nuclei, 1.1 * lining)
    return haem, counter, red


def _sclerotic(p: Patch) -> Dyes:
    """A solid ball of fine fibres with few nuclei; the capsule is thick, its space closed."""
    up = p.look.uptake
    inside = ramp(p.depth_um - 1.0, 2.0)
    fibres = 0.65 * p.swirls() + 0.35 * p.texture("fine")
    strength = p.rng.uniform(0.86, 1.08)
    counter = inside * up["fibrosis"] * strength * (1 + 0.42 * fibres)
    _, fold = p.cells(38, 7.0)
    counter *= 1 - 0.75 * p.line(fold, 2.2) * (p.texture("mid") > 0.2)
    capsule = p.line(p.depth_um - 3.0 + p.texture("mid"), 3.5)
    counter = np.maximum(counter, capsule * (up["membrane"] + 0.45))
    slit = p.line(p.depth_um - 7 - 1.5 * p.texture("mid"), 2.5) * (p.texture("mid") > 0.6)
    counter *= 1 - 0.8 * slit
    nuclei = p.nuclei(8.0, inside * p.rng.uniform(0.10, 0.26), 6.5, 4.0)
    haem = inside * p.rng.uniform(0.09, 0.22) * (1 + 0.35 * fibres) + 1.15 * nuclei
    return haem, counter, np.zeros(p.shape, np.float32)


def _artery(p: Patch) -> Dyes:
    """Rings of smooth muscle around a small, often folded lumen."""
    up = p.look.uptake
    inside = ramp(p.depth_um + p.texture("mid"), 3.0)
    radius = float(p.depth_um.max()) * p.rng.uniform(0.08, 0.30)
    hole = float(p.depth_um.max()) - p.depth_um
    wobble = 1 + 0.25 * np.cos(3 * p.theta + p.rng.uniform(0, 6)) + 0.10 * p.texture("mid")
    lumen = ramp(radius * wobble - hole, 2.0)
    rings = p.onion()
    counter = inside * up["muscle"] * p.rng.uniform(0.85, 1.1) * (1 + 0.28 * rings)
    counter = np.maximum(counter, up["membrane"] * p.line(hole - radius * wobble - 2, 2.5))
    haem = inside * (0.16 + 0.05 * rings)
    keep = inside * (1 - lumen) * p.rng.uniform(0.20, 0.36)
    haem = np.maximum(haem, 1.1 * p.nuclei(9.5, keep, 9.0, 3.2))
    blood = p.rng.random() < 0.5
    red = lumen * (0.75 * (p.texture("fine") > -0.3) if blood else 0.0)
    open_ = 1 - lumen
    return haem * open_, counter * open_, red


def _atrophic(p: Patch) -> Dyes:
    """A ball of shrunken tubules: small lumens, thick membranes, crowded nuclei."""
    up = p.look.uptake
    inside = ramp(p.depth_um + 3 * p.texture("mid"), 4.0)
    value, border = p.cells(p.rng.uniform(22, 28), 4.0)
    body = ramp(border - 2.6, 1.5)
    lumen = ramp(border - 7.0 - 3 * value, 1.5)
    counter = body * up["distal"] * (1 + 0.25 * p.texture("fine")) + (1 - body) * (
        0.9 * up["interstitium"] + 0.12 * p.swirls()
    )
    counter = counter + (up["membrane"] + 0.1) * 0.6 * p.line(border - 2.8, 2.2)
    haem = 0.12 + 1.2 * p.nuclei(7.0, 0.72 * body * (1 - lumen))
    open_ = inside * (1 - lumen)
    return haem * open_, np.maximum(counter, 0) * open_, np.zeros(p.shape, np.float32)


def _infiltrate(p: Patch) -> Dyes:
    """A nest of round, dark lymphocytes in loose fibres, without capsule or loops."""
    up = p.look.uptake
    inside = ramp(p.depth_um + 5 * p.texture("mid"), 12.0)
    fibres = p.swirls()
    counter = inside * (0.5 * (up["interstitium"] + up["matrix"]) + 0.10 * fibres)
    density = p.rng.uniform(0.42, 0.66) * np.sqrt(inside)
    nuclei = p.nuclei(7.0, density, 5.2, 5.0)
    haem = inside * 0.13 + 1.3 * nuclei
    return haem, np.maximum(counter, 0), np.zeros(p.shape, np.float32)


def _cast(p: Patch) -> Dyes:
    """A group of swollen tubules whose lumens are filled with smooth protein casts."""
    up = p.look.uptake
    inside = ramp(p.depth_um + 2 * p.texture("mid"), 4.0)
    value, border = p.cells(p.rng.uniform(44, 60), 5.0)
    body = ramp(border - 2.5, 1.5)
    filled = ramp(border - 8.5, 1.5)
    crack = p.line(border - 8.5, 1.6) * (value > 0.3)
    counter = body * (1 - filled) * up["distal"] * (1 + 0.2 * p.texture("fine"))
    counter = counter + filled * up["cast"] * (0.6 + 0.45 * value) * (1 + 0.04 * p.texture("mid"))
    counter = counter + (1 - body) * up["interstitium"] + up["membrane"] * p.line(border - 2.5, 2)
    haem = 0.14 + 0.10 * filled + 1.15 * p.nuclei(8.0, 0.62 * body * (1 - filled))
    open_ = inside * (1 - 0.9 * crack)
    return haem * open_, counter * open_, np.zeros(p.shape, np.float32)


_DRAW = {
    "normal": _normal,
    "sclerotic": _sclerotic,
    "artery": _artery,
    "atrophic": _atrophic,
    "infiltrate": _infiltrate,
    "cast": _cast,
}


def draw_item(
    rng: np.random.Generator, item: Item, noise: NoiseBank, look: Look, px_per_um: float
) -> tuple[tuple[int, int], np.ndarray, np.ndarray]:
    """One item's close-up.

    Returns:
        (x, y): base pixel of the patch's upper left corner.
        conc: (H, W, 3) float32 concentrations.
        alpha: (H, W) float32 in [0, 1], 1 where the patch covers what was there.
    """
    margin = int(np.ceil(8 * px_per_um))
    x0, y0 = np.floor(item.outline.min(axis=0)).astype(int) - margin
    x1, y1 = np.ceil(item.outline.max(axis=0)).astype(int) + margin + 1
    # Half-pixel shift: pixel i covers [i, i + 1), OpenCV draws on pixel centres.
    local = np.round((item.outline - (x0 + 0.5, y0 + 0.5)) * 16).astype(np.int32)
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillPoly(mask, [local], 1, shift=4)
    depth: np.ndarray = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    depth -= cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    y, x = np.indices(mask.shape, dtype=np.float32)
    x, y = x + (x0 + 0.5 - item.center_px[0]), y + (y0 + 0.5 - item.center_px[1])
    patch = Patch(
        rng=rng,
        noise=noise,
        px_per_um=px_per_um,
        look=look,
        depth_um=depth / np.float32(px_per_um),
        theta=np.arctan2(y, x),
        r_um=np.hypot(x, y) / np.float32(px_per_um),
    )
    conc = np.stack(_DRAW[item.kind](patch), axis=-1).astype(np.float32)
    conc[..., :2] *= rng.normal(1, 0.05, 2).astype(np.float32).clip(0.85, 1.15)
    soft = 12.0 if item.kind == "infiltrate" else 1.5
    return (int(x0), int(y0)), conc, ramp(patch.depth_um + soft / 3, soft)
