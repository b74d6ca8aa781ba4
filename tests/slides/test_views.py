import os
import subprocess

import mhkd  # noqa: F401  (first)
from mhkd.data import read_view
from mhkd.errors import InputError
from mhkd.slides.images import MAX_PX, MAX_SIDE_PX, check_whole, image_size, read_rgb
from mhkd.slides.slide import Slide

import numpy as np
import pytest
import pyvips
from PIL import Image
from tiled_slides import write_slide


@pytest.fixture
def rgb():
    return np.random.default_rng(1).integers(0, 256, (43, 65, 3), np.uint8)


def entry(path, array, **more):
    Image.fromarray(array).save(path)
    return {"file_name": str(path), "height": array.shape[0], "width": array.shape[1], **more}


def test_hr_is_the_file_cropped_to_whole_lr_pixels(tmp_path, rgb):
    e = entry(tmp_path / "a.png", rgb)
    np.testing.assert_array_equal(read_view(e, "hr"), rgb)
    np.testing.assert_array_equal(read_view(e, "hr", 4), rgb[:40, :64])
    assert read_view(e, "hr", 4).flags.c_contiguous


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_lr_area_is_the_mean_of_its_block(tmp_path, rgb, factor):
    e = entry(tmp_path / "a.png", rgb)
    h, w = 43 // factor, 65 // factor
    blocks = rgb[: h * factor, : w * factor].astype(float).reshape(h, factor, w, factor, 3)
    got = read_view(e, "lr", factor)
    assert got.shape == (h, w, 3) and got.dtype == np.uint8
    assert np.abs(got - blocks.mean((1, 3))).max() <= 0.5


def test_lanczos_keeps_a_constant_and_differs_from_area(tmp_path, rgb):
    flat = entry(tmp_path / "flat.png", np.full((40, 40, 3), 77, np.uint8))
    assert (read_view(flat, "lr", 4, "lanczos") == 77).all()
    e = entry(tmp_path / "a.png", rgb)
    got = read_view(e, "lr", 4, "lanczos")
    assert got.shape == (10, 16, 3)
    assert np.abs(got.astype(int) - read_view(e, "lr", 4, "area")).max() > 5


def test_lr_file_is_used_as_it_is_and_must_have_the_size(tmp_path, rgb):
    e = entry(tmp_path / "a.png", rgb)
    lr = 255 - rgb[:10, :16]
    Image.fromarray(lr).save(tmp_path / "lr.png")
    e["lr_file_name"] = str(tmp_path / "lr.png")
    np.testing.assert_array_equal(read_view(e, "lr", 4), lr)
    np.testing.assert_array_equal(read_view(e, "hr", 4), rgb[:40, :64])
    with pytest.raises(InputError, match=r"lr\.png.*16x10.*INPUT\.LR_FACTOR 2.*32x21"):
        read_view(e, "lr", 2)


def test_modes_and_orientation_come_out_as_upright_rgb(tmp_path, rgb):
    Image.fromarray(rgb[..., 0]).save(tmp_path / "grey.png")
    e = {"file_name": str(tmp_path / "grey.png"), "height": 43, "width": 65}
    np.testing.assert_array_equal(read_view(e, "hr"), np.repeat(rgb[..., :1], 3, 2))

    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    Image.fromarray(rgb).save(tmp_path / "side.png", exif=exif)
    assert image_size(tmp_path / "side.png") == (43, 65)
    e = {"file_name": str(tmp_path / "side.png"), "height": 65, "width": 43}
    np.testing.assert_array_equal(read_view(e, "hr"), np.rot90(rgb, -1))


def test_bad_images_are_one_clear_error(tmp_path, rgb):
    e = entry(tmp_path / "a.png", rgb)
    with pytest.raises(InputError, match=r"a\.png: is 65x43 px.*says 64x43"):
        read_view({**e, "width": 64}, "hr")
    with pytest.raises(InputError, match=r"gone\.png: there is no such image"):
        read_view({**e, "file_name": str(tmp_path / "gone.png")}, "lr", 4)
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"cut\.png: cannot be decoded"):
        read_view({**e, "file_name": str(tmp_path / "cut.png")}, "hr")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(InputError, match=r"text\.png: is no image"):
        read_view({**e, "file_name": str(tmp_path / "text.png")}, "hr")
    Image.fromarray(rgb[..., 0].astype(np.uint16) * 200).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match=r"deep\.png: has more than 8 bits"):
        read_view({**e, "file_name": str(tmp_path / "deep.png")}, "hr")


@pytest.mark.parametrize(
    "args,message",
    [
        (("both",), "view"),
        (("lr", 0), "LR_FACTOR"),
        (("lr", 2.5), "LR_FACTOR"),
        (("lr", 4, "nearest"), "LR_FILTER"),
        (("lr", 64), "less than one pixel"),
    ],
)
def test_bad_parameters(tmp_path, rgb, args, message):
    with pytest.raises(InputError, match=message):
        read_view(entry(tmp_path / "a.png", rgb), *args)


def test_both_views_of_a_region_show_the_same_tissue(tmp_path):
    slide = np.random.default_rng(2).integers(0, 256, (600, 700, 3), np.uint8)
    path = str(tmp_path / "slide.tiff")
    image = pyvips.Image.new_from_array(slide).copy(interpretation="srgb", xres=4000, yres=4000)
    image.tiffsave(path, tile=True, pyramid=True, resunit="cm")  # 0.25 um per pixel
    region = {"slide_file": path, "x_px": 30, "y_px": 50, "mpp": 0.5}
    e = {"file_name": path, "height": 130, "width": 90, "region": region}
    block = slide[50 : 50 + 256, 30 : 30 + 176].astype(float)  # base pixels of 128 x 88 HR pixels
    hr = read_view(e, "hr", 4)
    assert hr.shape == (128, 88, 3)
    assert np.abs(hr - block.reshape(128, 2, 88, 2, 3).mean((1, 3))).max() <= 0.5
    lr = read_view(e, "lr", 4)  # one rounding from the base level, not two by way of HR
    assert lr.shape == (32, 22, 3)
    assert np.abs(lr - block.reshape(32, 8, 22, 8, 3).mean((1, 3))).max() <= 0.5
    assert read_view(e, "lr", 4, "lanczos").shape == (32, 22, 3)
    # the region may say what its slide does not
    e["region"] = {**region, "slide_mpp": 0.5}
    np.testing.assert_array_equal(read_view(e, "hr"), slide[50:180, 30:120])


def test_an_image_starts_no_program_and_is_no_bomb(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 40\nshowpage\n")
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(a))
    with pytest.raises(InputError, match=r"a\.png: is no image"):
        read_rgb(path)
    assert not started
    Image.new("1", (MAX_PX // 9000 + 1, 9000)).save(path)
    for read in (read_rgb, image_size):
        with pytest.raises(InputError, match=r"a\.png: has 19885x9000 px, more than 178 megapixels"):
            read(path)
    Image.new("1", (1, MAX_SIDE_PX + 1)).save(path)
    with pytest.raises(InputError, match=r"a\.png: has 1x1000001 px, .* or longer than 1000000 px"):
        image_size(path)
    path.unlink()
    os.mkfifo(path)
    for read in (read_rgb, image_size, check_whole):
        with pytest.raises(InputError, match=r"a\.png: is no file"):
            read(path)


def test_the_largest_image_is_one_without_a_warning(tmp_path, recwarn):
    """Of as many pixels as Pillow takes, from their header: a few test sets have such regions."""
    path, size = tmp_path / "a.png", (MAX_PX // 9000, 9000)
    Image.new("1", size).save(path)
    assert image_size(path) == size and not recwarn.list


def test_a_region_is_no_coarser_than_can_be_read(tmp_path):
    slide = Slide(write_slide(tmp_path, "a"))  # 600 x 400 px of 1 um
    assert slide.read_region(0, 0, 1, 1, 4000).shape == (1, 1, 3)
    with pytest.raises(InputError, match="1e.09 um per pixel: each would be 1000000000"):
        slide.read_region(0, 0, 1, 1, 1e9)
