"""The same shapes, written in each format, come back as the same boxes within a pixel."""

import json

from mhkd.annotations import ClassMap, find_annotations, read_annotations
from mhkd.errors import InputError

import numpy as np
import pytest
from annotations import writers
from annotations.writers import BOX, GLOMERULUS, RING, SIZE_PX
from shapely.affinity import scale
from shapely.geometry import MultiPolygon, Point, Polygon

TWO_PARTS = MultiPolygon(
    [
        Polygon([(500, 500), (560, 500.5), (530, 570)]),
        Polygon([(600, 520), (680.4, 530), (660, 610.7), (610, 600)]),
    ]
)
SHAPES = [(GLOMERULUS, "normal"), (RING, "sclerotic"), (BOX, "normal"), (TWO_PARTS, "sclerotic")]
INDEX = {"normal": 1, "sclerotic": 2}
COLOUR = {"normal": (0, 255, 0), "sclerotic": (255, 0, 16)}


def boxes(objects):
    """Rows of class and box, sorted: formats may change the order."""
    rows = [(name, *geometry.bounds) for geometry, name in objects]
    return sorted(rows, key=lambda r: (r[0], *np.round(np.array(r[1:]) / 5)))


def check(found, expected, tolerance_px=1.0):
    found, expected = boxes(found), boxes(expected)
    assert [r[0] for r in found] == [r[0] for r in expected]
    np.testing.assert_allclose([r[1:] for r in found], [r[1:] for r in expected], rtol=0, atol=tolerance_px)


def named(annotations):
    return [(a.geometry, a.name) for a in annotations]


WRITERS = {
    "QuPath GeoJSON": (writers.qupath, True),
    "Aperio ImageScope XML": (writers.aperio, False),
    "HALO XML": (writers.halo, False),
    "ASAP XML": (writers.asap, False),
    "Digital Slide Archive JSON": (writers.dsa, False),
    "its GeoJSON": (writers.dsa_geojson, False),
    "COCO JSON": (lambda path, shapes: writers.coco(path, shapes, SIZE_PX), True),
}


@pytest.mark.parametrize("file_format", WRITERS)
def test_outlines(tmp_path, file_format):
    write, has_parts = WRITERS[file_format]
    path = tmp_path / "annotations.txt"  # the name says nothing
    write(path, SHAPES)
    found = read_annotations(path, slide_name="slide", size_px=SIZE_PX)
    assert found.format == file_format or file_format == "its GeoJSON"
    check(named(found), SHAPES if has_parts else writers.parts(SHAPES))
    assert not found.counts
    if file_format != "ASAP XML":  # the one without holes
        area = sum(a.geometry.area for a in found)
        assert area == pytest.approx(sum(g.area for g, _ in SHAPES), rel=0.01)


@pytest.mark.parametrize("values", [INDEX, COLOUR])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_label_masks(tmp_path, values, suffix):
    writers.mask(tmp_path / f"mask.{suffix}", SHAPES, SIZE_PX, values)
    found = read_annotations(tmp_path / f"mask.{suffix}", size_px=SIZE_PX)
    assert found.format == "label mask"
    pairs = ["1=normal", "2=sclerotic"]
    if values is COLOUR:
        pairs = ["#00ff00=normal", "#ff0010=sclerotic"]
    kept, counts = ClassMap.parse(pairs).apply(found, strict=True)
    check([(a.geometry, name) for a, name in kept], writers.parts(SHAPES))
    assert not counts


def test_a_small_mask_is_scaled_to_the_slide(tmp_path):
    small = [(scale(g, 0.25, 0.25, origin=(0, 0)), n) for g, n in SHAPES]
    writers.mask(tmp_path / "mask.png", small, (225, 175), INDEX)
    found = read_annotations(tmp_path / "mask.png", size_px=(902, 703))  # not quite 4 times
    kept, _ = ClassMap.parse(["1=normal", "2=sclerotic"]).apply(found)
    check([(a.geometry, name) for a, name in kept], writers.parts(SHAPES), tolerance_px=4)


def test_hubmap_polygons_win_over_the_runs_of_the_same_slide(tmp_path):
    one_class = [(g, "glomerulus") for g, _ in SHAPES]
    masks = {
        "aaa": np.logical_or.reduce([writers.draw(g, SIZE_PX) for g, _ in SHAPES]),
        "bbb": writers.draw(BOX, SIZE_PX),
    }
    writers.hubmap_csv(tmp_path / "train.csv", masks)
    writers.hubmap_json(tmp_path / "aaa.json", one_class)
    for slide in ("aaa", "bbb"):
        (tmp_path / f"{slide}.tiff").write_bytes(b"")

    path = find_annotations(tmp_path / "aaa.tiff", tmp_path)
    assert path.endswith("aaa.json")
    check(named(read_annotations(path, slide_name="aaa", size_px=SIZE_PX)), one_class)

    path = find_annotations(tmp_path / "bbb.tiff", tmp_path)
    assert path.endswith("train.csv")
    found = read_annotations(path, slide_name="bbb", size_px=SIZE_PX)
    assert found.format == "HuBMAP RLE CSV"
    assert [a.geometry.bounds for a in found] == [BOX.bounds]  # pixel edges: exact

    runs = read_annotations(tmp_path / "train.csv", slide_name="aaa", size_px=SIZE_PX)
    kept, _ = ClassMap({"": "glomerulus"}).apply(runs)
    check([(a.geometry, n) for a, n in kept], writers.parts(one_class))


def test_rle_by_hand(tmp_path):
    """4 wide, 3 high: pixels 2 and 3 of the first column, 2 of the second (1-based: 2, 3, 5)."""
    path = tmp_path / "train.csv"
    path.write_text("id,encoding\ns,2 2 5 1\n")
    (annotation,) = read_annotations(path, slide_name="s", size_px=(4, 3))
    assert annotation.geometry.bounds == (0, 1, 2, 3)
    assert annotation.geometry.area == 3


@pytest.mark.parametrize(
    "row_id, slide_name, is_same",
    [
        ("s.tiff", "s", True),
        ("s.ome.TIF", "s.ome", True),
        ("s", "s.ome", True),
        ("s.1", "s", False),
        ("S", "s", False),
    ],
)
def test_rle_ids_may_have_the_ending_of_the_file(tmp_path, row_id, slide_name, is_same):
    path = tmp_path / "train.csv"
    path.write_text(f"id,encoding\n{row_id},2 2 5 1\n")
    if is_same:
        assert len(read_annotations(path, slide_name=slide_name, size_px=(4, 3)).annotations) == 1
    else:
        with pytest.raises(InputError, match="has no row for the slide s"):
            read_annotations(path, slide_name=slide_name, size_px=(4, 3))


def test_points_become_circles_or_are_counted(tmp_path):
    path = tmp_path / "points.geojson"
    path.write_text(
        '[{"type": "Feature", "properties": {"classification": {"name": "g"}}, "geometry": '
        '{"type": "MultiPoint", "coordinates": [[50, 60], [80.5, 90]]}}]'
    )
    found = read_annotations(path, point_diameter_px=20)
    assert [a.name for a in found] == ["g", "g"]
    np.testing.assert_allclose(found.annotations[0].geometry.bounds, (40, 50, 60, 70))
    found = read_annotations(path)
    assert not len(found) and sum(found.counts.values()) == 2


def test_dsa_rotation_turns_from_x_towards_y(tmp_path):
    """A 100 x 20 bar turned by 30 degrees: its right end goes down on the screen."""
    path = tmp_path / "a.json"
    bar = {"center": [200, 100, 0], "width": 100, "height": 20, "rotation": np.pi / 6}
    elements = [
        {"type": "rectangle", **bar},
        {"type": "ellipse", **bar},
        {"type": "circle", "center": [50, 50, 0], "radius": 10},
        {"type": "arrow", "points": [[0, 0, 0], [1, 1, 0]]},
        {"type": "point", "center": [5, 5, 0]},
    ]
    path.write_text(json.dumps({"name": "bars", "elements": elements}))
    found = read_annotations(path)
    bar, ellipse, circle = (a.geometry for a in found)
    assert {a.name for a in found} == {"bars"}
    half = (50 * np.cos(np.pi / 6) + 5, 50 * 0.5 + 10 * np.cos(np.pi / 6))
    np.testing.assert_allclose(bar.bounds, (200 - half[0], 100 - half[1], 200 + half[0], 100 + half[1]))
    down_right = Point(200 + 48 * np.cos(np.pi / 6), 100 + 48 * 0.5)
    assert bar.contains(down_right) and ellipse.contains(down_right)
    assert ellipse.area == pytest.approx(np.pi * 50 * 10, rel=0.01)
    np.testing.assert_allclose(circle.bounds, (40, 40, 60, 60), atol=0.01)
    assert sum(found.counts.values()) == 2


def test_aperio_corners_holes_and_names(tmp_path):
    path = tmp_path / "a.xml"

    def region(kind, points, negative=0, text=""):
        vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in points)
        return (
            f'<Region Type="{kind}" NegativeROA="{negative}" Text="{text}"><Vertices>{vertices}'
            "</Vertices></Region>"
        )

    square = [(0, 0), (100, 0), (100, 100), (0, 100)]
    hole = [(40, 40), (60, 40), (60, 60), (40, 60)]
    path.write_text(
        '<Annotations><Annotation Id="4" Name=""><Regions>'
        + region(0, hole, negative=1)  # before what it is cut from
        + region(1, [(300, 20), (200, 80)])
        + region(2, [(300, 300), (360, 340)], text="crescent")
        + region(4, [(0, 0), (5, 5)])
        + region(0, square)
        + '</Regions></Annotation><Annotation Name=""><Attributes><Attribute Name="Description" '
        'Value="sclerotic"/></Attributes><Regions>'
        + region(0, hole)
        + "</Regions></Annotation></Annotations>"
    )
    found = read_annotations(path)
    assert [a.name for a in found] == ["Layer 4", "crescent", "Layer 4", "sclerotic"]
    assert [a.geometry.area for a in found] == pytest.approx([6000, np.pi * 30 * 20, 9600, 400], rel=0.01)
    assert found.annotations[0].geometry.bounds == (200, 20, 300, 80)
    assert found.counts == {"lines left out": 1}


def test_real_coco_file_keeps_every_box(shared_data):
    """All boxes of one image of the kidney regions. Drawn: test_outlines[COCO JSON]."""
    path = shared_data / "kidney_roi" / "annotations_val.json"
    content = json.loads(path.read_text())
    image = content["images"][0]
    found = read_annotations(path, slide_name=image["file_name"].split("/")[-1])
    expected = [a["bbox"] for a in content["annotations"] if a["image_id"] == image["id"]]
    assert len(found) == len(expected) > 0
    for annotation, (x, y, w, h) in zip(found, expected):
        np.testing.assert_allclose(annotation.geometry.bounds, (x, y, x + w, y + h), atol=1)
