"""What other libraries keep to themselves and we use, each in one module: it must be there and mean the same.

After an update of one of them: see that these tests pass, and add its version.
"""

from importlib.metadata import version

from mhkd.slides.large_image_canvas import read_canvas
from mhkd.slides.openslide_raw import read_bgra
from mhkd.slides.slide import Slide

import numpy as np
import openslide
import pytest
import tifffile

KNOWN = {
    "openslide-python": ("1.4.7",),  # openslide.lowlevel._read_region, OpenSlide._osr
    "large-image-source-openslide": ("1.35.6",),  # OpenslideFileTileSource._bounds, ._svslevels
}
SCAN = np.random.default_rng(0).integers(0, 256, (320, 256, 3), np.uint8)
AT_PX = (100, 60)  # of the scan, on a canvas of 600 x 500
# Leica's words, in nanometres, here 1000 a pixel; the collection is the canvas, and one image its overview.
LEICA = """<?xml version="1.0"?>
<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection sizeX="600000" sizeY="500000">
<barcode>x</barcode>
<image><device model="m" version="1"/><creationDate>2020-01-01T00:00:00Z</creationDate>
<pixels sizeX="64" sizeY="64"><dimension sizeX="64" sizeY="64" r="0" ifd="0"/></pixels>
<view sizeX="600000" sizeY="500000" offsetX="0" offsetY="0"/>
<scanSettings><objectiveSettings><objective>1</objective></objectiveSettings>
<illuminationSettings><numericalAperture>0.1</numericalAperture>
<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image>
<image><device model="m" version="1"/><creationDate>2020-01-01T00:00:00Z</creationDate>
<pixels sizeX="256" sizeY="320"><dimension sizeX="256" sizeY="320" r="0" ifd="1"/>
<dimension sizeX="128" sizeY="160" r="1" ifd="2"/></pixels>
<view sizeX="256000" sizeY="320000" offsetX="{}000" offsetY="{}000"/>
<scanSettings><objectiveSettings><objective>10</objective></objectiveSettings>
<illuminationSettings><numericalAperture>0.1</numericalAperture>
<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image>
</collection></scn>"""


@pytest.fixture
def slide_file(tmp_path):
    """A scan that lies on a larger canvas, with a level of half its size."""
    path = tmp_path / "leica.scn"
    with tifffile.TiffWriter(path, bigtiff=True) as f:
        for k, pixels in enumerate((SCAN[:64, :64], SCAN, SCAN[::2, ::2])):
            f.write(
                pixels, tile=(64, 64), metadata=None, description=None if k else LEICA.format(*AT_PX),
                resolution=(5e3 if k == 2 else 1e4,) * 2, resolutionunit="CENTIMETER",
            )  # fmt: skip
    return str(path)


@pytest.mark.parametrize("package", KNOWN)
def test_the_version_is_one_that_was_tried(package):
    assert version(package) in KNOWN[package], f"{package}: see what {__file__} says at its top"


def test_bgra_is_what_openslide_reads(slide_file):
    with openslide.OpenSlide(slide_file) as slide:
        assert slide.detect_format(slide_file) == "leica"
        for level, size in ((0, (300, 200)), (1, (100, 90))):
            got = read_bgra(slide, 90, 50, level, *size)
            want = np.asarray(slide.read_region((90, 50), level, size))  # RGBA, partly off the scan
            assert set(np.unique(want[..., 3])) == {0, 255}
            np.testing.assert_array_equal(got[..., [2, 1, 0, 3]], want)


def test_the_canvas_is_what_openslide_says(slide_file):
    canvas = read_canvas(slide_file)
    assert canvas.origin_px == AT_PX and canvas.size_px == (256, 320)
    assert canvas.levels == {0, 1}
    assert canvas.mpp == (1.0, 1.0)
    slide = Slide(slide_file)
    np.testing.assert_array_equal(slide.read_region(3, 4, 200, 100, 1.0), SCAN[4:104, 3:203])
