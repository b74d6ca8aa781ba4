"""Colour in numbers, by hand: a level of 51 is a fifth of the light, an optical density of log10(5)."""

from mhkd.slides.colour import colour_of, median_colour

import numpy as np
import pytest

FIFTH = np.log10(5)


def picture(*pixels):
    return np.array([pixels], np.uint8)


def test_only_stained_pixels_count():
    found = colour_of(picture((51, 51, 255), (255, 255, 255), (240, 238, 242)))
    assert found == pytest.approx(
        {"density": 2 / 3 * FIFTH, "contrast": 0, "red": 0.5, "green": 0.5, "blue": 0}, abs=1e-6
    )


def test_contrast_is_of_pixels_and_shares_are_of_all_density():
    found = colour_of(picture((51, 51, 51), (51, 255, 255)))
    assert found == pytest.approx(
        {"density": 2 / 3 * FIFTH, "contrast": FIFTH / 3, "red": 0.5, "green": 0.25, "blue": 0.25}, abs=1e-6
    )


def test_glass_has_no_colour():
    assert colour_of(np.full((8, 8, 3), 243, np.uint8)) is None
    one_of_16 = np.full((4, 4, 3), 243, np.uint8)
    one_of_16[0, 0] = 0
    assert colour_of(one_of_16) is None


def test_the_median_is_of_each_measure():
    images = [{"red": 0.1, "blue": 0.9}, {"red": 0.3, "blue": 0.2}, {"red": 0.2, "blue": 0.3}]
    assert median_colour(images) == {"red": 0.2, "blue": 0.3}
