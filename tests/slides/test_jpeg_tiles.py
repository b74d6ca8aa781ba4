"""Tiles decoded past OpenSlide must be what OpenSlide reads, or an error where it has one."""

import mhkd  # noqa: F401  (first)
from mhkd.errors import InputError
from mhkd.slides.jpeg_tiles import JpegTiles, find_pages
from mhkd.slides.slide import Slide
from mhkd.slides.tiff import read_pages

import cv2
import numpy as np
import openslide
import pytest
import pyvips
import tifftools

WIDTH, HEIGHT = 1001, 613


@pytest.fixture(scope="module", params=[75, 95])  # libvips halves the chroma below 90
def slide_file(request, tmp_path_factory):
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    image = pyvips.Image.new_from_array(cv2.GaussianBlur(noise, (0, 0), 3))
    path = tmp_path_factory.mktemp("jpeg") / "slide.tiff"
    image.copy(xres=2000, yres=2000, interpretation="srgb").tiffsave(
        str(path), tile=True, pyramid=True, compression="jpeg", Q=request.param, resunit="cm"
    )
    return str(path)


def by_openslide(path, x, y, level, size):
    with openslide.OpenSlide(path) as slide:
        return np.asarray(slide.read_region((x, y), level, size).convert("RGB"))


def test_the_same_pixels_as_openslide(slide_file):
    slide = Slide(slide_file)
    assert slide.pixels._page(1) and slide.pixels._page(2)  # it is this reader that is at work
    for x, y, w, h in [(0, 0, WIDTH, HEIGHT), (130, 250, 300, 200), (901, 500, 100, 113)]:
        want = by_openslide(slide_file, x, y, 0, (w, h))
        np.testing.assert_array_equal(slide.read_region(x, y, w, h, 0.5), want)
    got = slide.read_region(0, 0, 256, 200, 1.0, from_base=False)
    np.testing.assert_array_equal(got, by_openslide(slide_file, 0, 0, 1, (256, 200)))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.slow
def test_damage_is_what_openslide_says_it_is(slide_file, tmp_path, seed):
    """Bytes of a tile zeroed, drawn anew or flipped: the same error, or the same pixels."""
    rng = np.random.default_rng(seed)
    tags = tifftools.read_tiff(slide_file)["ifds"][0]["tags"]
    offset, size = (tags[t]["data"][9] for t in (324, 325))  # TileOffsets, TileByteCounts
    data = np.fromfile(slide_file, np.uint8)
    begin = offset + int(rng.integers(0, size - 4))
    end = min(offset + size, begin + int(rng.choice([1, 4, size])))
    kind = seed % 3
    data[begin:end] = (0, rng.integers(0, 256, end - begin), data[begin:end] ^ 16)[kind]
    path = str(tmp_path / "damaged.tiff")
    data.tofile(path)
    try:
        want = by_openslide(path, 0, 0, 0, (WIDTH, HEIGHT))
    except openslide.OpenSlideError:
        with pytest.raises(InputError, match=r"damaged\.tiff.*damaged"):
            Slide(path).read_region(0, 0, WIDTH, HEIGHT, 0.5)
    else:
        np.testing.assert_array_equal(Slide(path).read_region(0, 0, WIDTH, HEIGHT, 0.5), want)


def test_a_page_that_means_something_else_is_left_to_openslide(slide_file, monkeypatch):
    tile = JpegTiles.tile
    monkeypatch.setattr(JpegTiles, "tile", lambda *args: tile(*args)[..., ::-1])
    slide = Slide(slide_file)
    np.testing.assert_array_equal(
        slide.read_region(0, 0, 300, 300, 0.5), by_openslide(slide_file, 0, 0, 0, (300, 300))
    )
    assert slide.pixels._page(1) is None


def test_what_has_no_such_pages(tmp_path, slide_file):
    pages = read_pages(slide_file)
    assert set(find_pages(slide_file, pages)) == {p.size_px for p in pages}
    assert find_pages(slide_file, pages + pages) == {}  # two of each size: which is meant?
    path = str(tmp_path / "lzw.tiff")
    pyvips.Image.new_from_file(slide_file).tiffsave(path, tile=True, compression="lzw")
    assert find_pages(path, read_pages(path)) == {}
