"""The LR image as a cheap scanner gives it: out of focus, noisy and compressed."""

import os
import zlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ..errors import InputError


@dataclass(frozen=True)
class Scanner:
    """INPUT.SCANNER. Images are uint8 RGB of shape (h, w, 3), in LR pixels; with everything 0 they stay
    what they are.

    Args:
        blur_px: standard deviation of a Gaussian blur, LR pixels.
        noise: standard deviation of Gaussian noise, grey levels of 255.
        jpeg_quality: 1 to 100; 0: no JPEG.
        prob: share of the training images that go through the scanner.

    Raises:
        InputError: a value out of its range.
    """

    blur_px: float = 0.0
    noise: float = 0.0
    jpeg_quality: int = 0
    prob: float = 1.0

    def __post_init__(self) -> None:
        for key, value, most in (
            ("BLUR_PX", self.blur_px, float("inf")),
            ("NOISE", self.noise, 255),
            ("JPEG_QUALITY", self.jpeg_quality, 100),
            ("PROB", self.prob, 1),
        ):
            if not 0 <= value <= most:
                raise InputError(f"INPUT.SCANNER.{key} {value}: must lie between 0 and {most}")

    def scan_randomly(self, image: np.ndarray) -> np.ndarray:
        """For training: each strength drawn anew between none and the configured one, from numpy's
        global state."""
        if not (self.blur_px or self.noise or self.jpeg_quality) or np.random.rand() >= self.prob:
            return image
        blur_px, noise = np.random.uniform(0, (self.blur_px, self.noise))
        quality = np.random.randint(self.jpeg_quality, 101) if self.jpeg_quality else 0
        return degrade(image, blur_px, noise, quality, np.random)

    def scan(self, image: np.ndarray, file_name: str) -> np.ndarray:
        """For evaluation: the configured strengths, and for each file name the same noise in any folder."""
        seed = zlib.crc32(os.path.basename(file_name).encode())
        random = np.random.RandomState(seed)
        return degrade(image, self.blur_px, self.noise, self.jpeg_quality, random)


def degrade(image: np.ndarray, blur_px: float, noise: float, jpeg_quality: int, random: Any) -> np.ndarray:
    """What happens to light on its way through optics, sensor and file; for the arguments see
    :class:`Scanner`. ``random`` is a ``RandomState`` or ``np.random``."""
    if blur_px:
        image = cv2.GaussianBlur(np.ascontiguousarray(image), (0, 0), blur_px)
    if noise:
        image = (image + random.normal(0, noise, image.shape)).round().clip(0, 255).astype(np.uint8)
    if jpeg_quality:
        bgr = np.ascontiguousarray(image[:, :, ::-1])
        _, file = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, jpeg_quality))
        decoded = cv2.imdecode(file, cv2.IMREAD_COLOR)
        assert decoded is not None
        image = decoded[:, :, ::-1]
    return image
