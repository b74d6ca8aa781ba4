"""From detections.geojson through QuPath, as it writes what was corrected there, to a dataset."""

import copy
import json
import uuid

from mhkd.cli import main
from mhkd.evaluation.detections import Detections
from mhkd.slide_detection.exports.geojson import qupath_geojson
from mhkd.synthetic.slides import write_tiff

import numpy as np
import pytest
from click.testing import CliRunner

BOXES = [[100, 100, 200, 200], [300, 300, 400, 420], [600, 100, 700, 200], [700, 600, 800, 700]]
DETECTIONS = Detections(
    np.array(BOXES), np.array([0.9, 0.8, 0.7, 0.6]), np.array([0, 0, 1, 0]), ("normal", "sclerotic")
)
GREEN = -14336  # a colour as QuPath 0.2 wrote it


def corner_ring(x0, y0, x1, y1):
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]


def drawn(ring, object_type="annotation", **properties):
    """An object that was drawn in QuPath: it has neither a name nor measurements."""
    return {
        "type": "Feature", "id": str(uuid.uuid4()), "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"objectType": object_type, **properties},
    }  # fmt: skip


@pytest.fixture
def opened():
    """What QuPath has after detections.geojson was dragged in."""
    return copy.deepcopy(qupath_geojson(DETECTIONS, (1.0, 1.0), "a.tiff")["features"])


def correct(features):
    """The first is deleted, the second given another class, the third none; one is moved, two are drawn."""
    _, second, third, fourth = features
    second["properties"]["classification"] = {"name": "GS", "color": [200, 0, 0]}
    del third["properties"]["classification"]
    fourth["geometry"]["coordinates"] = [corner_ring(710, 600, 810, 700)]
    by_hand = drawn(corner_ring(500, 600, 560, 660), classification={"name": "normal", "color": [0, 255, 0]})
    by_wand = drawn(
        [[20, 600], [90, 620], [60, 690], [20, 600]], classification={"names": ["GS"], "color": [200, 0, 0]}
    )
    return [second, third, fourth, by_hand, by_wand]


EXPECTED = [
    ("sclerotic", [300, 300, 100, 120]), ("normal", [710, 600, 100, 100]), ("normal", [500, 600, 60, 60]),
    ("sclerotic", [20, 600, 70, 90]),
]  # fmt: skip


def tile(tmp_path, content, *options):
    """Boxes of the dataset by class, and what mhkd tile says."""
    slide = tmp_path / "slides" / "a.tiff"
    slide.parent.mkdir()
    write_tiff(slide, np.full((800, 1000, 3), (200, 150, 190), np.uint8), 1.0, "pink")
    slide.with_suffix(".geojson").write_text(json.dumps(content, indent=2))
    words = ["tile", slide, "--out", tmp_path / "mine", "--mpp", 1, "--tile-size-px", 1024, "--lr-factor", 1,
             "--split", "train=1", "--glass-too", "--class", "GS=sclerotic", *options]  # fmt: skip
    result = CliRunner().invoke(main, list(map(str, words)))
    assert result.exit_code == 0, result.output
    coco = json.loads((tmp_path / "mine" / "annotations_train.json").read_text())
    names = {c["id"]: c["name"] for c in coco["categories"]}
    boxes = [(names[a["category_id"]], a["bbox"]) for a in coco["annotations"] if not a["iscrowd"]]
    return sorted(boxes), result.output


@pytest.mark.parametrize("as_array", [False, True])
def test_corrected_in_qupath_and_tiled(tmp_path, opened, as_array):
    features = correct(opened)
    boxes, said = tile(
        tmp_path, features if as_array else {"type": "FeatureCollection", "features": features}
    )
    assert boxes == sorted(EXPECTED)
    assert "1 objects without a class left out" in said  # not a class of its own, "Glomerulus 3"


def test_those_without_a_class_are_given_one(tmp_path, opened):
    boxes, _ = tile(tmp_path, correct(opened), "--class", "=sclerotic")
    assert boxes == sorted([*EXPECTED, ("sclerotic", [600, 100, 100, 100])])


def test_objects_of_other_versions_and_kinds(tmp_path):
    """QuPath 0.2 and 0.3, its detections, an ellipse, a region around them, and objects within it."""
    ellipse = drawn(
        corner_ring(700, 600, 800, 700), classification={"name": "normal"}, description="as I see it"
    )
    ellipse["geometry"]["isEllipse"] = True
    content = [
        {**drawn(corner_ring(*BOXES[0]), classification={"name": "GS", "colorRGB": GREEN}),
         "id": "PathAnnotationObject"},
        drawn(corner_ring(*BOXES[1]), "detection", classification={"name": "normal"},
              measurements={"Score": 0.5}),
        drawn(corner_ring(0, 0, 900, 750), classification={"name": "Region*"}, isLocked=True, childObjects=[
            drawn(corner_ring(*BOXES[2]), classification={"name": "normal"}, metadata={"by": "me"},
                  measurements=[{"name": "Score", "value": 0.5}]), ellipse]),
    ]  # fmt: skip
    boxes, _ = tile(tmp_path, content)
    expected = [("sclerotic", BOXES[0]), *(("normal", b) for b in BOXES[1:])]
    assert boxes == sorted((name, [x0, y0, x1 - x0, y1 - y0]) for name, (x0, y0, x1, y1) in expected)
