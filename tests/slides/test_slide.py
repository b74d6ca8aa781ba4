import multiprocessing
import os
import pickle
from pathlib import Path

import mhkd  # noqa: F401  (first)
from mhkd.errors import InputError
from mhkd.slides.slide import Slide, open_slide

import numpy as np
import openslide
import pytest
import pyvips
import tifftools
from PIL import Image

SLIDES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "slides"
CMU = SLIDES / "cmu-1-small-region.svs"
TCGA = SLIDES / "tcga-cr-7395-01a-01-ts1.svs"
needs_slides = pytest.mark.skipif(not SLIDES.exists(), reason=f"{SLIDES} is not here")


def write_tiff(path, array, mpp=0.5, mpp_y=None, **options):
    image = pyvips.Image.new_from_array(np.ascontiguousarray(array))
    image = image.copy(xres=1000 / mpp, yres=1000 / (mpp_y or mpp), interpretation="srgb")
    options = {"tile": True, "compression": "none", "resunit": "cm", "pyramid": True, **options}
    image.tiffsave(str(path), **options)
    return str(path)


def smooth(height, width):
    """A picture without hard edges whose value is known everywhere."""
    x, y = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    return np.stack([wave(x, y, k) for k in range(3)], -1)


def wave(x, y, k):
    # steep, so that rounding to whole grey levels does not hide a shift
    return 127.5 + 60 * np.sin(x / (12 + 2 * k)) + 60 * np.cos(y / (16 - 2 * k))


@pytest.fixture(scope="module")
def smooth_tiff(tmp_path_factory):
    path = tmp_path_factory.mktemp("smooth") / "smooth.tiff"
    return write_tiff(path, np.round(smooth(1500, 2100)).astype(np.uint8), tile_width=128, tile_height=128)


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)


@pytest.fixture(scope="module")
def noise_tiff(tmp_path_factory, noise):
    return write_tiff(tmp_path_factory.mktemp("noise") / "noise.tiff", noise)


@needs_slides
def test_cmu_base_level_is_what_openslide_reads():
    slide, reference = Slide(CMU), openslide.OpenSlide(CMU)
    assert slide.size_px == (2220, 2967)
    assert slide.mpp == pytest.approx(0.499)
    for x, y, w, h in [(0, 0, 700, 300), (231, 1777, 513, 640), (1719, 2466, 501, 501)]:
        want = np.asarray(reference.read_region((x, y), 0, (w, h)).convert("RGB"))
        np.testing.assert_array_equal(slide.read_region(x, y, w, h, 0.499), want)


@needs_slides
def test_tcga_needs_a_resolution_and_is_then_what_openslide_reads():
    with pytest.raises(InputError, match=r"tcga.*--slide-mpp"):
        Slide(TCGA).read_region(0, 0, 10, 10, 1.0)
    slide, reference = Slide(TCGA, slide_mpp=0.25), openslide.OpenSlide(TCGA)
    want = np.asarray(reference.read_region((3900, 3300), 0, (543, 267)).convert("RGB"))
    np.testing.assert_array_equal(slide.read_region(3900, 3300, 543, 267, 0.25), want)
    # its second level, far from the corner, is the same tissue as the base level brought down
    fine = slide.read_region(3500, 2600, 400, 400, 0.5).astype(float)
    level = slide.read_region(3500, 2600, 400, 400, 0.5, from_base=False).astype(float)
    assert displacement_px(fine.mean(-1), level.mean(-1)) < 0.25


def displacement_px(a, b):
    """Shift between two pictures of the same thing, by least squares on the gradient."""
    gy, gx = np.gradient((a + b) / 2)
    unknowns = np.stack([gx.ravel(), gy.ravel(), np.ones(a.size)], 1)  # and a difference in brightness
    return np.hypot(*np.linalg.lstsq(unknowns, (a - b).ravel(), rcond=None)[0][:2])


def test_whole_factors_are_exact_block_means(noise_tiff, noise):
    slide = Slide(noise_tiff)
    for factor, x, y in [(1, 3, 5), (2, 7, 1), (4, 33, 18), (5, 250, 255)]:
        got = slide.read_region(x, y, 60, 50, 0.5 * factor)
        block = noise[y : y + 50 * factor, x : x + 60 * factor].astype(float)
        want = block.reshape(50, factor, 60, factor, 3).mean((1, 3))
        assert np.abs(got - want).max() <= 0.5


@pytest.mark.parametrize("from_base", [True, False])
@pytest.mark.parametrize("scale", [0.6, 1.0, 1.37, 2.5, 4.008, 8.3])
def test_any_scale_is_right_to_half_an_output_pixel_everywhere(smooth_tiff, scale, from_base):
    slide = Slide(smooth_tiff)
    size = 96
    for x, y in [(10.4, 17.9), (2100 - (size + 1) * scale - 9.6, 1500 - (size + 1) * scale - 9.1)]:
        got = slide.read_region(x, y, size, size, 0.5 * scale, from_base=from_base).astype(float)
        ij = np.arange(size) + 0.5
        want = np.stack([wave(x + ij * scale, (y + ij * scale)[:, None], k) for k in range(3)], -1)
        shift = displacement_px(got.mean(-1), want.mean(-1))
        assert shift < 0.2, (x, y, shift)
        if scale < 3:  # beyond, the area mean lowers the waves themselves
            assert np.abs(got - want).max() < 5


def test_anti_aliased_at_fractional_scales(tmp_path):
    """A one-pixel checkerboard must come out grey, wherever the grid of the output lies."""
    board = (np.indices((600, 600)).sum(0) % 2 * 255).astype(np.uint8)
    path = write_tiff(tmp_path / "board.tiff", np.repeat(board[..., None], 3, 2), pyramid=False)
    for scale in (2.5, 3.3, 4.008, 7.7):
        got = Slide(path).read_region(10.3, 11.7, 40, 40, 0.5 * scale).astype(float)
        assert np.abs(got - 127.5).max() < 12, scale


def test_blocks_leave_no_seams(noise_tiff, monkeypatch):
    whole = [Slide(noise_tiff).read_region(11.3, 4.8, 200, 150, 0.5 * s, resample=f) for s, f in CASES]
    monkeypatch.setattr("mhkd.slides.slide.BLOCK_PX", 100)
    for (s, f), want in zip(CASES, whole, strict=True):
        got = Slide(noise_tiff).read_region(11.3, 4.8, 200, 150, 0.5 * s, resample=f)
        assert np.abs(got.astype(int) - want).max() <= 2  # Pillow rounds twice


CASES = [(2.9, "area"), (1.2, "area"), (0.7, "area"), (2.9, "lanczos"), (4.0, "lanczos")]


def test_finer_level_is_the_level_in_the_file(tmp_path, noise):
    path = write_tiff(tmp_path / "p.tiff", noise, tile_width=64, tile_height=64)
    level = pyvips.Image.new_from_file(path, page=1).numpy()
    slide = Slide(path)
    got = slide.read_region(2 * 70, 2 * 33, 150, 90, 1.0, from_base=False)
    np.testing.assert_array_equal(got, level[33:123, 70:220])
    # A resolution just finer than the level is not read from it.
    assert slide.pixels.downsamples[:2] == [1, 2]
    base = slide.read_region(140, 66, 100, 90, 0.97, from_base=False)
    np.testing.assert_array_equal(base, slide.read_region(140, 66, 100, 90, 0.97))


def test_white_outside_the_slide(noise_tiff, noise):
    slide = Slide(noise_tiff)
    got = slide.read_region(-40, -30, 100, 80, 0.5)
    assert (got[:30] == 255).all() and (got[:, :40] == 255).all()
    np.testing.assert_array_equal(got[30:, 40:], noise[:50, :60])
    got = slide.read_region(880, 690, 50, 50, 0.5)
    np.testing.assert_array_equal(got[:10, :20], noise[690:, 880:])
    assert (got[10:] == 255).all() and (got[:, 20:] == 255).all()
    assert (slide.read_region(1e6, -1e6, 20, 20, 3.3) == 255).all()


def test_transparent_is_white_and_grey_becomes_rgb(tmp_path, noise):
    rgba = np.dstack([noise[:300, :300], np.full((300, 300), 255, np.uint8)])
    rgba[:100, :, 3] = 0
    rgba[100:200, :, 3] = 51  # a fifth
    path = tmp_path / "rgba.png"
    Image.fromarray(rgba).save(path)
    got = Slide(path, slide_mpp=1).read_region(0, 0, 300, 300, 1)
    assert (got[:100] == 255).all()
    np.testing.assert_allclose(got[100:200], rgba[100:200, :, :3] * 0.2 + 255 * 0.8, atol=1)
    np.testing.assert_array_equal(got[200:], rgba[200:, :, :3])

    for name, options in {"tiled": {}, "striped": {"tile": False, "pyramid": False}}.items():
        path = write_tiff(tmp_path / f"{name}.tiff", noise[:300, :300, :1], **options)
        image = pyvips.Image.new_from_file(path).copy(interpretation="b-w")
        image.tiffsave(str(tmp_path / "grey.tiff"), compression="none", **options)
        got = Slide(tmp_path / "grey.tiff", slide_mpp=1).read_region(5, 5, 280, 280, 1)
        np.testing.assert_array_equal(got, np.repeat(noise[5:285, 5:285, :1], 3, 2))


def test_a_resolution_that_was_rounded_costs_no_pixel(tmp_path):
    array = np.round(smooth(300, 800)).astype(np.uint8)
    slide = Slide(write_tiff(tmp_path / "a.tiff", array, mpp=0.4999999))
    assert slide.size_at(0.5) == (800, 300)
    assert Slide(write_tiff(tmp_path / "b.tiff", array, mpp=0.4999)).size_at(0.5) == (799, 299)


def test_pixels_that_are_not_square(tmp_path):
    array = np.round(smooth(400, 800)).astype(np.uint8)
    slide = Slide(write_tiff(tmp_path / "a.tiff", array, mpp=0.25, mpp_y=0.5))
    assert slide.mpp_xy == pytest.approx((0.25, 0.5))
    assert slide.size_at(1.0) == (200, 200)
    got = slide.read_region(80, 40, 100, 100, 1.0).astype(float)
    ij = np.arange(100) + 0.5
    want = np.stack([wave(80 + 4 * ij, (40 + 2 * ij)[:, None], k) for k in range(3)], -1)
    assert np.abs(got - want).max() < 3


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_plain_images_need_a_resolution(tmp_path, noise, suffix):
    path = tmp_path / f"plain.{suffix}"
    Image.fromarray(noise).save(path, dpi=(72, 72))
    with pytest.raises(InputError, match=f"plain.{suffix}.*--slide-mpp"):
        Slide(path).mpp  # noqa: B018
    slide = Slide(path, slide_mpp=0.5)
    assert slide.size_px == (900, 700)
    want = np.asarray(Image.open(path))[20:120, 10:210]
    np.testing.assert_array_equal(slide.read_region(10, 20, 200, 100, 0.5), want)


def _read_corner(slide):
    return slide.read_region(100, 100, 64, 64, 1.1)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.slow
def test_workers_read_the_same(noise_tiff, method):
    slide = open_slide(noise_tiff)
    want = _read_corner(slide)  # opened here, so that a fork inherits it
    with multiprocessing.get_context(method).Pool(1 if method == "spawn" else 2) as pool:
        for got in pool.map(_read_corner, [slide] * 4):
            np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(_read_corner(pickle.loads(pickle.dumps(slide))), want)


def test_a_forked_child_opens_the_file_for_itself(noise_tiff, monkeypatch):
    slide = Slide(noise_tiff)
    parents = slide.pixels
    assert slide.pixels is parents
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert slide.pixels is not parents


def test_open_slide_notices_a_new_file(tmp_path, noise):
    path = write_tiff(tmp_path / "a.tiff", noise)
    first = open_slide(path)
    assert open_slide(path) is first
    assert open_slide(path, 0.3) is not first
    write_tiff(path, 255 - noise[:650])
    assert open_slide(path).size_px == (900, 650)
    np.testing.assert_array_equal(open_slide(path).read_region(0, 0, 9, 9, 0.5), 255 - noise[:9, :9])


@pytest.mark.slow
def test_memory_is_bounded_by_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("mhkd.slides.slide.BLOCK_PX", 512)
    path = str(tmp_path / "big.tiff")
    image = pyvips.Image.black(5000, 3000, bands=3) + [120, 30, 200]
    image = image.cast("uchar").copy(interpretation="srgb", xres=2000, yres=2000)
    image.tiffsave(path, tile=True, compression="deflate", tile_width=512, tile_height=512)
    slide = Slide(path, slide_mpp=0.5)
    read, windows = slide.pixels.read, []
    monkeypatch.setattr(slide.pixels, "read", lambda *a: windows.append(a) or read(*a))
    for mpp in (50.0, 36.7):  # all of its 45 MB, on the pixel grid and off it
        size = slide.size_at(mpp)
        got = slide.read_region(0, 0, *size, mpp)
        assert (got[1:-1, 1:-1] == [120, 30, 200]).all()  # the rim sees the white outside
    assert len(windows) > 2 * 50
    assert max(w * h for _, _, _, w, h in windows) < 700**2


def damage(path, keep):
    """Overwrite one base tile's bytes beyond a share that is kept with noise."""
    tags = tifftools.read_tiff(str(path))["ifds"][0]["tags"]
    offset = tags[tifftools.Tag.TileOffsets.value]["data"][5]
    count = tags[tifftools.Tag.TileByteCounts.value]["data"][5]
    with open(path, "r+b") as f:
        f.seek(offset + int(keep * count))
        f.write(np.random.default_rng(0).bytes(count - int(keep * count)))


@pytest.mark.parametrize("compression,keep", [("jpeg", 0), ("jpeg", 0.4), ("lzw", 0), ("deflate", 0)])
def test_a_damaged_tile_is_an_error_and_others_are_still_read(tmp_path, noise, compression, keep):
    path = write_tiff(tmp_path / "d.tiff", noise, compression=compression, pyramid=False)
    want = Slide(path).read_region(0, 0, 128, 128, 0.5)
    damage(path, keep)
    slide = Slide(path)  # tile 5, 128 px each and 8 in a row, starts at (640, 0)
    with pytest.raises(InputError, match=r"d\.tiff.*\(650, 10\).*damaged"):
        slide.read_region(650, 10, 50, 50, 0.5)
    np.testing.assert_array_equal(slide.read_region(0, 0, 128, 128, 0.5), want)


@pytest.mark.parametrize("compression", ["lzw", "deflate"])
def test_a_damaged_strip_is_an_error(tmp_path, noise, compression):
    """Such TIFFs are not OpenSlide's: libvips reads them."""
    path = write_tiff(tmp_path / "d.tiff", noise, compression=compression, tile=False, pyramid=False)
    np.testing.assert_array_equal(Slide(path).read_region(5, 5, 800, 600, 0.5), noise[5:605, 5:805])
    tags = tifftools.read_tiff(path)["ifds"][0]["tags"]
    offset, size = (tags[t]["data"][2] for t in (273, 279))  # StripOffsets, StripByteCounts
    with open(path, "r+b") as f:
        f.seek(offset + size // 2)
        f.write(bytes(size // 2))
    with pytest.raises(InputError, match=r"d\.tiff.*damaged"):
        Slide(path).read_region(0, 0, 900, 700, 0.5)


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "cut", "cut_jpg", "deep"])
def test_what_is_no_slide_is_one_clear_error(tmp_path, noise, kind):
    path = tmp_path / {"cut": "bad.tiff", "cut_jpg": "bad.jpg", "deep": "bad.tiff"}.get(kind, "bad.svs")
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is no slide\n" * 100)
    elif kind == "cut":
        whole = Path(write_tiff(path, noise, compression="jpeg")).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "cut_jpg":
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:20000])
    elif kind == "deep":
        image = pyvips.Image.new_from_array(noise.astype(np.uint16) * 256)
        image.copy(interpretation="rgb16").tiffsave(str(path))
    with pytest.raises(InputError, match="bad"):
        Slide(path, slide_mpp=0.5).read_region(0, 0, 10, 10, 0.5)


@needs_slides
@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_real_slide_cut_short_never_gives_pixels_that_were_not_in_it(tmp_path, share):
    path = tmp_path / "cut.svs"
    path.write_bytes(CMU.read_bytes()[: int(share * CMU.stat().st_size)])
    with pytest.raises(InputError, match="cut.svs"):
        Slide(path).read_region(0, 0, 2220, 2967, 0.499)


@pytest.mark.parametrize("bad", [{"mpp": 0}, {"mpp": float("nan")}, {"x_px": float("inf")}, {"width_px": 0}])
def test_regions_that_make_no_sense(noise_tiff, bad):
    region = {"x_px": 0, "y_px": 0, "width_px": 10, "height_px": 10, "mpp": 0.5, **bad}
    with pytest.raises(InputError, match="noise.tiff"):
        Slide(noise_tiff).read_region(**region)
    with pytest.raises(InputError, match="slide_mpp"):
        Slide(noise_tiff, slide_mpp=-1)
