"""What a TIFF's samples mean, whichever reader reads it: right pixels, or one error."""

import mhkd  # noqa: F401  (first)
from mhkd.errors import InputError
from mhkd.slides.slide import Slide

import numpy as np
import pytest
import pyvips
import simplejpeg
import tifffile

COLOUR = np.array((201, 156, 185), np.uint8)
RGB = np.broadcast_to(COLOUR, (64, 96, 3))
GREY = np.ascontiguousarray(RGB[..., 0])
HALF = 128  # alpha
ON_WHITE = np.round(COLOUR * (HALF / 255) + 255 * (1 - HALF / 255))
COLORMAP = np.zeros((3, 256), np.uint16)
COLORMAP[:, 7] = COLOUR.astype(np.uint16) * 257
COMPRESSION, PHOTOMETRIC, YCBCR_SUBSAMPLING = 259, 262, 530

layouts = pytest.mark.parametrize("tile", [None, (32, 32)], ids=["striped", "tiled"])


def write(path, pixels, tile, **options):
    tifffile.imwrite(path, np.ascontiguousarray(pixels), tile=tile, metadata=None, **options)
    return str(path)


def with_last(pixels, value):
    return np.dstack([pixels, np.full(pixels.shape[:2], value, np.uint8)])


READ = {
    "rgb": (RGB, {"photometric": "rgb"}, COLOUR),
    "planar": (RGB.transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}, COLOUR),
    "palette": (np.full((64, 96), 7, np.uint8), {"photometric": "palette", "colormap": COLORMAP}, COLOUR),
    "grey": (GREY, {"photometric": "minisblack"}, 201),
    "white_is_0": (255 - GREY, {"photometric": "miniswhite"}, 201),
    "unexplained": (with_last(RGB, HALF), {"photometric": "rgb", "extrasamples": [0]}, COLOUR),
    "unexplained_0": (with_last(RGB, 0), {"photometric": "rgb", "extrasamples": [0]}, COLOUR),
    "alpha": (with_last(RGB, HALF), {"photometric": "rgb", "extrasamples": [2]}, ON_WHITE),
    "premultiplied": (
        with_last(np.round(RGB * (HALF / 255)).astype(np.uint8), HALF),
        {"photometric": "rgb", "extrasamples": [1]},
        ON_WHITE,
    ),
    "premultiplied_beyond": (with_last(RGB, HALF), {"photometric": "rgb", "extrasamples": [1]}, 255),
    "transparent": (with_last(RGB * 0, 0), {"photometric": "rgb", "extrasamples": [1]}, 255),
    "grey_alpha": (
        with_last(GREY, HALF),
        {"photometric": "minisblack", "extrasamples": [2], "planarconfig": "contig"},
        ON_WHITE[0],
    ),
}


@layouts
@pytest.mark.parametrize("kind", READ)
def test_colours(tmp_path, kind, tile):
    pixels, options, want = READ[kind]
    slide = Slide(write(tmp_path / "a.tif", pixels, tile, **options), 0.5)
    got = slide.read_region(3, 3, 90, 60, 0.5)
    assert np.abs(got.astype(int) - want).max() <= 1  # rounding of what is premultiplied


RGB_16 = RGB.astype(np.uint16) * 257
REFUSED = {
    "16_bit": (RGB_16, {"photometric": "rgb"}, "16 bits"),
    "16_bit_grey": (RGB_16[..., 0], {"photometric": "minisblack"}, "16 bits"),
    "signed": (RGB.astype(np.int8), {"photometric": "rgb"}, "8 signed bits"),
    "float": (RGB.astype(np.float32), {"photometric": "rgb"}, "32 floating-point bits"),
    "bilevel": (RGB[..., 0] > 0, {"photometric": "minisblack"}, "1 bits"),
    "cmyk": (with_last(255 - RGB, 0), {"photometric": "separated"}, "CMYK"),
    "lab": (RGB, {"photometric": "cielab"}, "CIELab"),
    "ycbcr": (RGB, {"photometric": "ycbcr"}, "YCbCr without JPEG"),
    "five": (np.dstack([RGB, GREY, GREY]), {"photometric": "rgb", "extrasamples": [0, 0]}, "5 samples"),
    "three_of_grey": (
        RGB.transpose(2, 0, 1),
        {"photometric": "minisblack", "planarconfig": "separate"},
        "3 samples a pixel and calls them grey, which has 1",
    ),
    "two": (
        with_last(GREY, HALF),
        {"photometric": "minisblack", "extrasamples": [0], "planarconfig": "contig"},
        "second channel",
    ),
    "turned": (RGB, {"photometric": "rgb", "extratags": [(274, 3, 1, 6, True)]}, "orientation 6"),
}


@layouts
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_8_bit_rgb(tmp_path, kind, tile):
    pixels, options, message = REFUSED[kind]
    with pytest.raises(InputError, match=rf"a\.tif: .*{message}.*convert it"):
        Slide(write(tmp_path / "a.tif", pixels, tile, **options), 0.5).read_region(0, 0, 9, 9, 0.5)


@layouts
def test_grey_pages_of_one_size_are_channels(tmp_path, tile):
    """As ImageJ and OME-TIFF keep them; the description need not say so."""
    path = str(tmp_path / "a.tif")
    with tifffile.TiffWriter(path) as f:
        for k in range(3):
            f.write(np.full((64, 96), COLOUR[k], np.uint8), tile=tile, photometric="minisblack")
    with pytest.raises(InputError, match=r"a\.tif: keeps its 3 channels on separate pages"):
        Slide(path, 0.5).size_px  # noqa: B018


@layouts
@pytest.mark.parametrize("chroma", ["420", "444"])
def test_ycbcr_whose_subsampling_only_the_jpeg_tells(tmp_path, tile, chroma):
    path = str(tmp_path / "a.tif")
    height, width = tile or RGB.shape[:2]
    piece = simplejpeg.encode_jpeg(np.ascontiguousarray(RGB[:height, :width]), 95, "RGB", chroma)
    tifffile.imwrite(
        path, iter([piece] * (6 if tile else 1)), shape=RGB.shape, dtype=np.uint8, photometric="rgb",
        compression="zlib", metadata=None, tile=tile, rowsperstrip=None if tile else height,
    )  # fmt: skip
    with tifffile.TiffFile(path) as f:
        tags = f.pages[0].tags
        assert YCBCR_SUBSAMPLING not in tags
        places = {tags[COMPRESSION].valueoffset: 7, tags[PHOTOMETRIC].valueoffset: 6}
    with open(path, "r+b") as f:  # by itself it writes no JPEG, and no YCbCr without the tag
        for position, value in places.items():
            f.seek(position)
            f.write(value.to_bytes(2, "little"))
    if not tile and chroma == "444":  # TIFF's default is 420, and libvips only warns of that
        with pytest.raises(InputError, match="not what its tags say"):
            Slide(path, 0.5).read_region(0, 0, 96, 64, 0.5)
        return
    got = Slide(path, 0.5).read_region(0, 0, 96, 64, 0.5)
    assert np.abs(got.astype(int) - COLOUR).max() <= 3


@layouts
@pytest.mark.parametrize("unit, mpp", [(None, 1.27), (1, None), (2, 1.27), (3, 0.5)])
def test_resolution_is_read_with_its_unit(tmp_path, tile, unit, mpp):
    options = {"photometric": "rgb", "resolution": (20_000, 20_000), "resolutionunit": unit}
    slide = Slide(write(tmp_path / "a.tif", RGB, tile, **options))
    if mpp is None:
        with pytest.raises(InputError, match=r"a\.tif: does not record its resolution"):
            slide.mpp  # noqa: B018
    else:
        assert slide.mpp_xy == pytest.approx((mpp, mpp))


@pytest.mark.parametrize("tile", [None, (256, 256)], ids=["striped", "tiled"])
def test_a_thumbnail_or_label_before_the_slide(tmp_path, tile):
    path = str(tmp_path / "a.tif")
    with tifffile.TiffWriter(path) as f:
        options = {"photometric": "rgb", "metadata": None, "resolutionunit": 3}
        f.write(np.zeros((40, 50, 3), np.uint8), resolution=(1e3, 1e3), **options)
        f.write(np.ascontiguousarray(RGB), resolution=(2e4, 2e4), tile=tile, **options)
    slide = Slide(path)
    assert slide.size_px == (96, 64) and slide.mpp == 0.5
    assert np.array_equal(slide.read_region(0, 0, 96, 64, 0.5), RGB)


def test_a_compression_that_only_libvips_knows(tmp_path):
    path = str(tmp_path / "a.tif")
    image = pyvips.Image.new_from_array(np.ascontiguousarray(RGB)).copy(interpretation="srgb")
    image.tiffsave(path, tile=True, tile_width=32, tile_height=32, compression="webp", lossless=True)
    assert np.array_equal(Slide(path).pixels.read(1, 0, 0, 96, 64), RGB)


def test_a_compression_that_nobody_knows_is_not_damage(tmp_path):
    path = write(tmp_path / "a.tif", RGB, (32, 32), photometric="rgb", compression="lzma")
    with pytest.raises(InputError, match="convert it to a tiled TIFF"):
        Slide(path).pixels.read(1, 0, 0, 96, 64)


def test_a_resolution_beyond_light_is_none(tmp_path):
    options = {"photometric": "rgb", "resolutionunit": 3}
    path = write(tmp_path / "a.tif", RGB, (32, 32), resolution=(2**32 - 1, 4e4), **options)
    assert Slide(path).pixels.mpp is None
