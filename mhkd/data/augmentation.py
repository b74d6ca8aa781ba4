"""What is varied in training beside crop and flips: scale, quarter turns, stain, colour, sharpness.

One draw makes both views: an LR image that is made from HR is made from the changed HR. A real LR image
(``lr_file_name``) is turned and recoloured like its HR image, and neither is scaled, so that its pixels
stay those of its scanner.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from fvcore.transforms.transform import Transform

from ..errors import InputError
from .scanner import degrade

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue


@dataclass(frozen=True)
class Augmentation:
    """INPUT.AUG. With these defaults nothing is varied and nothing is drawn.

    Args:
        scale: least and greatest enlargement, drawn evenly.
        quarter_turns: with the flips, all eight positions of a square.
        stain: least and greatest factor of the optical density -log(I / 255), as of a pale or a dark stain.
        channel: each channel's optical density varies on its own by up to this share.
        saturation: least and greatest distance from grey, as a factor.
        brightness: grey levels of 255 that are added or taken away at most.
        blur_px: greatest standard deviation of a Gaussian blur, HR pixels.
        jpeg_quality: least quality of a JPEG, 1 to 100; 0: no JPEG.
        contrast: least and greatest factor of the distance from mid-grey, 127.5.
        hue: degrees by which colours are turned at most, about the axis of greys in RGB.

    Raises:
        InputError: a value out of its range.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    quarter_turns: bool = False
    stain: tuple[float, float] = (1.0, 1.0)
    channel: float = 0.0
    saturation: tuple[float, float] = (1.0, 1.0)
    brightness: float = 0.0
    blur_px: float = 0.0
    jpeg_quality: int = 0
    contrast: tuple[float, float] = (1.0, 1.0)
    hue: float = 0.0

    def __post_init__(self) -> None:
        for key, least in (("scale", 0.1), ("stain", 0), ("saturation", 0), ("contrast", 0)):
            value = getattr(self, key)
            if len(value) != 2 or not least <= value[0] <= value[1] <= 10:
                what = f"two numbers from {least} to 10, the lesser first"
                raise InputError(f"INPUT.AUG.{key.upper()} {list(value)}: must be {what}")
        for key, most in (
            ("channel", 1), ("brightness", 255), ("hue", 180), ("blur_px", 100), ("jpeg_quality", 100),
        ):  # fmt: skip
            value = getattr(self, key)
            if not 0 <= value <= most:
                raise InputError(f"INPUT.AUG.{key.upper()} {value}: must lie between 0 and {most}")

    def draw_scale(self) -> float:
        """From numpy's global state, as all draws here."""
        return 1.0 if self.scale == (1.0, 1.0) else np.random.uniform(*self.scale)

    def draw_turn(self) -> bool:
        """Whether rows and columns change places."""
        return bool(self.quarter_turns and np.random.rand() < 0.5)

    def draw_colour(self) -> "Colour":
        """One change of colour, for both views."""
        gain = np.random.uniform(*self.stain) * np.ones(3)
        if self.channel:
            gain *= 1 + np.random.uniform(-self.channel, self.channel, 3)
        shift = np.random.uniform(-self.brightness, self.brightness)
        saturation = np.random.uniform(*self.saturation)
        # Drawn where it is varied only: without, the draws are those of trainings from before.
        contrast = np.random.uniform(*self.contrast) if self.contrast != (1, 1) else 1.0
        hue = np.random.uniform(-self.hue, self.hue) if self.hue else 0.0
        return Colour((gain[0], gain[1], gain[2]), saturation, shift, contrast, hue)

    @property
    def varies_colour(self) -> bool:
        """Whether :meth:`draw_colour` can change anything."""
        factors = (self.stain, self.saturation, self.contrast)
        return bool(any(f != (1, 1) for f in factors) or self.channel or self.brightness or self.hue)

    def soften(self, image: np.ndarray) -> np.ndarray:
        """HR pixels (H, W, 3), uint8 RGB, out of focus and compressed by chance."""
        if not (self.blur_px or self.jpeg_quality):
            return image
        blur_px = np.random.uniform(0, self.blur_px)
        quality = np.random.randint(self.jpeg_quality, 101) if self.jpeg_quality else 0
        return degrade(image, blur_px, 0.0, quality, np.random)


@dataclass(frozen=True)
class Colour:
    """A change of colour, pixel by pixel.

    Args:
        gain: factor of each channel's optical density.
        saturation: factor of the distance from grey.
        shift: grey levels added.
        contrast: factor of the distance from mid-grey.
        hue: degrees by which colours are turned about the axis of greys; 120 makes red green.
    """

    gain: tuple[float, float, float]
    saturation: float
    shift: float
    contrast: float = 1.0
    hue: float = 0.0

    def apply(self, image: np.ndarray) -> np.ndarray:
        """uint8 RGB, (H, W, 3) to the same."""
        light = np.arange(256)[:, None] / 255  # transmitted; optical density is its -log
        table = 255 * light ** np.array(self.gain) + self.shift
        if self.contrast != 1:
            table = 127.5 + self.contrast * (table - 127.5)
        table = table.round().clip(0, 255).astype(np.uint8).reshape(256, 1, 3)
        image = cv2.LUT(np.ascontiguousarray(image), table)
        if self.saturation == 1 and self.hue == 0:
            return image
        mix = self.saturation * np.eye(3) + (1 - self.saturation) * np.array([LUMA] * 3)
        if self.hue:
            mix = mix @ _turn(self.hue)
        return cv2.transform(image, mix)


def _turn(degrees: float) -> np.ndarray:
    """Rotation of RGB about the axis of greys (Rodrigues' formula)."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    return cos * np.eye(3) + sin * cross + (1 - cos) / 3 * np.ones((3, 3))


class TransposeTransform(Transform):
    """Rows become columns. With flips along either axis it makes all quarter turns."""

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        return img.swapaxes(0, 1)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords[:, ::-1]

    def inverse(self) -> Transform:
        return self
