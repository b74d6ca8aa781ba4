"""Hamamatsu's NDPA beside a slide that is written as its scanners do: nanometres from the glass' middle."""

from mhkd.annotations import find_annotations, read_annotations
from mhkd.annotations.folders import annotations_in, unused
from mhkd.errors import InputError
from mhkd.slides.slide import Slide

import numpy as np
import pytest
from ndpi_slide import write_ndpi

# Its base pixel is 500 x 250 nm, so its middle, (200, 150), is at (1 mm, -2 mm) and its corner here:
CORNER_NM = (900_000, -2_037_500)
POINT = "<point><x>{}</x><y>{}</y></point>"
OUTLINE = "<pointlist>" + "".join(
    POINT.format(CORNER_NM[0] + x * 500, CORNER_NM[1] + y * 250)
    for x, y in [(100, 50), (140, 50), (140, 90), (100, 90)]
)
OUTLINE += "</pointlist>"
CIRCLE = "<x>1000000</x><y>-2000000</y><radius>5000</radius>"


def view(title, kind, content, unit="nanometers"):
    return (
        f'<ndpviewstate id="1"><title>{title}</title><details/><coordformat>{unit}</coordformat>'
        "<lens>40</lens>"
        f'<x>7</x><y>8</y><z>0</z><annotation type="{kind}" displayname="Annotate" color="#ff0000">'
        f"<measuretype>0</measuretype>{content}</annotation></ndpviewstate>"
    )


def write(path, *views):
    declaration = '<?xml version="1.0" encoding="utf-8" standalone="yes"?>'
    path.write_text(f"{declaration}\n<annotations>{''.join(views)}</annotations>")
    return path


@pytest.fixture
def slide(tmp_path):
    write_ndpi(tmp_path / "a.ndpi", (400, 300), offset_nm=(1_000_000, -2_000_000))
    return Slide(tmp_path / "a.ndpi")


def test_shapes_and_titles(tmp_path, slide):
    write(
        tmp_path / "a.ndpi.ndpa",
        view(" sclerotic ", "freehand", f"<closed>1</closed>{OUTLINE}"),
        view("", "freehand", f"{OUTLINE}<specialtype>rectangle</specialtype>"),
        view("normal", "circle", CIRCLE),
        view("seen", "pin", "<x>900500</x><y>-2037000</y><icon>pinblue</icon>"),
        view("duct", "freehand", f"<closed>0</closed>{OUTLINE}"),
        view("", "linearmeasure", "<x1>0</x1><y1>0</y1><x2>9</x2><y2>9</y2>"),
        view("", "note", ""),
    )
    path = find_annotations(slide.path)
    found = read_annotations(path, slide, point_diameter_px=2)
    assert found.format == "Hamamatsu NDPA" and path.endswith("a.ndpi.ndpa")
    assert [a.name for a in found] == ["sclerotic", None, "normal", "seen"]
    boxes = [(100, 50, 140, 90), (100, 50, 140, 90), (190, 130, 210, 170), (0, 1, 2, 3)]
    np.testing.assert_allclose([a.geometry.bounds for a in found], boxes, atol=0.01)
    assert found.counts == {"lines left out": 2, "annotations of the type 'note' left out": 1}


def test_what_is_drawn_lies_on_what_is_seen(tmp_path, slide):
    """The slide's dark spot, from (30, 10) to (60, 20)."""
    x, y = CORNER_NM[0] + 45 * 500, CORNER_NM[1] + 15 * 250
    write(tmp_path / "a.ndpa", view("g", "circle", f"<x>{x}</x><y>{y}</y><radius>1000</radius>"))
    (found,) = read_annotations(tmp_path / "a.ndpa", slide)
    left, top, right, bottom = (round(v) for v in found.geometry.bounds)
    assert slide.pixels.read(1, left, top, right - left, bottom - top).max() < 150


@pytest.mark.parametrize(
    "content, fault",
    [
        (view("g", "circle", CIRCLE, unit="pixels"), "view 1 counts in pixels"),
        (view("g", "circle", "<x>1</x><y>2</y>"), "view 1 has the point"),
        (view("g", "freehand", "<pointlist><point><x>a</x><y>1</y></point></pointlist>"), "the point"),
        (view("g", "circle", CIRCLE)[:200], "cut short"),
        (view("g", "pin", "<x>90000000</x><y>0</y>"), "none of its 1 objects lies on the slide"),
    ],
)
def test_faults_name_the_file(tmp_path, slide, content, fault):
    path = write(tmp_path / "a.ndpi.ndpa", content)
    with pytest.raises(InputError, match=fault) as error:
        read_annotations(path, slide, point_diameter_px=2)
    assert str(path) in str(error.value)


def test_without_its_slide(tmp_path, one_level_slide):
    path = write(tmp_path / "a.ndpi.ndpa", view("g", "circle", CIRCLE))
    with pytest.raises(InputError, match="read with its .ndpi slide only"):
        read_annotations(path, size_px=(400, 300))
    write_ndpi(tmp_path / "a.ndpi", (400, 300))
    for other in (tmp_path / "a.ndpi", one_level_slide):
        with pytest.raises(InputError, match="does not record where that is"):
            read_annotations(path, Slide(other))


def test_one_of_no_slide_is_named(tmp_path, slide):
    write(tmp_path / "b.ndpi.ndpa", view("g", "circle", CIRCLE))
    (left,) = unused(annotations_in(tmp_path), [slide.path], {slide.path: ""})
    assert left.path.endswith("b.ndpi.ndpa") and "named like none of the slides" in left.reason
