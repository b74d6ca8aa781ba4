"""Where on a slide there is tissue, seen at low resolution."""

import math

import cv2
import numpy as np
from skimage.filters import threshold_otsu

# Otsu splits whatever it gets, also a slide that is all tissue or all glass: glass stays below the
# first saturation (of 255), stained tissue above the second.
SATURATION_LIMITS = (12, 40)
MAX_MASK_PX = 2**21  # memory stays below about 50 MB; 15 um per pixel for a slide of 25 x 20 mm


def tissue_mask(slide, mpp, min_area_um2=0.0, max_hole_um2=0.0):
    """Saturated pixels of a slide.

    Args:
        slide (mhkd.wsi.slide.Slide): slide.
        mpp (float): resolution of the mask, micrometres per pixel.
        min_area_um2 (float): connected pieces smaller than this are dust, not tissue.
        max_hole_um2 (float): holes smaller than this (lumina, cracks) count as tissue.

    Returns:
        ndarray: bool, shape (h, w): the whole slide from its top left corner, part pixels included.
    """
    size_px = [
        int(np.ceil(n * m / mpp - 1e-6)) for n, m in zip(slide.size_px, slide.mpp_xy, strict=True)
    ]
    image = slide.read_region(0, 0, *size_px, mpp, from_base=False)
    saturation = cv2.cvtColor(cv2.GaussianBlur(image, (3, 3), 0), cv2.COLOR_RGB2HSV)[..., 1]
    threshold = np.clip(threshold_otsu(saturation), *SATURATION_LIMITS)
    mask = _without_small(saturation > threshold, min_area_um2 / mpp**2)
    return ~_without_small(~mask, max_hole_um2 / mpp**2)


def mask_mpp(slide, wanted_mpp):
    """The resolution of a mask that takes at most MAX_MASK_PX pixels.

    Args:
        slide (mhkd.wsi.slide.Slide): slide.
        wanted_mpp (float): micrometres per pixel.

    Returns:
        float: ``wanted_mpp``, or coarser on a large slide.
    """
    area_um2 = math.prod(n * m for n, m in zip(slide.size_px, slide.mpp_xy, strict=True))
    return max(wanted_mpp, math.sqrt(area_um2 / MAX_MASK_PX))


def _without_small(mask, min_px):
    """Less its connected pieces (8 neighbours) of fewer than min_px pixels."""
    if min_px <= 1:
        return mask
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= min_px
    keep[0] = False  # the background
    return keep[labels]
