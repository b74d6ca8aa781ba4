"""Squares of tissue that are out of focus, under pen or black."""

from mhkd.slides import quality
from mhkd.slides.quality import BLACK, BLURRED, PEN, slide_quality
from mhkd.slides.slide import Slide
from mhkd.slides.tissue import tissue_mask

import cv2
import numpy as np
import pytest
from blob_student import write_slide

MPP, SIDE = 2.0, 128  # of the drawn slide, and of a square in its pixels


def drawn(sigma_um=0.0):
    """8 x 6 squares: a rim of glass of one square, tissue with nuclei within."""
    rng = np.random.default_rng(0)
    image = np.full((6 * SIDE, 8 * SIDE, 3), 243, np.uint8)
    image[SIDE:-SIDE, SIDE:-SIDE] = (214, 150, 196)
    for x, y in rng.uniform((SIDE + 8,) * 2, (7 * SIDE - 8, 5 * SIDE - 8), (6000, 2)).astype(int):
        cv2.circle(image, (int(x), int(y)), 3, (100, 50, 130), -1)
    return cv2.GaussianBlur(image, (0, 0), sigma_um / MPP) if sigma_um else image


def look(path, image, mpp=MPP):
    slide = Slide(write_slide(path, image, (mpp, mpp)))
    mask = tissue_mask(slide, 16.0)
    return slide_quality(slide, mask, 16.0), mask


def test_sharp_tissue_has_no_fault(tmp_path):
    found, mask = look(tmp_path / "s.tiff", drawn())
    assert found.reasons.shape == (6, 8) and (found.reasons == "").all()
    assert found.tissue_um2.sum() == pytest.approx(mask.sum() * 16.0**2)
    assert found.tissue_um2[2, 3] == quality.SQUARE_UM**2
    assert found.record()["share"] == 0


def test_blur_is_found_where_it_is(tmp_path):
    image = drawn()
    image[:, 4 * SIDE :] = drawn(8.0)[:, 4 * SIDE :]
    found, mask = look(tmp_path / "s.tiff", image)
    wrong = np.zeros((6, 8), bool)
    wrong[1:5, 4:7] = True
    assert ((found.reasons == BLURRED) == wrong)[1:5, 1:7].all()
    assert 0.49 < found.record()["share"] < 0.6  # the blur spreads the tissue's rim
    kept = found.without(mask, 16.0)
    assert not kept[16:80, 64:112].any() and (kept[:, :64] == mask[:, :64]).all()
    x, y = 3.5 * quality.SQUARE_UM, 2.5 * quality.SQUARE_UM
    assert found.is_wrong_at(np.array([[x, y], [x + quality.SQUARE_UM, y]])).tolist() == [False, True]


def test_pen_and_black_on_tissue_are_told_apart(tmp_path):
    image = drawn()
    cv2.line(image, (SIDE + 60, SIDE + 20), (SIDE + 60, 4 * SIDE - 20), (40, 60, 200), 40)
    image[:, 6 * SIDE + 40 :] = 0
    found, _ = look(tmp_path / "s.tiff", image)
    assert (found.reasons[1:4, 1] == PEN).all() and (found.reasons[:, 2:6] == "").all()
    assert (found.reasons[1:5, 6] == BLACK).all()


def test_no_focus_is_told_of_a_slide_that_is_too_coarse(tmp_path):
    found, _ = look(tmp_path / "s.tiff", drawn(8.0), mpp=4.5)
    assert not found.focus_known and (found.reasons == "").all()


@pytest.mark.slow
@pytest.mark.parametrize("sigma_um, least, most", [(0, 0, 0), (8, 0.95, 1)])
def test_a_real_section(shared_data, tmp_path, sigma_um, least, most):
    """Drawn: above."""
    slide = Slide(shared_data / "slides" / "cmu-1-small-region.svs")
    image = slide.read_region(0, 0, *slide.size_px, slide.mpp_xy[0])
    if sigma_um:
        image = cv2.GaussianBlur(image, (0, 0), sigma_um / slide.mpp_xy[0])
    found, _ = look(tmp_path / "s.tiff", image, slide.mpp_xy[0])
    enough = found.tissue_um2 >= quality.MIN_TISSUE_SHARE * quality.SQUARE_UM**2
    assert least <= (found.reasons == BLURRED)[enough].mean() <= most
