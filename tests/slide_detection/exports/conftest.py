from mhkd.slide_detection import Detections, SlideInfo
from mhkd.slides.slide import Slide

import numpy as np
import pytest
import pyvips

NAMES = ("normal", "sclerotic")


@pytest.fixture
def found():
    """Three boxes; the best is a normal one, centre (150, 100), 100 x 80 base pixels."""
    boxes = [[100, 60, 200, 140], [300.25, 200.5, 380.25, 280.5], [10, 300, 70, 390]]
    return Detections(boxes, [0.9, 0.8, 0.55], [0, 1, 0], NAMES)


@pytest.fixture(scope="session")
def slide(tmp_path_factory):
    """600 x 400 base pixels of 0.5 um of even pink, white from x = 500 on."""
    pixels = np.full((400, 600, 3), (200, 120, 180), np.uint8)
    pixels[:, 500:] = 255
    path = tmp_path_factory.mktemp("slide") / "case é 1.tiff"
    image = pyvips.Image.new_from_array(pixels).copy(xres=2000, yres=2000, interpretation="srgb")
    image.tiffsave(str(path), tile=True, compression="deflate", resunit="cm", pyramid=True)
    return Slide(path)


@pytest.fixture
def info(slide):
    """Half a square millimetre of tissue."""
    return SlideInfo(slide.path, slide.size_px, slide.mpp_xy, 500_000.0)
