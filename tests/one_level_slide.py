"""A drawn slide of the kind that scanners' samples are: one level, tissue in the middle of glass."""

import cv2
import numpy as np
import pyvips

SIZE_PX, MPP = (2220, 2967), 0.499  # as CMU-1-Small-Region


def draw_one_level_slide(path, mpp=MPP):
    """Write it as a tiled TIFF in JPEG, without a resolution if ``mpp`` is None."""
    (width, height), rng = SIZE_PX, np.random.default_rng(0)
    texture = rng.normal((205, 140, 185), 25, (height // 16, width // 16, 3)).clip(0, 255).astype(np.uint8)
    tissue = cv2.ellipse(np.zeros((height, width), np.uint8), (1110, 1483), (900, 1250), 0, 0, 360, 1, -1)
    rgb = cv2.copyTo(cv2.resize(texture, SIZE_PX), tissue, np.full((height, width, 3), 244, np.uint8))
    image = pyvips.Image.new_from_array(rgb).copy(interpretation="srgb")
    if mpp:
        image = image.copy(xres=1000 / mpp, yres=1000 / mpp)
    image.tiffsave(str(path), tile=True, compression="jpeg", Q=90, resunit="cm")
