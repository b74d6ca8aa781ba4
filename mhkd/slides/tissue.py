"""Where on a slide there is tissue, seen at low resolution.

Tissue is what differs from the slide's own glass: in colour, or in darkness where there is none (grey scans,
silver). Pen and the black around a scan differ from glass too, and are told from tissue by what stains do
not do: ink absorbs where no stain of such strength does, or all light.
"""

import math

import numpy as np

from ..pieces import connected_components, pieces_of_runs, runs_of_mask
from .slide import Slide

MAX_MASK_PX = 2**21  # memory stays below about 80 MB; 15 um per pixel for a slide of 25 x 20 mm

# Otsu splits whatever it gets, also a slide that is all tissue or all glass, or pale tissue from dark: glass
# stays below the first, stained tissue above the second. Optical density beyond the glass: the difference
# between channels, and their mean.
COLOUR_LIMITS = (0.012, 0.02)
DARKNESS_LIMITS = (0.02, 0.045)
# Ink, per pixel: total optical density, and shares of it (see _is_ink). A piece of it is at least so long.
INK_DENSITY, BLACK_DENSITY = 0.6, 0.95
BLACK_LEVEL = 72  # of the brightest channel
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
    image = _overview(slide, mpp)
    colour, darkness, ink = _features(image, _glass_colour(image))
    del image
    ink = _ink(ink, mpp)
    mask = np.zeros(ink.shape, bool)
    for values, limits in ((colour, COLOUR_LIMITS), (darkness, DARKNESS_LIMITS)):
        low, high = (round(v * _PER_DENSITY) for v in limits)
        seen = values[~ink]
        threshold = np.clip(_otsu(np.minimum(seen, 2 * high)) if seen.size else low, low, high)
        mask |= _without_rim(values > threshold, values)
    mask = _without_small(mask & ~ink, min_area_um2 / mpp**2)
    return ~_without_small(~mask, max_hole_um2 / mpp**2)


def pen_and_black(slide: Slide, mpp: float) -> tuple[np.ndarray, np.ndarray]:
    """What :func:`tissue_mask` takes for ink: coloured, and black as beside what was scanned.

    Args:
        slide: slide.
        mpp: resolution of the masks, micrometres per pixel.

    Returns:
        Two masks, bool of shape (h, w), with no pixel in both.
    """
    image = _overview(slide, mpp)
    ink = _ink(_features(image, _glass_colour(image))[2], mpp)
    rims_px = 2 * math.ceil(INK_RIM_UM / mpp)  # of black there is no coloured rim
    black = ink & _with_rim(ink & (image.max(2) < BLACK_LEVEL), rims_px)
    return ink & ~black, black


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


def tissue_boxes(mask: np.ndarray) -> np.ndarray:
    """Boxes around the connected pieces of tissue, those that overlap as one.

    Args:
        mask: from :func:`tissue_mask`.

    Returns:
        int64, shape (n, 4): x0, y0, x1, y1 in pixels of the mask, the last two exclusive; from top to bottom.
    """
    line, begin, end = runs_of_mask(mask)
    n, piece = pieces_of_runs(line, begin, end)
    boxes = np.concatenate(_bounds(line, begin, end, n, piece)).T
    while True:
        x0, y0, x1, y1 = boxes.T
        overlap = (x0[:, None] < x1) & (x0 < x1[:, None]) & (y0[:, None] < y1) & (y0 < y1[:, None])
        i, j = np.nonzero(np.triu(overlap, 1))
        if not len(i):
            return boxes[np.lexsort((boxes[:, 0], boxes[:, 1]))]
        n, group = connected_components(len(boxes), i, j)
        least, most = np.full((n, 2), np.iinfo(np.int64).max), np.zeros((n, 2), np.int64)
        np.minimum.at(least, group, boxes[:, :2])
        np.maximum.at(most, group, boxes[:, 2:])
        boxes = np.concatenate([least, most], axis=1)


def _bounds(
    line: np.ndarray, begin: np.ndarray, end: np.ndarray, n: int, piece: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """First x and y of ``n`` pieces of runs, and those after the last, each of shape (2, n)."""
    least, most = np.full((2, n), np.iinfo(np.int64).max), np.zeros((2, n), np.int64)
    for k, (first, last) in enumerate(((begin, end), (line, line + 1))):
        np.minimum.at(least[k], piece, first)
        np.maximum.at(most[k], piece, last)
    return least, most


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


def _overview(slide: Slide, mpp: float) -> np.ndarray:
    """The whole slide, part pixels included; smoothed."""
    width, height = (
        int(np.ceil(n * m / mpp - 1e-6)) for n, m in zip(slide.size_px, slide.mpp_xy, strict=True)
    )
    return _smoothed(slide.read_region(0, 0, width, height, mpp, from_base=False))


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
    may_be = ink > 0
    line, begin, end = runs_of_mask(may_be)
    n, piece = pieces_of_runs(line, begin, end)
    if not n:
        return may_be
    least, most = _bounds(line, begin, end, n, piece)
    length_um = mpp * np.hypot(*(most - least))
    of_pixel = np.repeat(piece, end - begin)
    dense = np.bincount(of_pixel[ink[may_be] > 1], minlength=n)
    kept = (length_um >= MIN_INK_UM) & (dense >= 0.25 * np.bincount(of_pixel))
    found = np.zeros_like(may_be)
    found[may_be] = kept[of_pixel]
    return _with_rim(found, max(1, math.ceil(INK_RIM_UM / mpp))) if kept.any() else found


def _with_rim(mask: np.ndarray, radius_px: int) -> np.ndarray:
    """All that is within a disc around a pixel of the mask."""
    height, width = mask.shape
    before = np.pad(np.cumsum(mask, axis=1, dtype=np.int32), ((0, 0), (1, 0)))
    column, out = np.arange(width), np.zeros_like(mask)
    for dy in range(min(radius_px, height - 1) + 1):
        dx = round(math.sqrt(radius_px**2 - dy**2))
        near = before[:, np.minimum(column + dx + 1, width)] > before[:, np.maximum(column - dx, 0)]
        out[dy:] |= near[: height - dy]
        out[: height - dy] |= near[dy:]
    return out


def _without_rim(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Less pixels at the edge that are half glass: they have less than two thirds of what is beside them."""
    at_edge = mask & ~_of_neighbours(mask, np.minimum)
    return mask & ~(at_edge & (values < _of_neighbours(values, np.maximum) // 3 * 2))


def _of_neighbours(values: np.ndarray, which: np.ufunc) -> np.ndarray:
    """The greatest or least of each pixel and its 8 neighbours."""
    for axis in (0, 1):
        line = np.moveaxis(values, axis, 0)
        values = values.copy()
        out = np.moveaxis(values, axis, 0)
        which(out[1:], line[:-1], out=out[1:])
        which(out[:-1], line[1:], out=out[:-1])
    return values


def _without_small(mask: np.ndarray, min_px: float) -> np.ndarray:
    """Less its connected pieces (8 neighbours) of fewer than min_px pixels."""
    if min_px <= 1:
        return mask
    line, begin, end = runs_of_mask(mask)
    n, piece = pieces_of_runs(line, begin, end)
    of_pixel = np.repeat(piece, end - begin)
    out = np.zeros_like(mask)
    out[mask] = (np.bincount(of_pixel, minlength=n) >= min_px)[of_pixel]
    return out


def _smoothed(image: np.ndarray) -> np.ndarray:
    """Each pixel with its neighbours, weighted 1, 2, 1 along either axis."""
    sums = np.pad(image, ((1, 1), (1, 1), (0, 0)), "reflect").astype(np.uint16)
    for axis in (0, 1):
        line = np.moveaxis(sums, axis, 0)
        weighted = 2 * line[1:-1]
        weighted += line[:-2]
        weighted += line[2:]
        sums = np.moveaxis(weighted, 0, axis)
    sums += 8
    sums >>= 4
    return sums.astype(np.uint8)


def _otsu(values: np.ndarray) -> int:
    """The value up to which one of two classes goes that differ most (Otsu 1979); of whole numbers >= 0."""
    count = np.bincount(values).astype(np.float32)  # as scikit-image, to the bit
    first = int(np.flatnonzero(count)[0])
    count, value = count[first:], np.arange(first, len(count))
    if len(count) == 1:
        return first
    below, above = np.cumsum(count), np.cumsum(count[::-1])[::-1]
    mean_below = np.cumsum(count * value) / below
    mean_above = (np.cumsum((count * value)[::-1]) / above[::-1])[::-1]
    between = below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2
    return int(value[between.argmax()])
