from dataclasses import replace

from mhkd.palette import class_colors
from mhkd.slide_detection import Detections
from mhkd.slide_detection.exports.overview import draw_overview
from mhkd.slides.slide import Slide

import numpy as np
import pytest
import pyvips

PINK = (200, 120, 180)


def near(pixel, color):
    return np.abs(np.asarray(pixel, int) - color).max() <= 3


def test_boxes_lie_where_the_objects_are(slide, found):
    """Not enlarged, so base pixels are the picture's: on a box its colour, inside and outside tissue."""
    picture = np.asarray(draw_overview(slide, found))
    colors = class_colors(found.class_names)
    assert picture.shape[1] == 600 and picture.shape[0] > 400
    for (x0, y0, x1, y1), c in zip(found.boxes_px.round().astype(int), found.classes):
        color = colors[found.class_names[c]]
        x, y = (x0 + x1) // 2, (y0 + y1) // 2
        for edge in (picture[y, x0], picture[y, x1], picture[y0, x], picture[y1, x]):
            assert near(edge, color)
        assert near(picture[y, x], PINK) and near(picture[y, x0 - 8], PINK)


def test_large_slides_are_scaled_down(slide, found):
    picture = np.asarray(draw_overview(slide, found, max_px=150))
    assert picture.shape[1] == 150
    color = class_colors(found.class_names)["normal"]
    assert near(picture[25, 25], color)  # the left side of the first box, 100 px at a quarter
    assert near(picture[25, 37], PINK)


def test_legend_shows_each_class(slide, found):
    strip = np.asarray(draw_overview(slide, found))[400:].reshape(-1, 3)
    for color in class_colors(found.class_names).values():
        assert (strip == color).all(axis=1).sum() > 50


def test_a_narrow_core_has_its_whole_legend_and_its_name(tmp_path):
    """40 px wide: the strip is as wide as the longest text, and ends in white behind it."""
    path = tmp_path / "core.tiff"
    pixels = np.full((400, 40, 3), PINK, np.uint8)
    pyvips.Image.new_from_array(pixels).copy(xres=2000, yres=2000, interpretation="srgb").tiffsave(
        str(path), tile=True, resunit="cm"
    )
    found = Detections([[5, 5, 30, 30]], [0.9], [0], ("normal", "sclerotic", "a class with a long name " * 3))
    titled, plain = (np.asarray(draw_overview(Slide(path), found, t)) for t in ("core.tiff, score ≥ 0.5", ""))
    assert (titled[:400, 40:] == 255).all() and near(titled[300, 20], PINK)
    assert titled.shape[0] - plain.shape[0] == 28  # a line of 14 px letters
    dark = (titled[400:] < 100).all(axis=2)
    assert dark[:28].any() and dark[:, 40:].any() and not dark[:, -2:].any()
    assert not dark[28:].any(axis=1)[[0, -1]].any()


def test_scale_bar_is_as_long_as_it_says(slide, found):
    """The slide is 300 um wide, a quarter is 75 um: the bar is 50 um, 100 px."""
    strip = np.asarray(draw_overview(slide, found))[-14]
    assert np.flatnonzero((strip == 0).all(axis=1))[:101].tolist() == list(range(7, 108))


@pytest.mark.parametrize("box", [[0, 0, 600, 400], [-5, -5, 3, 3], [599, 399, 600, 400]])
def test_boxes_at_the_border(slide, box):
    found = Detections([box], [0.9], [0], ("a class with a long name " * 5,))
    picture = np.asarray(draw_overview(slide, found))
    assert (picture[:400] == class_colors(found.class_names)[found.class_names[0]]).all(axis=2).any()


def test_a_very_long_name_is_shortened_in_the_middle_and_widens_nothing(slide, found):
    name = "S2021-004711_" + "PAS_" * 120 + "block_7.svs"
    short, long = (draw_overview(slide, found, f"{n}, score 0.5 or more") for n in ("S2.svs", name))
    assert long.size == short.size == (600, short.height)
    line, begin = (np.asarray(p)[400:428, :, 0] for p in (long, draw_overview(slide, found, name[:15])))
    assert (line[:, 7:100] == begin[:, 7:100]).all()  # as it begins
    dark = np.flatnonzero((line < 100).any(axis=0))
    assert 570 < dark[-1] < 593  # to the margin, and no further
    other = draw_overview(slide, found, f"{name}, score 0.7 or more")
    assert (np.asarray(other)[400:428, :300, 0] == line[:, :300]).all()
    assert (np.asarray(other)[400:428, 300:, 0] != line[:, 300:]).any()  # the end is there


def test_names_that_cannot_be_drawn_in_one_line_are_drawn_as_they_can(slide, found):
    """Line breaks, what a terminal obeys and halves of letters are blanks; long names are cut."""
    odd = Detections([[5, 5, 30, 30]], [0.9], [0], ("a\nb", "\x1b[2J", "\ud800", "x" * 100_000))
    plain = replace(odd, class_names=("a b", " [2J", " ", "x" * 197 + "…"))
    pictures = [np.asarray(draw_overview(slide, *both)) for both in ((odd, "a\r\nb\u202e"), (plain, "a  b "))]
    assert pictures[0].shape == pictures[1].shape and pictures[0].shape[1] < 4000
    written = [(p[400:] < 100).all(axis=2) for p in pictures]
    assert (written[0] == written[1]).all() and written[0].sum() > 1000
