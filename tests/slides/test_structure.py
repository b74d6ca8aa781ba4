"""What a slide's parts say of each other: damage that they show is refused, sound oddity is read."""

import mhkd  # noqa: F401  (first)
from mhkd.errors import InputError
from mhkd.slides import structure, tiff
from mhkd.slides.slide import Slide

import _tiff_writer as writer
import cv2
import numpy as np
import pytest
import pyvips
from tiff_pages import RGB, TILE_PX, edit, level, page, write


def read(path):
    slide = Slide(path)
    return slide.read_region(0, 0, *slide.size_px, slide.mpp)


def test_a_sound_pyramid_is_read(tmp_path):
    path = write(tmp_path, page(RGB), level(2), level(4))
    np.testing.assert_array_equal(read(path), RGB)
    assert Slide(path).pixels.downsamples == [1, 2, 4]


@pytest.mark.parametrize(
    "sizes, sound",
    [
        ([(1001, 613), (500, 306), (250, 153)], True),  # rounded down, again and again
        ([(1001, 613), (501, 307), (251, 154)], True),  # up
        ([(46000, 32914), (11500, 8228), (2875, 2057)], True),
        ([(1000, 10), (250, 3), (62, 1)], True),
        ([(1001, 613), (500, 300)], False),
        ([(1061, 613), (500, 306)], False),
        ([(1001, 613), (613, 1001)], False),
    ],
)
def test_sizes_of_levels(sizes, sound):
    if sound:
        structure.check_sizes("a.tiff", sizes)
    else:
        with pytest.raises(InputError, match=rf"a\.tiff: is damaged \(its levels are {sizes[0][0]}x"):
            structure.check_sizes("a.tiff", sizes)


@pytest.mark.parametrize("pages", [1, 2])
@pytest.mark.parametrize(
    "tag, values, fault",
    [
        (324, lambda page: page.offsets[1:2], "parts of it lie in the same bytes"),  # another's place
        (324, lambda page: [6], "parts of it lie in the same bytes"),  # in the header
        (324, lambda page: [page.offsets[0] + 9], "parts of it lie in the same bytes"),
        (325, lambda page: [page.byte_counts[0] + 9], "parts of it lie in the same bytes"),
        (325, lambda page: [0], "has lost its length"),
        (323, lambda page: [TILE_PX // 2], "which are 70 pieces, and has 35"),
        (323, lambda page: [TILE_PX * 2], "which are 21 pieces, and has 35"),
        (257, lambda page: [200], "which are 28 pieces, and has 35"),
    ],
)
def test_damage_that_the_tags_show(tmp_path, pages, tag, values, fault):
    path = write(tmp_path, page(RGB), level(2)) if pages == 2 else write(tmp_path, page(RGB))
    edit(path, tag, [int(v) for v in values(tiff.read_pages(path)[0])])
    with pytest.raises(InputError, match=rf"a\.tiff: is damaged.*{fault}"):
        Slide(path).size_px  # noqa: B018


def test_a_lost_base_is_refused_and_a_lost_level_is_not_missed(tmp_path):
    path = write(tmp_path, page(RGB), level(2), level(4))
    content = path.read_bytes()
    first, second, third = (p.place for p in tiff.read_pages(path))
    path.write_bytes(content[:4] + second[0].to_bytes(4, "little") + content[8:])
    with pytest.raises(InputError, match="belong to none of its pages: one is lost"):
        Slide(path).size_px  # noqa: B018
    path.write_bytes(content[: first[1] - 4] + third[0].to_bytes(4, "little") + content[first[1] :])
    assert Slide(path).pixels.downsamples == [1, 4]
    np.testing.assert_array_equal(read(path), RGB)


def test_levels_of_other_pixels_are_refused(tmp_path):
    other = page(cv2.resize(RGB[::-1], (105, 75), interpolation=cv2.INTER_AREA), subfile=1)
    with pytest.raises(InputError, match="the level that is 4 times smaller shows something else"):
        Slide(write(tmp_path, page(RGB), level(2), other)).size_px  # noqa: B018
    path = edit(
        write(tmp_path, page(RGB, codec="jpeg"), level(2, codec="jpeg")), tiff.PHOTOMETRIC, [2], number=1
    )
    with pytest.raises(InputError, match="the level that is 2 times smaller shows something else"):
        Slide(path).size_px  # noqa: B018


@pytest.mark.parametrize(
    "levels_mpp, known", [((1.0, 2.0), True), ((0.5, 0.5), True), ((352.8, 352.8), True), ((0.7, 2.0), False)]
)
def test_a_resolution_that_a_level_contradicts_is_none(tmp_path, levels_mpp, known):
    slide = Slide(write(tmp_path, page(RGB), *(level(d, mpp=m) for d, m in zip((2, 4), levels_mpp))))
    assert slide.size_px == (420, 300)
    assert slide.pixels.mpp == (pytest.approx((0.5, 0.5)) if known else None)


@pytest.mark.parametrize("size, sound", [((420, 300), True), ((421, 300), False)])
def test_ome_xml_of_another_size(tmp_path, size, sound):
    words = '<OME><Image><Pixels SizeX="{}" SizeY="{}" SizeC="3"/></Image></OME>'.format(*size)
    base = page(RGB)
    base["tags"][270] = (writer.ASCII, words.encode() + b"\0")
    path = write(tmp_path, base)
    if sound:
        np.testing.assert_array_equal(read(path), RGB)
    else:
        with pytest.raises(InputError, match=r"says \(421, 300\), its pixels are \(420, 300\)"):
            Slide(path).size_px  # noqa: B018


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiles_that_were_left_out_are_white_and_the_rest_stays_where_it_is(tmp_path, order):
    """A whole row and a column of them: OpenSlide calls the rest the scanned part. It reads no ">"."""
    left_out = {*range(7), *range(0, 35, 7)}
    got = read(write(tmp_path, page(RGB, empty=left_out), order=order))
    want = RGB.copy()
    want[:TILE_PX], want[:, :TILE_PX] = 255, 255
    np.testing.assert_array_equal(got, want)


def test_what_a_sparse_level_lacks_is_read_from_a_finer_one(tmp_path):
    path = write(tmp_path, page(RGB, empty={0}), level(2, empty={0, 1, 5}))
    slide = Slide(path)
    want = RGB.copy()
    want[:TILE_PX, :TILE_PX] = 255
    want = want.reshape(150, 2, 210, 2, 3).mean((1, 3))
    got = slide.read_region(0, 0, 210, 150, 1.0, from_base=False)
    assert slide.pixels.downsamples == [1, 2]
    assert np.abs(got - want).max() <= 1  # rounded


def test_plain_tiles_of_any_length_are_read(tmp_path):
    """OpenSlide reads those of a multiple of 1024 bytes."""
    path = tmp_path / "a.tiff"
    pyvips.Image.new_from_array(RGB).copy(xres=2000, yres=2000).tiffsave(
        str(path), tile=True, tile_width=48, tile_height=48, compression="none", resunit="cm"
    )
    np.testing.assert_array_equal(read(path), RGB)


def test_levels_under_a_page_are_no_lost_ones(tmp_path):
    path = tmp_path / "a.tiff"
    pyvips.Image.new_from_array(RGB[:60, :60]).copy(xres=2000, yres=2000).tiffsave(
        str(path), tile=True, tile_width=16, tile_height=64, pyramid=True, depth="onepixel", subifd=True,
        compression="none", resunit="cm",
    )  # fmt: skip
    assert len(tiff.read_pages(path)[0].sub_pages) > 1
    np.testing.assert_array_equal(read(path), RGB[:60, :60])


def test_after_an_error_of_libvips_other_pixels_are_right(tmp_path):
    """It reads the big-endian ones; of what was open it would give black."""
    path = write(tmp_path, page(RGB), order=">")
    place = int(tiff.read_pages(path)[0].offsets[9])  # the third in the second row
    content = bytearray(path.read_bytes())
    content[place + 20 : place + 60] = bytes(40)
    path.write_bytes(content)
    slide = Slide(path)
    with pytest.raises(InputError, match="are damaged"):
        slide.read_region(128, 0, 64, 128, 0.5)
    for y in (0, 128, 192):
        np.testing.assert_array_equal(slide.read_region(128, y, 292, 64, 0.5), RGB[y : y + 64, 128:420])


def test_a_level_rounded_down_to_whole_tiles_is_read(tmp_path):
    """The last column of the base has no pixel on it."""
    picture = np.ascontiguousarray(RGB[:257, :257])
    small = cv2.resize(picture, (128, 128), interpolation=cv2.INTER_AREA)
    for codec in ("deflate", "jpeg"):
        slide = Slide(write(tmp_path, page(picture, codec=codec), page(small, codec=codec, subfile=1)))
        assert slide.pixels.downsamples == [1, 2]
        got = slide.read_region(0, 0, 129, 129, 1.0, from_base=False)
        assert np.abs(got[:128, :128].astype(int) - small).mean() < 8  # JPEG halves the chroma


def test_a_level_of_a_rounded_size_is_compared_where_it_shows_the_same(tmp_path):
    """90 px wide and 64 high for 727 x 519 px: near the far corner a level's pixel is half of one further."""
    rng = np.random.default_rng(1)
    picture = cv2.resize(
        rng.integers(0, 256, (65, 91, 3), np.uint8), (727, 519), interpolation=cv2.INTER_CUBIC
    )
    blank = np.full_like(picture, 255)
    blank[448:, 640:] = picture[448:, 640:]  # the one piece with much in it
    small = cv2.resize(blank, (90, 64), interpolation=cv2.INTER_AREA)
    slide = Slide(write(tmp_path, page(blank), page(small, subfile=1)))
    assert slide.pixels.downsamples == [1, 8]
    moved = np.full_like(blank, 255)
    moved[432:-16, 640:] = blank[448:, 640:]
    small = cv2.resize(moved, (90, 64), interpolation=cv2.INTER_AREA)
    with pytest.raises(InputError, match="the level that is 8 times smaller shows something else"):
        Slide(write(tmp_path, page(blank), page(small, subfile=1))).size_px  # noqa: B018


def test_zeros_after_the_end_are_no_lost_page(tmp_path):
    path = write(tmp_path, page(RGB))
    content = path.read_bytes()
    path.write_bytes(content + bytes(2 * len(content)))
    np.testing.assert_array_equal(read(path), RGB)
    path.write_bytes(content + b"x" * 2 * len(content))
    with pytest.raises(InputError, match="belong to none of its pages: one is lost"):
        Slide(path).size_px  # noqa: B018


def test_jpeg_tables_that_differ_in_one_byte(tmp_path):
    path = tmp_path / "a.tiff"
    image = pyvips.Image.new_from_array(RGB).copy(xres=2000, yres=2000, interpretation="srgb")
    image.tiffsave(
        str(path), tile=True, tile_width=64, tile_height=64, pyramid=True, compression="jpeg", resunit="cm"
    )
    pages = tiff.read_pages(path)
    tables = pages[1].tags[tiff.JPEG_TABLES]
    assert tables == pages[0].tags[tiff.JPEG_TABLES]
    assert Slide(path).size_px == (420, 300)
    content = bytearray(path.read_bytes())
    place = content.index(tables) + 40  # a number of the first table
    content[place] ^= 2
    path.write_bytes(content)
    with pytest.raises(InputError, match="the JPEG tables of two of its pages differ in one byte"):
        Slide(path).size_px  # noqa: B018
    structure.check_tables(path, [pages[0]])  # told once
