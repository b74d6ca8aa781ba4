"""Mean and deviation of a training set's pixels, by which its networks standardise what they see."""

from typing import Any

import numpy as np
from tqdm import tqdm

from ..slides.views import read_view
from .semi_supervised import Entries

LEVELS = np.arange(256)


def pixel_statistics(
    entries: Entries, lr_factor: int = 1, image_format: str = "RGB"
) -> tuple[list[float], list[float]]:
    """Of the HR images as they are trained on, all pixels counted alike, one image in memory at a time.

    Args:
        entries: dataset dicts, at least one.
        lr_factor: images are cropped to a multiple of it, as in :func:`mhkd.slides.views.read_view`.
        image_format: "RGB" or "BGR", the order of the channels.

    Returns:
        Mean and standard deviation of each channel, grey levels of 255; exact, since levels are counted.

    Raises:
        InputError: an image cannot be read.
    """
    counts = np.zeros((3, 256), np.int64)
    for k in tqdm(range(len(entries)), "mean of the pixels", unit="image", leave=False):
        entry: dict[str, Any] = entries[k]
        pixels = read_view(entry, "hr", lr_factor)
        counts += [np.bincount(pixels[..., c].ravel(), minlength=256) for c in range(3)]
    shares = counts / counts.sum(1, keepdims=True)
    mean = shares @ LEVELS
    deviation = np.sqrt(((LEVELS - mean[:, None]) ** 2 * shares).sum(1))
    order = 1 if image_format == "RGB" else -1
    return mean.tolist()[::order], deviation.tolist()[::order]
