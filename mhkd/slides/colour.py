"""How strongly and in what colour an image is stained: a few numbers that tell stains and scanners apart."""

from collections.abc import Mapping, Sequence

import numpy as np

STAINED_DENSITY = 0.15  # of the channel that absorbs most; as Macenko et al. 2009 leave out what is paler
LEAST_SHARE = 0.1  # of the pixels: an image with less of it is glass
_DENSITY = -np.log10(np.maximum(np.arange(256), 1) / 255).astype(np.float32)


def colour_of(image: np.ndarray) -> dict[str, float] | None:
    """Measure an image, the names of :data:`mhkd.training_data.COLOUR`.

    Args:
        image: uint8 RGB, shape (h, w, 3).

    Returns:
        Of its stained pixels: "density", the mean of the optical density over pixels and channels;
        "contrast", its standard deviation over pixels; "red", "green" and "blue", the channels' shares of all
        density, which sum to 1. None for an image with hardly any stained pixel.
    """
    density = _DENSITY[image.reshape(-1, 3)]
    stained = density.max(1) > STAINED_DENSITY
    if not stained.any() or stained.mean() < LEAST_SHARE:
        return None
    density = density[stained].astype(np.float64)
    channels, of_pixels = density.mean(0), density.mean(1)
    red, green, blue = (channels / channels.sum()).tolist()
    return {
        "density": float(of_pixels.mean()),
        "contrast": float(of_pixels.std()),
        "red": red,
        "green": green,
        "blue": blue,
    }


def evenly_spaced(count: int, most: int) -> list[int]:
    """At most so many of the numbers below ``count``, the first and the last among them: what is measured."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def median_colour(colours: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Each measure's median over images, at least one."""
    return {name: float(np.median([c[name] for c in colours])) for name in colours[0]}
