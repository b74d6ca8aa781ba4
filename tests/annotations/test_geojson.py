import json
import math

import mhkd  # noqa: F401  (first)
from mhkd.annotations import read_annotations
from mhkd.errors import InputError

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
        {"classification": {"names": "Tumor: Positive"}},
        {"classification": None},
        {"classification": {}},
        {"objectType": "annotation"},
    ]
    content = [feature("Polygon", [SQUARE], **n) for n in names]
    content.append({**feature("Polygon", [SQUARE]), "properties": None})
    found = [a.name for a in read(tmp_path, content)]
    assert found == ["Sclerotic", "Normal", "Tumor: Positive", "Tumor: Positive", None, None, None, None]


def test_what_is_no_area_is_counted(tmp_path):
    content = [
        feature("Point", [1, 2]),
        feature("MultiPoint", [[1, 2], [3, 4]]),
        feature("LineString", [[1, 2], [3, 4]]),
        {**feature("Polygon", [SQUARE]), "geometry": None},
        {**feature("Polygon", [SQUARE]), "geometry": {}},
        feature("Polygon", [[[1, 1], [2, 2]]]),
        feature("Polygon", [[[1, 1], [2, 2], [3, 3], [1, 1]]]),
        feature("Polygon", [BOW_TIE]),
        feature("Polygon", [SQUARE]),
    ]
    found = read(tmp_path, content)
    assert [a.geometry.area for a in found] == [50, 400]
    for count in ("3 points", "1 lines", "2 objects without", "2 outlines without an area"):
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


@pytest.mark.parametrize("kind", ["Point", "MultiPoint", "LineString", "Polygon", "MultiPolygon"])
@pytest.mark.parametrize("coordinates", [[], None, [[]]])
def test_empty_geometries_are_counted(tmp_path, kind, coordinates):
    content = [feature(kind, coordinates), feature("Polygon", [SQUARE])]
    [found] = read(tmp_path, content)
    assert found.geometry.area == 400
    assert sum(read(tmp_path, content).counts.values()) == 1


def test_collections(tmp_path):
    def collection(*parts):
        return {"type": "GeometryCollection", "geometries": list(parts)}

    square, point = {"type": "Polygon", "coordinates": [SQUARE]}, {"type": "Point", "coordinates": []}
    shapes = [collection(), collection(collection(square)), collection(None, point)]
    shapes += [collection(square, point), {"type": "GeometryCollection"}]
    found = read(tmp_path, [{"type": "Feature", "geometry": g} for g in shapes])
    assert [a.geometry.area for a in found] == [400, 400]
    assert found.counts == {"objects without a geometry left out": 4}


def test_a_file_without_a_readable_outline_is_refused(tmp_path):
    with pytest.raises(InputError, match="a.geojson: none of its 2 objects has an outline"):
        read(tmp_path, [feature("Polygon", []), {"type": "Feature", "geometry": None}])


def test_qupath_name_where_there_is_no_classification(tmp_path):
    content = [
        feature("Polygon", [SQUARE], objectType="annotation", name=" normal "),
        feature("Polygon", [SQUARE], name="3", classification={"name": "sclerotic"}),
        feature("Polygon", [SQUARE], name="x", classification={"name": "2"}),
        feature("Polygon", [SQUARE], name=7),
    ]
    assert [a.name for a in read(tmp_path, content)] == ["normal", "sclerotic", "2", None]


def test_tiles_and_cores_of_qupath_are_no_objects(tmp_path):
    """The type as QuPath 0.4 and later, 0.3 and 0.2 write it."""
    tile = feature("Polygon", [SQUARE], objectType="tile", classification={"name": "normal"})
    core = feature("Polygon", [SQUARE], object_type="tma_core", name="A-1", isMissing=False)
    old = {**feature("Polygon", [SQUARE]), "id": "PathTileObject"}
    cell = feature("Polygon", [SQUARE], objectType="detection", classification={"name": "normal"})
    found = read(tmp_path, [tile, core, old, cell])
    assert [a.name for a in found] == ["normal"]
    assert found.counts == {"tiles of QuPath left out": 2, "TMA cores of QuPath left out": 1}


def test_objects_within_objects(tmp_path):
    """QuPath's export of a hierarchy."""
    inner = feature("Polygon", [HOLE], classification={"name": "normal"})
    outer = feature("Polygon", [SQUARE], classification={"name": "Region*"}, childObjects=[inner])
    assert [(a.name, a.geometry.area) for a in read(tmp_path, [outer])] == [("Region*", 400), ("normal", 25)]
    broken = feature("Polygon", [SQUARE], childObjects=[inner, feature("Circle", [1])])
    with pytest.raises(InputError, match="feature 1, child 2 has a geometry"):
        read(tmp_path, [broken])


def corners(x, y, width, height, rotation=0.0):
    """As the Digital Slide Archive writes the corners around a shape, right for 0 and 45 degrees only."""
    cos, sin = math.cos(rotation), math.sin(rotation)
    ring = [(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]
    ring = [(i * width / 2, j * height / 2) for i, j in ring]
    return [[x + i * cos - j * sin, y + i * sin + j * (sin if rotation else 1), 0] for i, j in ring]


def test_shapes_of_the_digital_slide_archive(tmp_path):
    turn = {"width": 240, "height": 120, "rotation": math.pi / 4}
    steep = {"width": 200, "height": 100, "rotation": math.pi / 6}
    content = [
        feature("Polygon", [corners(1000, 400, 200, 160)], type="ellipse", width=200, height=160, rotation=0),
        feature("Polygon", [corners(1400, 800, *turn.values())], type="ellipse", **turn),
        feature("Polygon", [corners(700, 1000, 180, 180)], type="circle", radius=90),
        feature("Polygon", [corners(900, 900, *steep.values())], type="rectangle", **steep),
        feature("Polygon", [corners(50, 60, 40, 20)], type="rectangle"),
        feature("Polygon", [corners(50, 60, 40, 20)], type="ellipse"),
        feature("Polygon", [SQUARE], type="polyline"),
    ]
    found = read(tmp_path, {"type": "FeatureCollection", "features": content})
    assert found.format == "Digital Slide Archive JSON"
    sizes = [(x1 - x0, y1 - y0) for x0, y0, x1, y1 in (a.geometry.bounds for a in found)]
    half = 200 * math.cos(math.pi / 6) + 100 * 0.5, 200 * 0.5 + 100 * math.cos(math.pi / 6)
    expected = [(200, 160), (189.74, 189.74), (180, 180), half, (40, 20), (40, 20), (20, 20)]
    for size, right in zip(sizes, expected):
        assert size == pytest.approx(right, abs=0.15)
    areas = [a.geometry.area for a in found]
    round_areas = [math.pi * w * h / 4 for w, h in ((200, 160), (240, 120), (180, 180))]
    assert areas[:3] == pytest.approx(round_areas, rel=0.01)
    assert areas[3:] == pytest.approx([20000, 800, math.pi * 200, 400], rel=0.01)


def test_classes_of_the_digital_slide_archive(tmp_path):
    """The annotation is in the first feature only."""
    content = [
        feature("Polygon", [SQUARE], group="sclerotic", label={"value": "17"}, annotation={"name": "glom"}),
        feature("Polygon", [SQUARE], group="default", label={"value": "normal"}),
        feature("Polygon", [SQUARE], label={"value": "18"}),
        feature("Polygon", [SQUARE]),
    ]
    assert [a.name for a in read(tmp_path, content)] == ["sclerotic", "normal", "glom", "glom"]
    del content[0]
    assert [a.name for a in read(tmp_path, content)] == ["normal", "18", None]


def test_an_ellipse_of_qupath_given_by_its_box(tmp_path):
    one = feature("Polygon", [corners(100, 50, 80, 40)])
    one["geometry"]["isEllipse"] = True
    [found] = read(tmp_path, [one])
    assert found.geometry.area == pytest.approx(math.pi * 40 * 20, rel=0.01)
