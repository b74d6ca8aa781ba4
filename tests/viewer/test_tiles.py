import io
import math

from mhkd.errors import InputError
from mhkd.slides.slide import Slide
from mhkd.synthetic.slides import write_tiff
from mhkd.viewer.tiles import OVERVIEW_PX, TILE_PX, DeepZoom

import numpy as np
import pytest
import pyvips
from one_level_slide import draw_one_level_slide
from PIL import Image

WIDTH, HEIGHT = 3000, 1300  # level sizes are odd, and the last tiles are small


def colours(x_px, y_px):
    """What the slide has at base pixels: slow ramps, which JPEG and resampling keep."""
    red, green = x_px * 255 / WIDTH, y_px * 255 / HEIGHT
    return np.stack(np.broadcast_arrays(red, green, 128.0), axis=-1)


@pytest.fixture(scope="module")
def slide_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("slide") / "ramp.tiff"
    pixels = colours(np.arange(WIDTH)[None] + 0.5, np.arange(HEIGHT)[:, None] + 0.5)
    write_tiff(path, pixels.round().astype(np.uint8), 0.5, "ramp")
    return path


@pytest.fixture(scope="module")
def deep_zoom(slide_file):
    return DeepZoom(Slide(slide_file))


def decoded(jpeg):
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(float)


@pytest.mark.slow
def test_tiles_of_every_level_show_the_place_that_deep_zoom_says(deep_zoom):
    assert deep_zoom.max_level == 12  # 2**11 < 3000 <= 2**12
    for level in range(deep_zoom.max_level + 1):
        downsample = 2 ** (12 - level)
        width, height = math.ceil(WIDTH / downsample), math.ceil(HEIGHT / downsample)
        columns, rows = math.ceil(width / TILE_PX), math.ceil(height / TILE_PX)
        for column in range(columns):
            for row in range(rows):
                pixels = decoded(deep_zoom.tile(level, column, row))
                x0, y0 = max(0, column * TILE_PX - 1), max(0, row * TILE_PX - 1)  # 1: overlap
                x1, y1 = min(width, (column + 1) * TILE_PX + 1), min(height, (row + 1) * TILE_PX + 1)
                assert pixels.shape == (y1 - y0, x1 - x0, 3)
                if min(x1 - x0, y1 - y0) < 8:
                    continue  # JPEG's own blur
                x = (np.arange(x0, x1) + 0.5)[None] * downsample
                y = (np.arange(y0, y1) + 0.5)[:, None] * downsample
                inner = np.s_[2:-2, 2:-2]
                assert np.abs(pixels - colours(x, y))[inner].max() < 6 + 0.2 * downsample
        for column, row in ((columns, 0), (0, rows)):
            with pytest.raises(LookupError):
                deep_zoom.tile(level, column, row)


def test_there_is_nothing_outside_the_pyramid(deep_zoom):
    for place in ((-1, 0, 0), (13, 0, 0), (12, -1, 0), (12, 0, -1)):
        with pytest.raises(LookupError):
            deep_zoom.tile(*place)


def test_the_description_is_deep_zoom_xml(deep_zoom):
    assert f'TileSize="{TILE_PX}"' in deep_zoom.dzi and 'Overlap="1"' in deep_zoom.dzi
    assert f'<Size Width="{WIDTH}" Height="{HEIGHT}"/>' in deep_zoom.dzi


def test_pixels_that_are_not_square_are_stretched(slide_file, tmp_path):
    """0.5 um wide and 0.25 high: the page's pixels are 0.25, so it shows two for each base pixel's width."""
    path = tmp_path / "flat.tiff"
    pyvips.Image.new_from_file(str(slide_file)).copy(xres=2000, yres=4000).tiffsave(
        str(path), tile=True, pyramid=True, compression="jpeg", Q=95, bigtiff=True, resunit="cm"
    )
    flat = DeepZoom(Slide(path))
    assert flat.mpp == pytest.approx(0.25, rel=1e-3) and flat.stretch == pytest.approx((2, 1), rel=1e-3)
    assert flat.size_px == pytest.approx((2 * WIDTH, HEIGHT), abs=2) and flat.max_level == 13
    for level, column, row in ((13, 5, 1), (12, 1, 0), (9, 0, 0)):
        downsample = 2 ** (13 - level)
        pixels = decoded(flat.tile(level, column, row))
        x0, y0 = max(0, column * TILE_PX - 1), max(0, row * TILE_PX - 1)
        x = (np.arange(x0, x0 + pixels.shape[1]) + 0.5)[None] * downsample / 2
        y = (np.arange(y0, y0 + pixels.shape[0]) + 0.5)[:, None] * downsample
        assert np.abs(pixels - colours(x, y))[2:-2, 2:-2].max() < 6 + 0.2 * downsample


def test_coarse_levels_come_from_one_picture_and_not_from_the_file_again(slide_file, monkeypatch):
    deep_zoom = DeepZoom(Slide(slide_file))
    read = []
    original = Slide.read_region
    monkeypatch.setattr(Slide, "read_region", lambda self, *a, **k: read.append(a) or original(self, *a, **k))
    for level in range(12):  # up to 1500 px
        assert math.ceil(WIDTH / 2 ** (12 - level)) <= OVERVIEW_PX
        deep_zoom.tile(level, 0, 0)
    assert len(read) == 1
    deep_zoom.tile(12, 0, 0)
    assert len(read) == 2


def test_a_slide_of_one_level(one_level_slide):
    _check_levels(one_level_slide)


def test_a_slide_of_one_level_without_a_resolution(tmp_path):
    draw_one_level_slide(tmp_path / "drawn.tiff", mpp=None)
    with pytest.raises(InputError, match="does not record its resolution"):
        _ = Slide(tmp_path / "drawn.tiff").mpp
    _check_levels(tmp_path / "drawn.tiff")


@pytest.mark.slow
def test_a_real_slide_without_a_resolution(shared_data):
    """In JPEG 2000; the drawn one is the test before."""
    _check_levels(shared_data / "slides" / "tcga-cr-7395-01a-01-ts1.svs")


def _check_levels(path):
    slide = Slide(path, slide_mpp=1.0)
    deep_zoom = DeepZoom(Slide(path))
    base = decoded(deep_zoom.tile(deep_zoom.max_level, 1, 1))
    there = slide.read_region(TILE_PX - 1, TILE_PX - 1, TILE_PX + 2, TILE_PX + 2, 1.0)
    assert np.abs(base - there).mean() < 6  # JPEG
    for level, column in ((deep_zoom.max_level - 1, 0), (deep_zoom.max_level - 3, 0)):
        downsample = 2.0 ** (deep_zoom.max_level - level)
        tile = decoded(deep_zoom.tile(level, column, 0))
        there = slide.read_region(0, 0, tile.shape[1], tile.shape[0], downsample)
        assert np.abs(tile.mean(axis=(0, 1)) - there.mean(axis=(0, 1))).max() < 3
        assert np.abs(tile - there)[8:-8, 8:-8].mean() < 10
