from types import SimpleNamespace

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.slides import tissue
from mhkd.slides.slide import Slide
from mhkd.slides.tissue import MAX_MASK_PX, mask_mpp, tissue_mask

import cv2
import numpy as np
import pytest

GLASS, TISSUE = (240, 242, 239), (190, 120, 180)


def slide_of(path, rgb, mpp=1.0):
    noise = np.random.default_rng(0).normal(0, 3, rgb.shape)
    cv2.imwrite(str(path), np.clip(rgb + noise, 0, 255).astype(np.uint8)[..., ::-1])
    return Slide(str(path), slide_mpp=mpp)


def test_tissue_and_glass(tmp_path):
    rgb = np.full((400, 500, 3), GLASS, float)
    rgb[:, :300] = TISSUE
    mask = tissue_mask(slide_of(tmp_path / "s.png", rgb), 8.0)
    assert mask.shape == (50, 63)  # part pixels included
    assert mask[:, :36].all() and not mask[:, 39:].any()


@pytest.mark.parametrize("colour,share", [(TISSUE, 1), (GLASS, 0)])
def test_a_slide_that_is_all_tissue_or_all_glass(tmp_path, colour, share):
    slide = slide_of(tmp_path / "s.png", np.full((600, 600, 3), colour, float), 0.5)
    assert tissue_mask(slide, 4.0).mean() == share


def test_area_limits(tmp_path):
    """A piece of 200 x 200 um with a hole of 40 x 40, and dust of 40 x 40."""
    rgb = np.full((400, 400, 3), GLASS, float)
    rgb[40:240, 40:240] = TISSUE
    rgb[120:160, 120:160] = GLASS
    rgb[320:360, 320:360] = TISSUE
    slide = slide_of(tmp_path / "s.png", rgb)
    piece, hole, dust = (80, 80), (140, 140), (340, 340)
    for mpp in (2.0, 4.0):
        for least_um2, most_um2, expected in (
            (0, 0, (1, 0, 1)),
            (900, 900, (1, 0, 1)),
            (2500, 0, (1, 0, 0)),
            (0, 2500, (1, 1, 1)),
            (2500, 2500, (1, 1, 0)),
            (1e6, 0, (0, 0, 0)),
        ):
            mask = tissue_mask(slide, mpp, least_um2, most_um2)
            found = [int(mask[int(y / mpp), int(x / mpp)]) for x, y in (piece, hole, dust)]
            assert tuple(found) == expected, (mpp, least_um2, most_um2)


def test_masks_of_large_slides_are_coarser():
    slide = SimpleNamespace(size_px=(200_000, 100_000), mpp_xy=(0.25, 0.25))
    assert mask_mpp(slide, 32.0) == 32.0
    mpp = mask_mpp(slide, 1.0)
    assert 50_000 / mpp * 25_000 / mpp == pytest.approx(MAX_MASK_PX)


SHAPES = [(1, 1), (1, 9), (9, 1), (2, 2), (40, 31)]


@pytest.mark.parametrize("shape", SHAPES)
def test_smoothing_is_that_of_opencv(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    assert (tissue._smoothed(image) == cv2.GaussianBlur(image, (3, 3), 0)).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [1, 2, 7, 50])
def test_rims_are_those_of_opencv(shape, radius):
    rng = np.random.default_rng(radius)
    mask, values = rng.random(shape) < 0.1, rng.integers(0, 500, shape).astype(np.int16)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    assert (tissue._with_rim(mask, radius) == cv2.dilate(mask.astype(np.uint8), disc)).all()
    square = np.ones((3, 3), np.uint8)
    assert (tissue._of_neighbours(values, np.maximum) == cv2.dilate(values, square)).all()
    assert (tissue._of_neighbours(mask, np.minimum) == cv2.erode(mask.astype(np.uint8), square)).all()


@pytest.mark.parametrize("seed", range(5))
def test_otsu_leaves_the_least_variance_within_two_classes(seed):
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.poisson(m, n) for m, n in zip((20, 60 + 20 * seed), (900, 300))])

    def within(limit):
        return sum(part.var() * len(part) for part in (values[values <= limit], values[values > limit]))

    limits = np.unique(values)[:-1]
    assert tissue._otsu(values.astype(np.int16)) == min(limits, key=within)
    assert tissue._otsu(np.full(5, 7, np.int16)) == 7
