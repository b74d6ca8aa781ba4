import json

import mhkd  # noqa: F401  (first)
from mhkd.errors import InputError
from mhkd.wsi.annotations import read_annotations

import pytest
from shapely.geometry import MultiPolygon, Polygon

SQUARE = [[10, 10], [30, 10], [30, 30], [10, 30], [10, 10]]
HOLE = [[15, 15], [20, 15], [20, 20], [15, 20], [15, 15]]
BOW_TIE = [[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]  # two triangles of 25 each


def feature(kind, coordinates, **properties):
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def read(tmp_path, content):
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(content))
    return read_annotations(str(path))


def test_containers(tmp_path):
    one = feature("Polygon", [SQUARE])
    for content in (one, [one], {"type": "FeatureCollection", "features": [one]}):
        [found] = read(tmp_path, content)
        assert found.geometry.equals(Polygon(SQUARE)) and found.name is None
    for content in ([], {"type": "FeatureCollection", "features": []}):
        assert list(read(tmp_path, content)) == []


def test_holes_and_parts(tmp_path):
    far = [[100 + x, y, 0.0] for x, y in SQUARE]  # a third coordinate is no harm
    parts = [{"type": "Polygon", "coordinates": [ring]} for ring in (SQUARE, far)]
    collection = {"type": "GeometryCollection", "geometries": parts}
    content = [
        feature("Polygon", [SQUARE, HOLE]),
        feature("MultiPolygon", [[SQUARE, HOLE], [far]]),
        feature("MultiPolygon", [[SQUARE]]),
        {"type": "Feature", "geometry": collection},
    ]
    shapes = [a.geometry for a in read(tmp_path, content)]
    assert [s.area for s in shapes] == [400 - 25, 800 - 25, 400, 800]
    assert isinstance(shapes[1], MultiPolygon) and isinstance(shapes[2], Polygon)


def test_class_names(tmp_path):
    names = [
        {"classification": {"name": "Sclerotic", "color": [1, 2, 3]}},
        {"classification": "Normal"},
        {"classification": {"names": ["Tumor", "Positive"]}},
        {"classification": None},
        {"classification": {}},
        {"objectType": "annotation"},
    ]
    content = [feature("Polygon", [SQUARE], **n) for n in names]
    content.append({**feature("Polygon", [SQUARE]), "properties": None})
    found = [a.name for a in read(tmp_path, content)]
    assert found == ["Sclerotic", "Normal", "Tumor: Positive", None, None, None, None]


def test_what_is_no_area_is_counted(tmp_path):
    content = [
        feature("Point", [1, 2]),
        feature("MultiPoint", [[1, 2], [3, 4]]),
        feature("LineString", [[1, 2], [3, 4]]),
        {**feature("Polygon", [SQUARE]), "geometry": None},
        feature("Polygon", [[[1, 1], [2, 2]]]),
        feature("Polygon", [[[1, 1], [2, 2], [3, 3], [1, 1]]]),
        feature("Polygon", [BOW_TIE]),
        feature("Polygon", [SQUARE]),
    ]
    found = read(tmp_path, content)
    assert [a.geometry.area for a in found] == [50, 400]
    for count in ("3 points", "1 lines", "1 objects without", "2 outlines without an area"):
        assert count in found.summary()
    assert "1 outlines that cross themselves repaired" in found.summary()


@pytest.mark.parametrize(
    "content,message",
    [
        ([feature("Polygon", [SQUARE]), feature("Circle", [1])], "feature 2 .*Circle"),
        ([feature("Polygon", [SQUARE], classification=[])], "feature 1 has the class name"),
        ([feature("Polygon", [SQUARE]), 3], "feature 2 is no GeoJSON feature"),
    ],
)
def test_bad_features_are_named(tmp_path, content, message):
    with pytest.raises(InputError, match=f"a.geojson: {message}"):
        read(tmp_path, content)
