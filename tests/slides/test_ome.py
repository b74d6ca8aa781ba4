from mhkd.errors import InputError
from mhkd.slides.ome import read_ome
from mhkd.slides.slide import Slide

import numpy as np
import pytest
import tifffile

WITH_UNIT = '<OME><Image><Pixels PhysicalSizeX="2" PhysicalSizeXUnit="{}" PhysicalSizeY="3"/></Image></OME>'
RGB = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)


def ome(path, pixels, axes, size, unit="µm", **options):
    metadata = {"axes": axes, "PhysicalSizeX": size, "PhysicalSizeXUnit": unit}
    metadata |= {"PhysicalSizeY": 2 * size, "PhysicalSizeYUnit": unit}
    tifffile.imwrite(path, pixels, ome=True, metadata=metadata, **options)
    return str(path)


@pytest.mark.parametrize(
    "size, unit",
    [(0.65, "µm"), (650.0, "nm"), (0.00065, "mm"), (6.5e-7, "m"), (6500, "Å"), (0.65 / 25400, "in"),
     (6.5e-5, "cm"), (0.65e6, "pm"), (0.65 * 72 / 25400, "pt")],
)  # fmt: skip
@pytest.mark.parametrize("tile", [None, (32, 32)], ids=["striped", "tiled"])
def test_resolution_of_an_ome_tiff(tmp_path, size, unit, tile):
    path = ome(tmp_path / "a.ome.tiff", RGB, "YXS", size, unit, photometric="rgb", tile=tile)
    slide = Slide(path)
    assert slide.mpp_xy == pytest.approx((0.65, 1.3))
    assert (Slide(path, 0.5).read_region(0, 0, 96, 64, 0.5) == RGB).all()


@pytest.mark.parametrize("tile", [None, (32, 32)], ids=["striped", "tiled"])
def test_channels_on_separate_pages_are_not_taken_for_a_grey_slide(tmp_path, tile):
    options = {"photometric": "minisblack", "tile": tile}
    path = ome(tmp_path / "a.ome.tiff", RGB.transpose(2, 0, 1), "CYX", 0.5, **options)
    with pytest.raises(InputError, match="3 channels on separate pages"):
        Slide(path).size_px  # noqa: B018


@pytest.mark.parametrize(
    "unit, um",
    [("μm", 1), ("µm", 1), ("um", 1), ("Âµm", 1), ("\u212b", 1e-4), ("\u00c5", 1e-4), ("Mm", 1e12),
     ("dam", 1e7), ("thou", 25.4), ("inch", 25400), ("micron", 1), ("ft", 304800)],
)  # fmt: skip
def test_units_of_length(unit, um):
    assert read_ome(WITH_UNIT.format(unit))[0] == pytest.approx((2 * um, 3))


@pytest.mark.parametrize("unit", ["pixel", "reference frame", "mile", ""])
def test_what_is_no_length(unit):
    assert read_ome(WITH_UNIT.format(unit))[0] is None


@pytest.mark.parametrize(
    "text",
    [
        None,
        "Aperio",
        '<OME><Pixels SizeC="3"',
        '<OME><Image><Pixels PhysicalSizeX="x" PhysicalSizeY="1"/></Image></OME>',
        '<OME><Image><Pixels PhysicalSizeX="nan" PhysicalSizeY="1"/></Image></OME>',
        '<OME><Image><Pixels PhysicalSizeX="0" PhysicalSizeY="1"/></Image></OME>',
        '<OME><Image><Pixels PhysicalSizeX="1" PhysicalSizeY="1" PhysicalSizeXUnit="mile"/></Image></OME>',
        '<!DOCTYPE a><OME><Image><Pixels PhysicalSizeX="1" PhysicalSizeY="1"/></Image></OME>',
    ],
)
def test_what_does_not_say_says_nothing(text):
    assert read_ome(text) == (None, None, None)
