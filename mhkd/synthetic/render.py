"""One synthetic slide as pixels and outlines: the tubules between the items, then everything
together."""

import cv2
import numpy as np
from shapely.geometry import Polygon

from ..errors import InputError
from .items import draw_item
from .layout import CLASSES, MIN_SIZE_UM, Item, place_items, tissue_field
from .stain import BAND_ROWS, CONC_SCALE, Look, develop, random_look
from .texture import (
    NoiseBank,
    jittered_points,
    label_edges_distance,
    nucleus_stamps,
    ramp,
    smooth_field,
    stamp_max,
)

TUBULE_PITCH_UM = 52.0


def _tubule_map(
    rng: np.random.Generator, size_px: int, px_per_um: float, items: list[Item]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]:
    """Cells around curved centre lines: what a section through packed tubes looks like.

    Returns:
        labels (int32), edge (distance to the cell's border) and axis (distance to its centre line),
        both float32 in um, each (size_px, size_px); and the labels that belong to items.
    """
    s = px_per_um
    seeds = np.full((size_px, size_px), 255, np.uint8)
    starts = jittered_points(rng, size_px, size_px, TUBULE_PITCH_UM * s)[:, ::-1].astype(np.float32)
    flow = smooth_field(rng, 64, 4) * 1.2 + rng.uniform(0, np.pi)
    cell = np.minimum((starts * (64 / size_px)).astype(int), 63)
    angle = flow[cell[:, 1], cell[:, 0]] + rng.normal(0, 0.5, len(starts))
    length = np.where(rng.random(len(starts)) < 0.45, 6, rng.uniform(15, 85, len(starts))) * s
    bend = rng.normal(0, 0.5, len(starts))
    t = np.linspace(-0.5, 0.5, 5)[None]
    heading = angle[:, None] + bend[:, None] * t * 2
    step = np.stack([np.cos(heading), np.sin(heading)], -1) * (length[:, None, None] / 4)
    lines = starts[:, None] + np.cumsum(step, axis=1) - step.sum(axis=1, keepdims=True) / 2
    cv2.polylines(seeds, list(lines.round().astype(np.int32)), False, 0, 1)
    for item in items:  # an item is one cell of its own; the tubules make way
        outline = item.outline.round().astype(np.int32)
        cv2.polylines(seeds, [outline], True, 255, int(24 * s))
        cv2.fillPoly(seeds, [outline], 255)
        core = (item.outline - item.center_px) * 0.8 + item.center_px
        cv2.fillPoly(seeds, [core.round().astype(np.int32)], 0)
    axis, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP)
    edge = label_edges_distance(labels)
    axis /= np.float32(s)
    edge /= np.float32(s)
    own = {int(labels[int(i.center_px[1]), int(i.center_px[0])]) for i in items}
    return labels, edge, axis, sorted(own)


def _tubule_types(
    rng: np.random.Generator, num_labels: int, look: Look, item_labels: list[int]
) -> list[np.ndarray]:
    """Per label (last one for items): gap to the border, lumen's share, counterstain, membrane,
    density of nuclei."""
    up = look.uptake
    kind = rng.choice(4, num_labels, p=[0.62, 0.22, 0.10, 0.06])
    kind[item_labels] = 4
    # proximal, distal, atrophic, dilated, item (nothing but interstitium)
    gap = np.array([1.6, 1.9, 4.5, 1.8, 1e4])[kind] * rng.uniform(0.7, 1.4, num_labels)
    lumen = np.array([0.16, 0.42, 0.28, 0.66, 0.0])[kind] + rng.uniform(-0.12, 0.14, num_labels)
    names = ("proximal", "distal", "distal", "distal", "interstitium")
    dye = np.array([up[n] for n in names])[kind] * rng.uniform(0.82, 1.15, num_labels)
    membrane = np.array([0.8, 0.8, 1.4, 0.8, 0.0])[kind] * up["membrane"]
    nuclei = np.array([0.26, 0.42, 0.55, 0.40, 0.0])[kind]
    return [v.astype(np.float32) for v in (gap, lumen, dye, membrane, nuclei)]


def _parenchyma(
    rng: np.random.Generator, size_px: int, px_per_um: float, look: Look, items: list[Item], noise: NoiseBank
) -> np.ndarray:
    """(size, size, 3) uint8 concentrations of tubules and interstitium."""
    s = px_per_um
    labels, edge, axis, own = _tubule_map(rng, size_px, s, items)
    gap, lumen, dye, membrane, density = _tubule_types(rng, int(labels.max()) + 1, look, own)
    fibrosis = smooth_field(rng, size_px, max(3, int(size_px / s / 600))) * 0.16
    inflamed = 0.10 + 0.10 * np.clip(smooth_field(rng, 256, 6), -0.5, 2.5)

    points = jittered_points(rng, size_px, size_px, 8.0 * s)
    py, px = points[:, 0], points[:, 1]
    label, e, a = labels[py, px], edge[py, px], axis[py, px]
    depth = (e - gap[label]) / (e + a + 1e-3)
    basal = (depth > 0.10) & (depth < np.minimum(0.62, 0.92 - lumen[label]))
    in_gap = e < gap[label]
    chance = basal * density[label]
    chance += in_gap * inflamed[py * 256 // size_px, px * 256 // size_px]
    keep = rng.random(len(points)) < chance
    nuclei = np.zeros((size_px, size_px), np.float32)
    stamp_max(nuclei, points[keep & ~in_gap], nucleus_stamps(rng, 6.5, 6.0, s), rng)
    stamp_max(nuclei, points[keep & in_gap], nucleus_stamps(rng, 8.0, 4.0, s), rng)

    conc = np.empty((size_px, size_px, 3), np.uint8)
    for y in range(0, size_px, BAND_ROWS):  # bands keep the memory low
        band = slice(y, min(y + BAND_ROWS, size_px))
        shape = labels[band].shape
        fine = noise.crop("fine", y, 0, *shape)
        mid = noise.crop("mid", y, 300, *shape)
        fibre = noise.crop("wavy", y, 0, *shape)
        lab = labels[band]
        wall = edge[band] - gap[lab] + 0.7 * mid - np.maximum(fibrosis[band], 0) * 12
        part = edge[band] / (edge[band] + axis[band] + np.float32(1e-3)) + 0.06 * mid
        body = ramp(wall, 1.5)
        hollow = body * ramp(part - (1 - lumen[lab]) + 0.03 * fine, 0.12)
        counter = (body - hollow) * dye[lab] * (1 + 0.22 * fine)
        counter += hollow * 0.03
        loose = look.uptake["interstitium"] * (0.85 + 0.26 * fibre + 0.22 * mid)
        counter += (1 - body) * np.maximum(loose, 0)
        counter += membrane[lab] * np.exp(-((wall * np.float32(1 / 1.5)) ** 2))
        haem = (1 - hollow) * (0.10 + 0.02 * fine) + np.float32(1.2) * nuclei[band]
        conc[band, :, 0] = np.clip(haem * CONC_SCALE, 0, 255)
        conc[band, :, 1] = np.clip(counter * CONC_SCALE, 0, 255)
        # Small vessels of the interstitium, full of red cells.
        blood = (1 - body) * ((mid > 1.6) & (lab % 3 == 0))
        conc[band, :, 2] = blood * np.float32(0.7 * CONC_SCALE)
    return conc


def _blend(conc: np.ndarray, corner: tuple[int, int], patch: np.ndarray, alpha: np.ndarray) -> None:
    """Lay a patch over ``conc`` (in place) with its upper left corner at (x, y)."""
    x, y = corner
    size = conc.shape[0]
    cut = np.s_[max(0, -y) : size - y, max(0, -x) : size - x]
    patch, alpha = patch[cut], alpha[cut][..., None]
    window = conc[max(0, y) : y + len(patch) + max(0, -y), max(0, x) :][:, : patch.shape[1]]
    window[:] = np.clip(patch * CONC_SCALE, 0, 255) * alpha + window * (1 - alpha)


def render_slide(
    seed: int | tuple[int, ...],
    size_px: int = 4096,
    mpp: float = 1.0,
    *,
    num_glomeruli: int | tuple[int, int] = (25, 50),
    stain: str | None = None,
) -> tuple[np.ndarray, list[tuple[Polygon, str]]]:
    """Draw one slide. The same arguments give the same pixels and outlines.

    Args:
        seed: of everything on the slide: tissue, patient, stain and scanner.
        size_px: side of the square slide in base pixels.
        mpp: micrometres per base pixel (up to 2: above, the fine detail would not be there).
        num_glomeruli: how many, or an inclusive range to draw from.
        stain: "HE", "PAS" or None for one by chance.

    Returns:
        rgb: (size_px, size_px, 3) uint8.
        glomeruli: (outline in base pixels, class name in ``CLASSES``), one each.

    Raises:
        InputError: a parameter out of range, or no room for that many glomeruli.
    """
    if not 0.1 <= mpp <= 2:
        raise InputError(f"mpp is {mpp}: choose the base level's resolution between 0.1 and 2")
    if size_px * mpp < MIN_SIZE_UM:
        raise InputError(
            f"a slide of {size_px} px at {mpp} mpp is only {size_px * mpp:.0f} um wide: "
            f"raise size_px to at least {int(np.ceil(MIN_SIZE_UM / mpp))}"
        )
    if stain not in (None, "HE", "PAS"):
        raise InputError(f'stain is {stain!r}: choose "HE", "PAS" or None')
    low, high = (num_glomeruli,) * 2 if isinstance(num_glomeruli, int) else num_glomeruli
    if not 0 <= low <= high:
        raise InputError(f"num_glomeruli is {num_glomeruli}: give a count or (fewest, most)")
    rng = np.random.default_rng(seed)
    s = 1.0 / mpp
    look = random_look(rng, s, stain)
    noise = NoiseBank(rng, s)
    field = tissue_field(rng, size_px * mpp)
    items = place_items(rng, field, size_px, mpp, int(rng.integers(low, high + 1)))

    conc = _parenchyma(rng, size_px, s, look, items, noise)
    for item in items:
        _blend(conc, *draw_item(rng, item, noise, look, s))
    thickness: np.ndarray = 1 + 0.07 * smooth_field(rng, 128, 5)
    whole = (size_px, size_px)
    thickness = cv2.resize(thickness, whole, interpolation=cv2.INTER_LINEAR)
    edge_um = cv2.resize(field, whole, interpolation=cv2.INTER_LINEAR)
    for y in range(0, size_px, BAND_ROWS):
        band = slice(y, min(y + BAND_ROWS, size_px))
        rough = edge_um[band] + 2.5 * noise.crop("mid", y, 0, *edge_um[band].shape)
        conc[band] = conc[band] * (ramp(rough, 3.0) * thickness[band])[..., None]
    rgb = develop(conc, look, rng)
    return rgb, [(Polygon(i.outline.astype(float)), i.kind) for i in items if i.kind in CLASSES]
