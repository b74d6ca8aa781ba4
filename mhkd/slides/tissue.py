"""Where on a slide there is tissue, seen at low resolution.

Tissue is what differs from the slide's own glass: in colour, or in darkness where there is none (grey scans,
silver). Pen and the black around a scan differ from glass too, and are told from tissue by what stains do
not do: ink absorbs where no stain of such strength does, or all light.
"""

import math

import cv2
import numpy as np
from skimage.filters import threshold_otsu

from .slide import Slide

MAX_MASK_PX = 2**21  # memory stays below about 50 MB; 15 um per pixel for a slide of 25 x 20 mm

# Otsu splits whatever it gets, also a slide that is all tissue or all glass, or pale tissue from dark: glass
# stays below the first, stained tissue above the second. Optical density beyond the glass: the difference
# between channels, and their mean.
COLOUR_LIMITS = (0.012, 0.02)
DARKNESS_LIMITS = (0.02, 0.045)
# Ink, per pixel: total optical density, and shares of it (see _is_ink). A piece of it is at least so long.
INK_DENSITY, BLACK_DENSITY = 0.6, 0.95
MIN_INK_UM = 200.0
INK_RIM_UM = 50.0  # where ink and glass share pixels, or JPEG blocks
# Glass: bright and hardly coloured. White that no scanner gives is beside what was scanned.
GLASS_MIN, GLASS_SATURATION, WHITE = 190, 0.08, 254

LITTLE_TISSUE = 0.002  # share of the slide: a biopsy has 1 % of a large one

_PER_DENSITY = 10_000  # optical density as whole numbers: 2 bytes
_BAND_PX = 2**17  # pixels that are looked at together: memory


def tissue_mask(slide: Slide, mpp: float, min_area_um2: float = 0.0, max_hole_um2: float = 0.0) -> np.ndarray:
    """Tissue of a slide.

    Args:
        slide: slide.
        mpp: resolution of the mask, micrometres per pixel.
        min_area_um2: connected pieces smaller than this are dust, not tissue.
        max_hole_um2: holes smaller than this (lumina, cracks) count as tissue.

    Returns:
        bool, shape (h, w): the whole slide from its top left corner, part pixels included.
    """
    width, height = (
        int(np.ceil(n * m / mpp - 1e-6)) for n, m in zip(slide.size_px, slide.mpp_xy, strict=True)
    )
    image = slide.read_region(0, 0, width, height, mpp, from_base=False)
    image = cv2.GaussianBlur(image, (3, 3), 0)
    colour, darkness, ink = _features(image, _glass_colour(image))
    del image
    ink = _ink(ink, mpp)
    mask = np.zeros(ink.shape, bool)
    for values, limits in ((colour, COLOUR_LIMITS), (darkness, DARKNESS_LIMITS)):
        low, high = (round(v * _PER_DENSITY) for v in limits)
        seen = values[~ink]
        threshold = np.clip(threshold_otsu(np.minimum(seen, 2 * high)) if seen.size else low, low, high)
        mask |= _without_rim(values > threshold, values)
    mask = _without_small(mask & ~ink, min_area_um2 / mpp**2)
    return ~_without_small(~mask, max_hole_um2 / mpp**2)


def little_tissue(mask: np.ndarray, mpp: float) -> str | None:
    """What is to be said of a slide with hardly any tissue, lest it pass unnoticed.

    Args:
        mask: from :func:`tissue_mask`.
        mpp: its resolution.

    Returns:
        None where there is enough.
    """
    share = mask.mean()
    if share >= LITTLE_TISSUE:
        return None
    found = "no tissue"
    if share:
        found = f"only {mask.sum() * mpp**2:.0f} um² of tissue, {100 * share:.1g} % of the slide,"
    return f"{found} was found; if there is more, --glass-too takes the whole slide"


def mask_mpp(slide: Slide, wanted_mpp: float) -> float:
    """The resolution of a mask that takes at most MAX_MASK_PX pixels.

    Args:
        slide: slide.
        wanted_mpp: micrometres per pixel.

    Returns:
        ``wanted_mpp``, or coarser on a large slide.
    """
    area_um2 = math.prod(n * m for n, m in zip(slide.size_px, slide.mpp_xy, strict=True))
    return max(wanted_mpp, math.sqrt(area_um2 / MAX_MASK_PX))


def _glass_colour(image: np.ndarray) -> np.ndarray:
    """Median colour of the brightest tenth of what may be glass; white where nothing may be."""
    pixels = image.reshape(-1, 3)
    pixels = pixels[:: max(1, len(pixels) // 2**17)]
    darkest, brightest = pixels.min(1), pixels.max(1).astype(int)
    neutral = (brightest - darkest <= GLASS_SATURATION * brightest) & (darkest >= GLASS_MIN)
    glass = pixels[neutral & (darkest < WHITE)]
    if len(glass) < 0.01 * len(pixels):
        return np.full(3, 255.0)
    sums = glass.sum(1, dtype=int)
    return np.median(glass[sums >= np.percentile(sums, 90)], 0)


def _features(image: np.ndarray, glass: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every pixel, in _PER_DENSITY: how its channels differ in optical density, their mean density; and
    whether it may be ink: 1 may, 2 is as dense as ink is."""
    levels = np.maximum(np.arange(256), 1)[:, None]
    density = np.maximum(np.log10(glass[None] / levels), 0)
    density = np.round(density * _PER_DENSITY).astype(np.int16)
    height, width = image.shape[:2]
    colour, darkness = np.empty((2, height, width), np.int16)
    ink = np.empty((height, width), np.uint8)
    step = max(1, _BAND_PX // width)
    for top in range(0, height, step):
        band = image[top : top + step]
        red, green, blue = (density[:, k][band[..., k]] for k in range(3))
        rows = slice(top, top + step)
        colour[rows] = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
        darkness[rows] = (red.astype(np.int32) + green + blue) // 3
        ink[rows] = _is_ink(*(c.astype(np.float32) / _PER_DENSITY for c in (red, green, blue)))
    return colour, darkness, ink


def _is_ink(red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> np.ndarray:
    """From optical densities; 1: as ink absorbs, 2: and as strongly."""
    total = np.sqrt(red**2 + green**2 + blue**2)
    # Stains absorb green most, or nearly so, and haematoxylin some blue: blue and green ink do not.
    cold = (red > 1.1 * green) | ((red > 0.9 * green) & (blue < 0.2 * total))
    # Eosin and fuchsin leave blue; red ink leaves nothing but red.
    red_ink = (red < 0.2 * total) & (blue > 0.7 * green) & (green > 0.7 * blue)
    coloured = (cold | red_ink) & (total > 0.1)
    lightest = np.minimum(np.minimum(red, green), blue)
    black = (total > BLACK_DENSITY) & (lightest > 0.8 * np.maximum(np.maximum(red, green), blue))
    dense = (coloured & (total > INK_DENSITY)) | black
    return (coloured | black).astype(np.uint8) + dense


def _ink(ink: np.ndarray, mpp: float) -> np.ndarray:
    """Pieces that are long enough, with a rim."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((ink > 0).astype(np.uint8), connectivity=8)
    length_um = mpp * np.hypot(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    dense = np.bincount(labels[ink > 1], minlength=len(stats))
    kept = (length_um >= MIN_INK_UM) & (dense >= 0.25 * stats[:, cv2.CC_STAT_AREA])
    kept[0] = False
    found = kept[labels].astype(np.uint8)
    rim = max(1, math.ceil(INK_RIM_UM / mpp))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1, 2 * rim + 1))
    return cv2.dilate(found, kernel).astype(bool)


def _without_rim(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Less pixels at the edge that are half glass: they have less than two thirds of what is beside them."""
    kernel = np.ones((3, 3), np.uint8)
    at_edge = mask & (cv2.erode(mask.astype(np.uint8), kernel) == 0)
    return mask & ~(at_edge & (values < cv2.dilate(values, kernel) // 3 * 2))


def _without_small(mask: np.ndarray, min_px: float) -> np.ndarray:
    """Less its connected pieces (8 neighbours) of fewer than min_px pixels."""
    if min_px <= 1:
        return mask
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= min_px
    keep[0] = False  # the background
    return keep[labels]
