from mhkd.slides.block_mean import block_mean

import cv2
import numpy as np
import pytest


@pytest.mark.parametrize("down", [1, 2, 3, 4, 6, 8, 16, 33])
@pytest.mark.parametrize("across", [1, 2, 3, 4, 6, 8, 16, 33])
def test_the_same_to_the_bit_as_what_students_were_trained_on(across, down):
    if across == down == 1:
        return
    rng = np.random.default_rng(across * down)
    image = rng.integers(0, 256, (down * 13, across * 11, 3), np.uint8)
    for pixels in (image, image // 128 * 255, 250 + image % 6):
        found = block_mean(pixels, (11, 13))
        assert (found == cv2.resize(pixels, (11, 13), interpolation=cv2.INTER_AREA)).all()


def test_half_a_grey_level():
    """Up in blocks of 2x2, else to the even one."""
    two = np.array([[0, 1], [0, 1]], np.uint8)[..., None].repeat(3, axis=2)
    assert (block_mean(two, (1, 1)) == 1).all()
    assert (block_mean(np.tile(two, (2, 2, 1)), (1, 1)) == 0).all()
    assert (block_mean(np.tile(two, (2, 2, 1)) + np.uint8(1), (1, 1)) == 2).all()
