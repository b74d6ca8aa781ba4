"""TIFFs whose layout neither OpenSlide nor libvips takes, read pixel by pixel."""

from mhkd.errors import InputError
from mhkd.slides.sources import open_pixels
from mhkd.slides.vips_pixels import VipsPixels

import _tiff_writer as writer
import numpy as np
import pytest

PICTURE = np.random.default_rng(0).integers(0, 255, (90, 110, 3), np.uint8)


def write(path, tile_px, codec, planar=1, channels=3, thumbnail=True, **file):
    """PICTURE in tiles, planes apart or not, a smaller page before it; and what is read of it."""
    stored = PICTURE
    if channels == 4:
        stored = np.dstack([stored, np.full(stored.shape[:2], 255, np.uint8)])
    tags = writer.page_tags((110, 90), tile_px, codec, channels, True, 0.5, planar=planar)
    planes = [stored] if planar == 1 else [stored[..., k : k + 1] for k in range(channels)]
    pieces = [writer.encode(p, codec) for plane in planes for p in writer.cut(plane, tile_px)]
    pages = [{"tags": tags, "tiled": True, "pieces": pieces}]
    if thumbnail:
        small = [writer.encode(PICTURE[:20, :30], "deflate")]
        pages.insert(0, {"tags": writer.page_tags((30, 20), (30, 20), "deflate", tiled=False, subfile=1),
                         "tiled": False, "pieces": small})  # fmt: skip
    writer.write(path, pages, **file)
    if codec != "jpeg":
        return PICTURE
    (one,) = pieces
    return writer.decode(one, "jpeg", (*tile_px[::-1], 3))[:90, :110]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("codec, channels", [("none", 3), ("deflate", 3), ("none", 4)])
def test_planes_apart(tmp_path, order, big, codec, channels):
    write(tmp_path / "a.tiff", (48, 16), codec, 2, channels, order=order, big=big, gap=3)
    pixels = open_pixels(str(tmp_path / "a.tiff"))
    assert np.array_equal(pixels.read(1, 0, 0, 110, 90), PICTURE)
    assert np.array_equal(pixels.read(1, 40, 10, 60, 50), PICTURE[10:60, 40:100])
    assert pixels.mpp == (0.5, 0.5)


@pytest.mark.parametrize(
    "tile_px, codec", [((512, 512), "none"), ((1024, 128), "jpeg"), ((16, 400), "deflate")]
)
def test_tiles_larger_than_the_page(tmp_path, tile_px, codec):
    """Of a big-endian TIFF, which OpenSlide takes for none."""
    expected = write(tmp_path / "a.tiff", tile_px, codec, order=">", directories_first=True)
    pixels = open_pixels(str(tmp_path / "a.tiff"))
    assert isinstance(pixels, VipsPixels) and pixels.size_px == (110, 90)
    assert np.array_equal(pixels.read(1, 0, 0, 110, 90), expected)


def test_a_damaged_tile_is_an_error_and_the_others_are_right(tmp_path):
    path = tmp_path / "a.tiff"
    write(path, (48, 48), "deflate", 2, order=">", thumbnail=False)
    content = bytearray(path.read_bytes())
    content[12:200] = bytes(188)  # within the first tile of the first plane
    path.write_bytes(content)
    pixels = open_pixels(str(path))
    for _ in range(2):
        with pytest.raises(InputError, match=r"a\.tiff: its pixels at base pixel \(0, 0\) are damaged"):
            pixels.read(1, 0, 0, 20, 20)
        assert np.array_equal(pixels.read(1, 48, 48, 62, 42), PICTURE[48:, 48:])


@pytest.mark.parametrize("tile_px", [(32, 32), (512, 256)])
def test_jpeg_that_does_not_decode_without_a_complaint_is_damaged(tmp_path, tile_px):
    """libvips would fill what is missing."""
    path = tmp_path / "a.tiff"
    tags = writer.page_tags((110, 90), tile_px, "jpeg", mpp=0.5)
    pieces = [writer.encode(piece, "jpeg") for piece in writer.cut(PICTURE, tile_px)]
    middle = len(pieces[0]) * 3 // 4
    pieces[0] = pieces[0][:middle] + bytes(len(pieces[0]) - middle)
    writer.write(path, [{"tags": tags, "tiled": True, "pieces": pieces}], order=">")
    pixels = open_pixels(str(path))
    with pytest.raises(InputError, match=r"a\.tiff: its pixels at base pixel \(0, 0\) are damaged"):
        pixels.read(1, 0, 0, 20, 20)
