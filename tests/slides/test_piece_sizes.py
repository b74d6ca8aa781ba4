"""A tile's or strip's width and length against what is in it, where their number says nothing."""

import mhkd  # noqa: F401  (first)
from mhkd.errors import InputError
from mhkd.slides import piece_sizes, tiff
from mhkd.slides.piece_sizes import check_piece_sizes
from mhkd.slides.slide import Slide
from mhkd.slides.tiff import read_pages

import numpy as np
import pytest
import pyvips
from tiff_pages import RGB, edit, page, write

_ROWS, _TILE_WIDTH, _TILE_LENGTH = 278, 322, 323
KINDS = [
    {"compression": codec, "predictor": predictor}
    for codec in ("lzw", "deflate", "packbits", "none")
    for predictor in (("none", "horizontal") if codec in ("lzw", "deflate") else ("none",))
]
NAMES = ["-".join(kind.values()) for kind in KINDS]


NOISE = np.random.default_rng(2).integers(0, 256, RGB.shape, np.uint8)


def save(folder, **options):
    path = folder / "a.tiff"
    image = pyvips.Image.new_from_array(RGB).copy(xres=2000, yres=2000, interpretation="srgb")
    image.tiffsave(str(path), resunit="cm", **options)
    return path


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
@pytest.mark.parametrize("pyramid", [False, True])
def test_sound_tiles_and_strips_are_read(tmp_path, kind, pyramid):
    layouts = [{"tile": True, "tile_width": 64, "tile_height": 48, "pyramid": pyramid}, {"tile": False}]
    for layout in layouts[: 1 if pyramid else 2]:
        slide = Slide(save(tmp_path, **kind, **layout))
        np.testing.assert_array_equal(slide.read_region(0, 0, 420, 300, slide.mpp), RGB)


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
@pytest.mark.parametrize(
    "tag, value", [(_TILE_WIDTH, 127), (_TILE_WIDTH, 112), (_TILE_LENGTH, 127), (_TILE_LENGTH, 120)]
)
def test_a_tile_of_another_size(tmp_path, kind, tag, value):
    """420 x 300 px are four times three tiles all the same."""
    path = edit(save(tmp_path, tile=True, tile_width=128, tile_height=128, **kind), tag, [value])
    with pytest.raises(InputError, match=r"a\.tiff: is damaged \(its pieces are not of the 1"):
        Slide(path).size_px  # noqa: B018


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_strips_of_another_height(tmp_path, kind):
    path = save(tmp_path, tile=False, **kind)
    pages = read_pages(path)
    rows = pages[0].unit_px[1]
    assert len(pages[0].offsets) == -(-300 // rows) == -(-300 // (rows - 1)) > 1
    check_piece_sizes(path, pages)
    edit(path, _ROWS, [rows - 1])
    with pytest.raises(InputError, match="its pieces are not of the 420x"):
        check_piece_sizes(path, read_pages(path))


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_every_piece_has_the_length_that_is_counted(tmp_path, kind):
    """Noise, which LZW makes longer, blank and drawn tiles."""
    for k, picture in enumerate((RGB, np.full_like(RGB, 255), NOISE)):
        image = pyvips.Image.new_from_array(picture)
        for layout in ({"tile": True, "tile_width": 128, "tile_height": 64}, {"tile": False}):
            path = tmp_path / f"{k}.tiff"
            image.tiffsave(str(path), **kind, **layout)
            (page,) = read_pages(path)
            content, count = path.read_bytes(), piece_sizes._LENGTHS[page.first(tiff.COMPRESSION)]
            whole = len(page.offsets) - (300 % page.unit_px[1] > 0 if not page.is_tiled else 0)
            for at, n in list(zip(page.offsets, page.byte_counts))[:whole]:
                assert count(content[int(at) : int(at + n)], 10**9) == page.unit_bytes


def test_a_smaller_level_is_looked_at_too(tmp_path):
    small = page(np.ascontiguousarray(RGB[::2, ::2]), subfile=1)  # 210 x 150: four times three tiles of 64
    path = edit(write(tmp_path, page(RGB), small), _TILE_LENGTH, [60], number=1)
    with pytest.raises(InputError, match="64x60 px"):
        check_piece_sizes(path, read_pages(path))


def test_tiles_without_bytes_and_undecodable_ones_are_left_to_the_reader(tmp_path):
    path = write(tmp_path, page(RGB, empty=set(range(34))))
    check_piece_sizes(path, read_pages(path))
    content, place = bytearray(path.read_bytes()), int(read_pages(path)[0].offsets[34])
    content[place : place + 20] = bytes(20)
    path.write_bytes(content)
    check_piece_sizes(path, read_pages(path))
    with pytest.raises(InputError, match=r"pixels at base pixel \(384, 256\) are damaged"):
        Slide(path).read_region(384, 256, 36, 44, 0.5)
