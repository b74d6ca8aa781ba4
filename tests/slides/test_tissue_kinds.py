"""Tissue of drawn slides: pale, grey and dark ones, with pen, black borders and padding."""

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.slides.slide import Slide
from mhkd.slides.tissue import tissue_mask

import cv2
import numpy as np
import pytest
from PIL import Image

SIZE_PX, BASE_MPP, MPP = (900, 600), 8.0, 16.0  # 7.2 x 4.8 mm
GLASS = (244, 242, 243)
STAINS = {
    "h_e": (190, 120, 180),
    "pale_pas": (236, 222, 232),
    "pas": (200, 110, 170),
    "dark": (95, 60, 125),
    "trichrome_blue": (135, 155, 205),
    "trichrome_green": (150, 180, 165),
    "trichrome_red": (185, 85, 110),
    "brown": (160, 120, 85),
    "silver": (120, 118, 115),
}
INKS = {
    "blue": (30, 64, 163),
    "violet_blue": (40, 40, 180),
    "light_blue": (60, 110, 200),
    "green": (30, 140, 70),
    "dark_green": (0, 90, 50),
    "red": (200, 30, 40),
    "black": (25, 25, 30),
}


def draw(colour, glass=GLASS):
    """A slide with an ellipse of tissue, mottled by a tenth of its optical density; and where that is."""
    rgb = np.full((*SIZE_PX[::-1], 3), glass, float)
    truth = np.zeros(SIZE_PX[::-1], np.uint8)
    cv2.ellipse(truth, (330, 300), (190, 150), 20, 0, 360, 1, -1)
    rng = np.random.default_rng(0)
    mottle = 1 + 0.1 * cv2.GaussianBlur(rng.normal(0, 3, truth.shape), (0, 0), 2)
    stained = glass * (np.array(colour) / glass) ** mottle[..., None]
    rgb[truth > 0] = stained[truth > 0]
    return rgb, truth > 0


def stroke(rgb, colour, width_px, x=700):
    """A line on the glass right of the tissue; where it and its blurred rim are."""
    line = np.zeros(rgb.shape[:2], np.uint8)
    cv2.line(line, (x, 40), (x + 20, 560), 1, width_px, cv2.LINE_AA)
    share = cv2.GaussianBlur(line.astype(float), (0, 0), 0.7)[..., None]
    rgb[:] = rgb * (1 - share) + np.array(colour) * share
    return cv2.dilate(line, np.ones((9, 9))) > 0


def mask_of(tmp_path, rgb):
    noisy = rgb + np.random.default_rng(1).normal(0, 2, rgb.shape)
    path = str(tmp_path / "slide.jpg")
    Image.fromarray(np.clip(np.round(noisy), 0, 255).astype(np.uint8)).save(path, quality=85)
    return tissue_mask(Slide(path, BASE_MPP), MPP, 10_000, 100_000)


def shares(mask, truth):
    """Of the tissue, how much is found; and how much else is, as a share of the slide."""
    truth = cv2.resize(truth.astype(np.float32), mask.shape[::-1], interpolation=cv2.INTER_AREA)
    beyond = cv2.dilate((truth > 0).astype(np.uint8), np.ones((5, 5))) == 0
    return mask[truth == 1].mean(), (mask & beyond).mean()


def check(mask, truth):
    found, beyond = shares(mask, truth)
    assert found > 0.98 and beyond < 0.001, (found, beyond)


@pytest.mark.parametrize("stain", STAINS)
@pytest.mark.slow
def test_stains(tmp_path, stain):
    rgb, truth = draw(STAINS[stain])
    check(mask_of(tmp_path, rgb), truth)


@pytest.mark.parametrize("width_um", [60, 200])
@pytest.mark.parametrize("stain", ["h_e", "pale_pas", "dark"])
@pytest.mark.slow
def test_pen_is_no_tissue_and_takes_none(tmp_path, stain, width_um):
    rgb, truth = draw(STAINS[stain])
    width_px = round(width_um / BASE_MPP)
    pens = {ink: stroke(rgb, colour, width_px, 560 + 45 * k) for k, (ink, colour) in enumerate(INKS.items())}
    mask = mask_of(tmp_path, rgb)
    check(mask, truth)
    assert [ink for ink, pen in pens.items() if mask[pen[::2, ::2]].any()] == []


@pytest.mark.parametrize("ink", INKS)
@pytest.mark.slow
def test_a_broad_pen_larger_than_the_tissue(tmp_path, ink):
    rgb, truth = draw(STAINS["pale_pas"])
    stroke(rgb, INKS[ink], 250)
    check(mask_of(tmp_path, rgb), truth)


@pytest.mark.parametrize("level", [225, 190, 130, 90])
def test_grey_scans(tmp_path, level):
    rgb, truth = draw((level,) * 3, (240,) * 3)
    stroke(rgb, (30, 30, 30), 40)
    check(mask_of(tmp_path, rgb), truth)


@pytest.mark.parametrize("stain", ["h_e", "pale_pas"])
def test_black_borders_and_white_padding(tmp_path, stain):
    rgb, truth = draw(STAINS[stain])
    rgb[:, :60] = 0
    rgb[-50:] = (12, 10, 14)
    rgb[:40, 60:] = 255
    rgb[:, -100:] = 255
    check(mask_of(tmp_path, rgb), truth)


@pytest.mark.parametrize("glass", [(255, 255, 255), (225, 226, 222), (247, 243, 234), (205, 206, 208)])
def test_colours_and_shading_of_glass(tmp_path, glass):
    shade = 1 - 0.03 * np.linspace(-1, 1, SIZE_PX[0])[None, :, None] ** 2
    rgb, truth = draw(np.array((200, 150, 190)) * np.array(glass) / 250, glass)
    check(mask_of(tmp_path, rgb * shade), truth)


@pytest.mark.parametrize("colour", [(95, 60, 125), (200, 120, 170), (120, 120, 120), (222, 190, 212)])
def test_tissue_that_fills_the_slide(tmp_path, colour):
    rgb = np.full((*SIZE_PX[::-1], 3), colour, float)
    assert mask_of(tmp_path, rgb).all()


@pytest.mark.parametrize("glass", [GLASS, (255, 255, 255), (215, 214, 216)])
def test_empty_glass(tmp_path, glass):
    rgb = np.full((*SIZE_PX[::-1], 3), glass, float)
    assert not mask_of(tmp_path, rgb).any()
    stroke(rgb, INKS["blue"], 30)
    assert not mask_of(tmp_path, rgb).any()


def test_fat_is_tissue(tmp_path):
    """Cells of 90 um that are as clear as glass, with walls of 8 um."""
    rgb = np.full((*SIZE_PX[::-1], 3), GLASS, float)
    truth = np.zeros(SIZE_PX[::-1], bool)
    truth[100:500, 200:700] = True
    y, x = np.indices(truth.shape)
    rgb[truth & ((x % 11 == 0) | (y % 11 == 0))] = STAINS["h_e"]
    found, beyond = shares(mask_of(tmp_path, rgb), truth)
    assert found > 0.95 and beyond == 0
