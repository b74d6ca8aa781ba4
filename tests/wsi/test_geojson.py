import json
import logging

import mhkd  # noqa: F401  (first)
from mhkd.errors import InputError
from mhkd.wsi.geojson import read_geojson

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, Polygon

SQUARE = [[10, 10], [30, 10], [30, 30], [10, 30], [10, 10]]
HOLE = [[15, 15], [20, 15], [20, 20], [15, 20], [15, 15]]
BOW_TIE = [[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]  # two triangles of 25 each


def feature(kind, coordinates, **properties):
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def write(tmp_path, content):
    path = tmp_path / "a.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.WARNING, "mhkd")
    return caplog


def test_containers(tmp_path):
    one = feature("Polygon", [SQUARE])
    for content in (one, [one], {"type": "FeatureCollection", "features": [one]}):
        [(geometry, name)] = read_geojson(write(tmp_path, content))
        assert geometry.equals(Polygon(SQUARE)) and name is None
    for content in ([], {"type": "FeatureCollection", "features": []}):
        assert read_geojson(write(tmp_path, content)) == []


def test_holes_and_parts(tmp_path):
    far = [[100 + x, y, 0.0] for x, y in SQUARE]  # a third coordinate is no harm
    content = [
        feature("Polygon", [SQUARE, HOLE]),
        feature("MultiPolygon", [[SQUARE, HOLE], [far]]),
        feature("MultiPolygon", [[SQUARE]]),
        {
            "type": "Feature",
            "geometry": {
                "type": "GeometryCollection",
                "geometries": [
                    {"type": "Point", "coordinates": [1, 2]},
                    {"type": "Polygon", "coordinates": [SQUARE]},
                ],
            },
        },
    ]
    shapes = [g for g, _ in read_geojson(write(tmp_path, content))]
    assert [s.area for s in shapes] == [400 - 25, 800 - 25, 400, 400]
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
    content = [feature("Polygon", [SQUARE], **n) for n in names] + [
        {**feature("Polygon", [SQUARE]), "properties": None}
    ]
    found = [n for _, n in read_geojson(write(tmp_path, content))]
    assert found == ["Sclerotic", "Normal", "Tumor: Positive", None, None, None, None]


def test_what_is_no_area_is_counted_in_one_warning(tmp_path, warnings):
    content = [
        feature("Point", [1, 2]),
        feature("MultiPoint", [[1, 2], [3, 4]]),
        feature("LineString", [[1, 2], [3, 4]]),
        {**feature("Polygon", [SQUARE]), "geometry": None},
        feature("Polygon", []),
        feature("Polygon", [[[1, 1], [2, 2]]]),
        feature("Polygon", [[[1, 1], [2, 2], [3, 3], [1, 1]]]),
        feature("Polygon", [BOW_TIE]),
        feature("Polygon", [SQUARE]),
    ]
    shapes = [g for g, _ in read_geojson(write(tmp_path, content))]
    assert [s.area for s in shapes] == [50, 400] and all(s.is_valid for s in shapes)
    [record] = warnings.records
    assert "a.geojson" in record.message
    for count in ("3 points", "1 objects without", "3 outlines without an area", "1 outlines that"):
        assert count in record.message


@pytest.mark.parametrize(
    "content,message",
    [
        ("", "is empty"),
        ('{"type": "FeatureColl', "no valid JSON"),
        ("[" * 100000, "no valid JSON"),
        ('"text"', "no GeoJSON"),
        ({"images": []}, "no GeoJSON"),
        ([3], "feature 1 is no GeoJSON feature"),
        ([feature("Polygon", [SQUARE]), feature("Circle", [1])], "feature 2 .*'Circle'"),
        ([feature("Polygon", [[[0, 0], [1, float("nan")], [1, 1]]])], "feature 1 .*finite"),
        ([feature("Polygon", [[[0, 0], [1, float("inf")], [1, 1]]])], "feature 1 .*finite"),
        ([feature("Polygon", [[[0, 0], [1, 1e300], [1, 1]]])], "feature 1 .*finite"),
        ([feature("Polygon", [[[0, 0], [1, "2"], [1, 1]]])], "feature 1 .*finite"),
        ([feature("Polygon", [[0, 0, 1, 1]])], "feature 1 .*finite"),
        ([feature("Polygon", {"x": 1})], "feature 1 has a polygon"),
        ([feature("MultiPolygon", None)], "feature 1 has no list"),
        ([feature("Polygon", [SQUARE], classification=7)], "feature 1 has the class name 7"),
    ],
)
def test_bad_files_are_one_clear_error(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as error:
        read_geojson(write(tmp_path, content))
    assert "a.geojson" in str(error.value)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(InputError, match=r"gone\.geojson: there is no such"):
        read_geojson(str(tmp_path / "gone.geojson"))
    (tmp_path / "b.geojson").write_bytes(b"\xff\xfe\x00\x01" * 10)
    with pytest.raises(InputError, match=r"b\.geojson: is no valid JSON"):
        read_geojson(str(tmp_path / "b.geojson"))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(["type", "geometry", "coordinates", "properties", "geometries"]), inner
        )
    ),
    max_leaves=8,
)
RINGS = st.lists(st.lists(st.floats(-1e4, 1e4) | VALUES, min_size=2, max_size=3), max_size=7)
GEOMETRIES = VALUES | st.fixed_dictionaries(
    {
        "type": st.sampled_from(["Polygon", "MultiPolygon", "Point", "GeometryCollection"]),
        "coordinates": st.lists(RINGS | st.lists(RINGS, max_size=3), max_size=3) | VALUES,
    }
)


@settings(max_examples=60, deadline=None)
@given(geometry=GEOMETRIES, properties=VALUES)
def test_anything_gives_valid_areas_or_an_input_error(tmp_path_factory, geometry, properties):
    content = {"type": "Feature", "geometry": geometry, "properties": properties}
    try:
        areas = read_geojson(write(tmp_path_factory.getbasetemp(), content))
    except InputError as e:
        assert "a.geojson" in str(e)
        return
    assert all(g.is_valid and g.area > 0 for g, _ in areas)
    assert all(isinstance(g, (Polygon, MultiPolygon)) for g, _ in areas)
