"""From a mask head's output to outlines on the slide, whose areas and places are known."""

import csv
import json
from pathlib import Path

from mhkd.errors import InputError
from mhkd.slide_detection import Detections, merge_tiles
from mhkd.slide_detection.finished import find_finished
from mhkd.slide_detection.options import DetectOptions
from mhkd.slide_detection.outlines import outline_of_mask, union
from mhkd.slide_detection.run import detect_slide

import cv2
import numpy as np
import pytest
import shapely
import torch
from blob_student import BlobDetector, blob_student, write_disks
from shapely.affinity import scale
from shapely.geometry import Point, box


def disc(cells=28, rim=1.0):
    """Probabilities of the disc that fills a square of cells; they fall off within ``rim`` cells."""
    y, x = np.mgrid[:cells, :cells] + 0.5 - cells / 2
    return np.clip(0.5 + (cells / 2 - np.hypot(x, y)) / rim, 0, 1).astype(np.float32)


@pytest.mark.parametrize("steps", [1, 4, 8])
@pytest.mark.parametrize("box_px", [(10.3, 20.6, 26.3, 36.6), (0, 5, 40, 45)])
def test_a_disc_has_the_area_of_a_disc_and_its_place(steps, box_px):
    box_px = np.array(box_px, np.float32)
    outline = outline_of_mask(disc(), box_px, steps)
    radius = (box_px[2] - box_px[0]) / 2
    circle = Point((box_px[:2] + box_px[2:]) / 2).buffer(radius, 64)
    assert outline.is_valid and not outline.interiors
    assert outline.hausdorff_distance(circle) < 1 / steps + 0.04 * radius
    if steps > 1:
        assert outline.area == pytest.approx(np.pi * radius**2, rel=0.03)


def test_the_largest_piece_is_the_object_and_has_no_hole():
    mask = np.zeros((28, 28), np.float32)
    mask[4:20, 4:20], mask[8:12, 8:12], mask[24:26, 24:26] = 1, 0, 1
    outline = outline_of_mask(mask, np.array([0, 0, 28, 28], np.float32), 1)
    assert outline.equals(box(4, 4, 20, 20))


def test_a_stranger_cannot_ask_for_any_number_of_samples(monkeypatch):
    monkeypatch.setattr("mhkd.slide_detection.outlines.MOST_SAMPLES", 500)
    square = np.array([0, 0, 100, 100], np.float32)
    assert outline_of_mask(disc(), square, 1000).equals(outline_of_mask(disc(), square, 5))
    monkeypatch.setattr("mhkd.coco.runs.MAX_RUNS", 100)
    stripes = (np.indices((28, 28))[0] % 2).astype(np.float32)  # 14 runs a column
    assert outline_of_mask(stripes, np.array([0, 0, 28, 28], np.float32), 1).equals(box(0, 0, 28, 28))


def test_an_empty_mask_leaves_the_box():
    outline = outline_of_mask(np.zeros((28, 28), np.float32), np.array([1, 2, 5, 9], np.float32), 4)
    assert outline.equals(box(1, 2, 5, 9))


def test_two_halves_across_a_seam_become_one_outline():
    circle = Point(100, 50).buffer(40, 64)
    halves = [circle.intersection(box(0, 0, 110, 200)), circle.intersection(box(90, 0, 200, 200))]
    other = Point(300, 50).buffer(20)
    found = Detections(
        [h.bounds for h in (*halves, other)],
        [0.9, 0.8, 0.7],
        [0, 0, 0],
        ("normal",),
        outlines=[*halves, other],
    )
    cut = np.zeros((3, 4), bool)
    cut[0, 2] = cut[1, 0] = True
    merged = merge_tiles(found, cut, overlap_px=20)
    assert len(merged) == 2 and merged.boxes_px[0].tolist() == [60, 10, 140, 90]
    assert merged.outlines[0].symmetric_difference(circle).area < 1e-6
    assert merged.outlines[1].equals(other)


def test_halves_that_do_not_quite_meet_are_closed_and_crumbs_go():
    halves = np.array([box(0, 0, 49.5, 60), box(50.5, 0, 100, 60)], object)
    assert union(halves, 1.0).equals(box(0, 0, 100, 60))
    assert union(np.append(halves, box(200, 0, 203, 3)), 1.0).equals(box(0, 0, 100, 60))


class MaskBlobDetector(BlobDetector):
    """Finds blobs, and their pixels as a mask head gives them."""

    def inference(self, batch, do_postprocess):
        assert not do_postprocess
        found = [output["instances"] for output in self(batch)]
        for entry, instances in zip(batch, found):
            dark = (entry["enlarged"].numpy()[1] < 100).astype(np.float32)
            masks = np.zeros((len(instances), 1, 28, 28), np.float32)
            for mask, (x0, y0, x1, y1) in zip(masks, (instances.pred_boxes.tensor * 2).int().tolist()):
                mask[0] = cv2.resize(dark[y0:y1, x0:x1], (28, 28), interpolation=cv2.INTER_LINEAR)
            instances.pred_masks = torch.from_numpy(masks)
        return found


@pytest.mark.slow
@pytest.mark.parametrize("mpp", [(2.0, 2.0), (2.0, 1.6)])
def test_outlines_of_a_slide_in_every_format(tmp_path, mpp):
    path, boxes, _ = write_disks(tmp_path / "disks.tiff", extent_um=(2400, 2000), mpp=mpp)
    student = blob_student(network=MaskBlobDetector(), masks=True)
    options = DetectOptions(overlap_um=160, batch_size=2)  # less than the largest disk: some are cut
    detect_slide(path, tmp_path / "found", student, options, progress=False)
    folder = tmp_path / "found" / "disks.tiff"

    features = json.loads((folder / "detections.geojson").read_text())["features"]
    table = list(csv.DictReader((folder / "glomeruli.csv").read_text().splitlines()))
    assert len(features) == len(table) == len(boxes)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    for feature, row in zip(features, table):
        polygon = shapely.Polygon(*feature["geometry"]["coordinates"])
        k = np.hypot(*(centres - polygon.centroid.coords[0]).T).argmin()
        a, b = (boxes[k, 2:] - boxes[k, :2]) / 2
        drawn = scale(Point(centres[k]).buffer(1, 64), a, b)
        assert polygon.is_valid
        assert polygon.intersection(drawn).area > 0.93 * polygon.union(drawn).area
        area_um2 = np.pi * a * b * mpp[0] * mpp[1]
        assert float(row["area_um2"]) == pytest.approx(area_um2, rel=0.06)
        assert float(row["area_um2"]) == pytest.approx(polygon.area * mpp[0] * mpp[1], abs=0.01)
        assert float(row["mean_diameter_um"]) == pytest.approx(
            2 * (polygon.area * mpp[0] * mpp[1] / np.pi) ** 0.5, abs=0.01
        )
        measured = feature["properties"]["measurements"]
        assert measured["Area um2"] == float(row["area_um2"])
        assert measured["Mean diameter um"] == float(row["mean_diameter_um"])
    total = sum(float(row["area_um2"]) for row in table)
    widths, heights = (boxes[:, 2:] - boxes[:, :2]).T
    assert total == pytest.approx((np.pi / 4 * widths * heights).sum() * mpp[0] * mpp[1], rel=0.03)

    rings = [f["geometry"]["coordinates"][0][:-1] for f in features]
    elements = json.loads((folder / "detections_dsa.json").read_text())["elements"]
    assert all(e["type"] == "polyline" and e["closed"] for e in elements)
    assert [[p[:2] for p in e["points"]] for e in elements] == rings
    results = json.loads((folder / "coco_instances_results.json").read_text())
    assert [np.reshape(r["segmentation"], (-1, 2)).tolist() for r in results] == rings

    # Read again, and counted anew from what is stored: the same outlines.
    (stored,) = find_finished(tmp_path / "found").finished
    assert list(stored.detections().rings()) == [ring + ring[:1] for ring in rings]
    before = (folder / "detections.geojson").read_bytes()
    for threshold in (0.99, options.score_threshold):
        counted = DetectOptions(overlap_um=160, batch_size=2, score_threshold=threshold)
        detect_slide(path, tmp_path / "found", student, counted, progress=False)
    assert (folder / "detections.geojson").read_bytes() == before

    # A file that was tampered with is one error.
    results[0]["segmentation"] = [[1.0, "x"]]
    Path(folder / "coco_instances_results.json").write_text(json.dumps(results))
    (stored,) = find_finished(tmp_path / "found").finished
    with pytest.raises(InputError, match="holds no detections"):
        stored.detections()


def test_without_masks_the_formats_are_those_of_before():
    assert Detections([[0, 0, 4, 2]], [0.5], [0], ("a",)).outlines is None
    found = Detections([[0, 0, 4, 2]], [0.5], [0], ("a",))
    assert list(found.rings()) == [[[0, 0], [4, 0], [4, 2], [0, 2], [0, 0]]]
    with pytest.raises(ValueError, match="1 boxes, 0 outlines"):
        Detections([[0, 0, 4, 2]], [0.5], [0], ("a",), outlines=[])
