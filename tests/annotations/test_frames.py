import json

from mhkd.annotations import find_annotations, read_annotations
from mhkd.annotations.frames import offset_between, scale_to_slide
from mhkd.errors import InputError
from mhkd.slides.slide import Slide

import pytest

BOUNDS = {
    "openslide.bounds-x": "1000",
    "openslide.bounds-y": "2000",
    "openslide.bounds-width": "300",
    "openslide.bounds-height": "400",
}


def test_slides_with_bounds():
    """QuPath counts from the bounds' corner, ASAP from the canvas'; the slide from either."""
    cropped, whole = (300, 400), (9000, 9000)
    assert offset_between("QuPath GeoJSON", BOUNDS, cropped) == (0, 0)
    assert offset_between("QuPath GeoJSON", BOUNDS, whole) == (1000, 2000)
    assert offset_between("ASAP XML", BOUNDS, cropped) == (-1000, -2000)
    assert offset_between("ASAP XML", BOUNDS, whole) == (0, 0)
    assert offset_between("QuPath GeoJSON", {}, whole) == (0, 0)


def test_an_offset_moves_the_annotations(tmp_path):
    path = tmp_path / "a.geojson"
    ring = [[0, 0], [10, 0], [10, 20], [0, 20]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    path.write_text(json.dumps({"type": "Feature", "geometry": geometry, "properties": {}}))
    (found,) = read_annotations(path, offset_px=(1000, 2000))
    assert found.geometry.bounds == (1000, 2000, 1010, 2020)


def test_a_slide_without_bounds(tmp_path, one_level_slide):
    slide = Slide(one_level_slide)
    path = tmp_path / "a.geojson"
    ring = [[2200, 2950], [2300, 2950], [2300, 2990]]  # partly off the slide of 2220 x 2967
    features = [
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [r]}, "properties": {}}
        for r in (ring, [[x + 100, y] for x, y in ring])
    ]
    path.write_text(json.dumps(features))
    found = read_annotations(path, slide)
    assert [a.geometry.bounds for a in found] == [(2200, 2950, 2300, 2990)]
    assert found.counts == {"objects off the slide left out": 1}


@pytest.mark.parametrize(
    "image_px, slide_px, scale",
    [
        ((100, 50), (400, 200), (4, 4)),
        ((937, 625), (30000, 20001), (32, 32)),  # cut
        ((938, 626), (30000, 20001), (32, 32)),  # filled up
        ((100, 50), (100, 50), (1, 1)),
        ((1000, 667), (3500, 2333), (3.5, 2333 / 667)),
    ],
)
def test_scale_of_overviews(image_px, slide_px, scale):
    assert scale_to_slide("a", image_px, slide_px) == pytest.approx(scale)


@pytest.mark.parametrize("image_px", [(100, 60), (500, 250), (50, 100)])
def test_overviews_of_another_slide(image_px):
    with pytest.raises(InputError, match="another slide"):
        scale_to_slide("a", image_px, (400, 200))


def test_which_file_is_the_slides(tmp_path):
    slide = tmp_path / "a.tif"
    for name in ("a.tif", "b.json", "a.png", "a-anatomical-structure.json"):
        (tmp_path / name).touch()
    assert find_annotations(slide, tmp_path) == str(tmp_path / "a.png")
    (tmp_path / "a.xml").touch()
    assert find_annotations(slide, tmp_path) == str(tmp_path / "a.xml")
    (tmp_path / "a.tif.json").touch()
    with pytest.raises(InputError, match="a.tif.json and a.xml"):
        find_annotations(slide, tmp_path)
    with pytest.raises(InputError, match="no annotations of c.svs"):
        find_annotations(tmp_path / "c.svs", tmp_path)
    (tmp_path / "d.geojson").write_text("{}")
    assert find_annotations(tmp_path / "d.ome.tiff", tmp_path) == str(tmp_path / "d.geojson")
    assert find_annotations(slide, tmp_path / "a.png") == tmp_path.joinpath("a.png").as_posix()
