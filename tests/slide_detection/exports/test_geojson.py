import json
import uuid

from mhkd.annotations import read_annotations
from mhkd.palette import class_colors
from mhkd.slide_detection.exports.geojson import qupath_geojson

import pytest
import shapely


@pytest.fixture
def features(found):
    return qupath_geojson(found, (0.5, 0.25), "case.svs")["features"]


def test_what_qupath_asks_for(features, found):
    """QuPath takes ids that are UUIDs, and a map of measurements whose values are all numbers."""
    assert len({uuid.UUID(f["id"]) for f in features}) == len(found)
    for f in features:
        properties = f["properties"]
        assert f["type"] == "Feature" and properties["objectType"] == "annotation"
        assert all(type(v) is float for v in properties["measurements"].values())
        name, color = properties["classification"]["name"], properties["classification"]["color"]
        assert color == list(class_colors(found.class_names)[name])
        assert all(type(v) is int and 0 <= v <= 255 for v in color)


def test_measurements_are_in_micrometres_along_each_axis(features):
    """100 x 80 px of 0.5 x 0.25 um are 50 x 20 um; a circle of as much area is sqrt(1000) um wide."""
    measurements = features[0]["properties"]["measurements"]
    assert measurements == {"Score": 0.9, "Width um": 50.0, "Height um": 20.0, "Diameter um": 31.62}


def test_rings_are_closed_boxes_in_base_pixels(features, found):
    shapes = shapely.from_geojson(json.dumps({"type": "FeatureCollection", "features": features}))
    for f, shape, box in zip(features, shapes.geoms, found.boxes_px):
        (ring,) = f["geometry"]["coordinates"]
        assert ring[0] == ring[-1] and len(ring) == 5
        assert shape.is_valid and shape.equals(shapely.box(*box))


def test_ids_are_of_the_content(features, found):
    assert features == qupath_geojson(found, (0.5, 0.25), "case.svs")["features"]
    others = qupath_geojson(found, (0.5, 0.25), "other.svs")["features"]
    assert not {f["id"] for f in features} & {f["id"] for f in others}


def test_reads_back_as_annotations(found, tmp_path):
    path = tmp_path / "case.geojson"
    path.write_text(json.dumps(qupath_geojson(found, (0.5, 0.5), "case.svs")))
    read = read_annotations(str(path))
    assert read.format == "QuPath GeoJSON" and not read.counts
    assert [a.name for a in read] == ["normal", "sclerotic", "normal"]
    assert [a.geometry.bounds for a in read] == [tuple(b) for b in found.boxes_px.tolist()]
