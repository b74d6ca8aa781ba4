"""Where on a slide there is tissue, seen at low resolution."""

import cv2
import numpy as np
from skimage.filters import threshold_otsu

# Otsu splits whatever it gets, also a slide that is all tissue or all glass: glass stays below the
# first saturation (of 255), stained tissue above the second.
SATURATION_LIMITS = (12, 40)


def tissue_mask(slide, mpp):
    """Saturated pixels of a slide.

    Args:
        slide (mhkd.wsi.slide.Slide): slide.
        mpp (float): resolution of the mask, micrometres per pixel.

    Returns:
        ndarray: bool, shape (h, w): the whole slide from its top left corner, part pixels included.
    """
    size_px = [
        int(np.ceil(n * m / mpp - 1e-6)) for n, m in zip(slide.size_px, slide.mpp_xy, strict=True)
    ]
    image = slide.read_region(0, 0, *size_px, mpp, from_base=False)
    saturation = cv2.cvtColor(cv2.GaussianBlur(image, (3, 3), 0), cv2.COLOR_RGB2HSV)[..., 1]
    threshold = np.clip(threshold_otsu(saturation), *SATURATION_LIMITS)
    return saturation > threshold
