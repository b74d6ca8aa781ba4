"""What two scanners see alike: where the colour changes, whatever the colours are."""

import cv2
import numpy as np

_BLUR_PX = 1.0  # below it is noise, and JPEG


def structure(image: np.ndarray) -> np.ndarray:
    """How strongly optical density changes, in whichever channel and direction; its root, to tame edges.

    Args:
        image: uint8 RGB, shape (h, w, 3).

    Returns:
        float32, shape (h, w).
    """
    density = -np.log10((image.astype(np.float32) + 1) / 256)
    density = cv2.GaussianBlur(density, (0, 0), _BLUR_PX)
    dx, dy = (cv2.Sobel(density, cv2.CV_32F, *order, ksize=3) for order in ((1, 0), (0, 1)))
    return np.sqrt(np.sqrt((dx**2 + dy**2).sum(2)))


def as_picture(values: np.ndarray) -> np.ndarray:
    """Values stretched to uint8, the darkest and brightest hundredth cut."""
    low, high = np.percentile(values, (1, 99))
    return np.clip((values - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
