"""Grades of what was found: beside the detector's classes in every output."""

import csv
import json

import mhkd  # noqa: F401  (first)
from mhkd.errors import InputError
from mhkd.slide_detection.finished import find_finished
from mhkd.slide_detection.grade import Grader
from mhkd.slide_detection.options import DetectOptions
from mhkd.slide_detection.run import detect_slide
from mhkd.tiling.cut import Cut

import cv2
import numpy as np
import pytest
from blob_student import DISK, PALE_DISK, TISSUE, blob_student, write_slide
from bright_classifier import bright_classifier

FIELD = Cut("centred", field_boxes=1.5)
OPTIONS = DetectOptions(overlap_um=100.0)


@pytest.fixture
def slide(tmp_path):
    """A dark disk and a pale one of 40 px at 2 um."""
    image = np.full((600, 800, 3), 244, np.uint8)
    image[50:550, 50:750] = TISSUE
    cv2.circle(image, (200, 300), 20, DISK, -1)
    cv2.circle(image, (500, 300), 20, PALE_DISK, -1)
    return write_slide(tmp_path / "disks.tif", image)


def test_grades_are_beside_the_students_classes(slide, tmp_path):
    grader = Grader(bright_classifier(), FIELD)
    summary = detect_slide(slide, tmp_path / "out", blob_student(), OPTIONS, progress=False, grader=grader)
    assert summary["grades"] == {"dark": 2, "pale": 0}
    # A field of 1.5 boxes of 40 px at 2 um is 15 LR pixels of 8 um.
    assert all(w == h == pytest.approx(15, abs=1) for w, h in grader.classifier.network.sizes)

    folder = tmp_path / "out" / "disks.tif"
    with open(folder / "glomeruli.csv", encoding="utf-8-sig") as f:
        rows = {r["class"]: r for r in csv.DictReader(f)}
    for name, disk in (("normal", DISK), ("sclerotic", PALE_DISK)):
        assert rows[name]["grade"] == "dark"
        assert float(rows[name]["grade_probability"]) == pytest.approx(1 - disk[1] / 255, abs=0.02)
    features = json.loads((folder / "detections.geojson").read_text())["features"]
    for feature in features:
        properties = feature["properties"]
        row = rows[properties["classification"]["name"]]
        assert properties["metadata"] == {"Grade": "dark"}
        assert properties["measurements"]["Grade probability"] == float(row["grade_probability"])
    users = [e["user"] for e in json.loads((folder / "detections_dsa.json").read_text())["elements"]]
    assert {u["grade_probability"] for u in users} == {float(r["grade_probability"]) for r in rows.values()}

    (finished,) = find_finished(tmp_path / "out").finished
    detections = finished.detections()
    assert detections.grade_names == ("dark", "pale")
    assert detections.grades.sum(1) == pytest.approx(1)


def test_slides_that_were_searched_are_graded_without_being_searched_again(slide, tmp_path):
    out = tmp_path / "out"
    detect_slide(slide, out, blob_student(), OPTIONS, progress=False)
    assert "grade" not in (out / "disks.tif" / "glomeruli.csv").read_text()
    blind = blob_student(network=None)
    first = Grader(bright_classifier(), FIELD)
    detect_slide(slide, out, blind, OPTIONS, progress=False, grader=first)
    assert "grade_probability" in (out / "disks.tif" / "glomeruli.csv").read_text()

    second = Grader(bright_classifier(), FIELD)
    detect_slide(slide, out, blind, OPTIONS, progress=False, grader=second)
    assert (first.classifier.network.looked, second.classifier.network.looked) == (2, 0)
    # Counted anew from another score, the grades stay.
    fewer = DetectOptions(overlap_um=100.0, score_threshold=0.9)
    detect_slide(slide, out, blind, fewer, progress=False, grader=second)
    assert second.classifier.network.looked == 0
    (finished,) = find_finished(out).finished
    assert finished.summary["glomeruli"] == 0 and len(finished.detections()) == 2


def test_no_glomeruli_no_grades(tmp_path):
    image = np.full((600, 800, 3), 244, np.uint8)
    image[50:550, 50:750] = TISSUE
    path = write_slide(tmp_path / "empty.tif", image)
    grader = Grader(bright_classifier(), FIELD)
    summary = detect_slide(path, tmp_path / "out", blob_student(), OPTIONS, progress=False, grader=grader)
    assert summary["grades"] == {"dark": 0, "pale": 0}
    (finished,) = find_finished(tmp_path / "out").finished
    assert len(finished.detections()) == 0


def test_a_field_must_be_one():
    with pytest.raises(InputError, match="one of them"):
        Cut("centred")
