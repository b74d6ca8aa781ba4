"""A slide that is not like the training data is named, in the log and in all that is written of it."""

import csv
import json
import logging
from dataclasses import replace

import mhkd  # noqa: F401  (first)
from mhkd.slide_detection.exports import write_summary_csv
from mhkd.slide_detection.finished import RESULTS, find_finished
from mhkd.slide_detection.likeness import unlike_training
from mhkd.slide_detection.options import DetectOptions
from mhkd.slide_detection.run import detect_slide
from mhkd.slides.colour import colour_of
from mhkd.training_data import TrainingData
from mhkd.viewer.content import ShownSlide

import numpy as np
import pytest
from blob_student import DISK, TISSUE, blob_student, write_slide

FAR = "its colour is far from that of the student's training data"


def drawn(seed):
    """2 x 2 mm at 8 um per pixel: pink tissue with dark disks."""
    rng = np.random.default_rng(seed)
    image = np.full((250, 250, 3), 244, np.uint8)
    image[20:-20, 20:-20] = TISSUE
    y, x = np.mgrid[:250, :250]
    for cx, cy in rng.uniform(40, 210, (12, 2)):
        image[(x - cx) ** 2 + (y - cy) ** 2 < 12**2] = DISK
    return image


@pytest.fixture(scope="module")
def student():
    return blob_student(training=TrainingData.of([colour_of(drawn(seed)) for seed in range(4)]))


def brown(image):
    density = -np.log10(image.mean(2, keepdims=True) / 255)
    return (255 * 10 ** -(density * [0.5, 1, 1.5])).round().astype(np.uint8)


def looked_at(image, student, folder):
    path = write_slide(folder / "a.tiff", image.repeat(4, 0).repeat(4, 1))
    summary = detect_slide(path, folder / "out", student, DetectOptions(), progress=False)
    (one,), _, _ = find_finished(folder / "out")
    return summary, one


def test_a_slide_like_the_training_data_is_passed_over(student, tmp_path, caplog):
    summary, one = looked_at(drawn(9), student, tmp_path)
    assert "warnings" not in summary and one.warnings == [] and FAR not in caplog.text


@pytest.mark.parametrize(
    ("recoloured", "named"),
    [
        (lambda image: image[..., [1, 0, 2]], "green's share"),
        (lambda image: image.mean(2, keepdims=True).astype(np.uint8).repeat(3, 2), "green's share"),
        (brown, "blue's share"),
    ],
    ids=["green", "grey", "brown"],
)
def test_a_recoloured_one_is_named_everywhere(student, tmp_path, caplog, recoloured, named):
    with caplog.at_level(logging.WARNING):
        summary, one = looked_at(recoloured(drawn(9)), student, tmp_path)
    (line,) = [r.getMessage() for r in caplog.records if FAR in r.getMessage()]
    assert "a.tiff" in line and named in line and "\n" not in line
    (said,) = [w for w in one.run["warnings"] if FAR in w]
    assert said in summary["warnings"] and said in one.summary["warnings"]
    assert said in ShownSlide(one).content()["remark"]
    write_summary_csv(tmp_path / "summary.csv", [("a", summary, ""), ("b", {**summary, "warnings": []}, "")])
    rows = list(csv.DictReader((tmp_path / "summary.csv").open(encoding="utf-8-sig")))
    assert said in rows[0]["warnings"] and rows[1]["warnings"] == ""
    # Counted from another score on, it is still said.
    path = one.slide_path()
    again = detect_slide(path, one.folder.parent, student, DetectOptions(score_threshold=0.9), progress=False)
    assert said in again["warnings"]


def crosses():
    """Thin dark crosses, of which the student is unsure: they fill a third of their boxes, a score of 0.7."""
    image = np.full((250, 250, 3), 244, np.uint8)
    image[10:-10, 10:-10] = TISSUE
    for y in range(35, 220, 40):
        for x in range(35, 220, 40):
            image[y - 2 : y + 3, x - 12 : x + 13] = image[y - 12 : y + 13, x - 2 : x + 3] = DISK
    return image


def test_a_student_that_is_unsure_says_so(tmp_path, caplog):
    known = TrainingData.of([colour_of(crosses())] * 4)
    path = write_slide(tmp_path / "a.tiff", crosses().repeat(4, 0).repeat(4, 1))
    for unsure, options in ((None, {}), (0.9, {}), (0.1, {"keep_from_score": 0.3})):
        student, out = blob_student(training=replace(known, unsure=unsure)), tmp_path / f"{unsure}"
        summary = detect_slide(path, out, student, DetectOptions(**options), progress=False)
        assert "warnings" not in summary and summary["glomeruli"] == 25
    with caplog.at_level(logging.WARNING):
        student = blob_student(training=replace(known, unsure=0.1))
        summary = detect_slide(path, tmp_path / "out", student, DetectOptions(), progress=False)
    (said,) = summary["warnings"]
    assert "far less sure" in said and said.endswith(
        "100 % of its scores lie between 0.2 and 0.8, there 10 %"
    )
    (line,) = [r.getMessage() for r in caplog.records if "far less sure" in r.getMessage()]
    assert line == f"{path}: {said}"


def test_a_finished_slide_is_measured_again_and_not_searched(tmp_path):
    """When its student has gained the record, or another one; then it is left as it is."""
    image = crosses()[..., [1, 0, 2]].copy()
    plain = blob_student()
    _, one = looked_at(image, plain, tmp_path)
    path, out, before = one.slide_path(), one.folder.parent, (one.folder / RESULTS).read_bytes()
    assert "training_data" not in one.run and one.warnings == []

    def again(training):
        student = blob_student(training=training, network=None)  # which could find nothing
        summary = detect_slide(path, out, student, DetectOptions(), progress=False)
        (one,), _, _ = find_finished(out)
        assert summary.get("warnings", []) == one.warnings and one.run["parameters"]["score_threshold"] == 0.5
        return one.warnings, (one.folder / "run.json").stat().st_mtime_ns

    other = TrainingData.of([colour_of(crosses())] * 4)
    (of_colour,), _ = again(other)
    assert FAR in of_colour
    said, written = again(replace(other, unsure=0.1))
    assert [FAR in said[0], "far less sure" in said[1]] == [True, True] and len(said) == 2
    assert again(replace(other, unsure=0.1)) == (said, written)
    assert again(TrainingData.of([colour_of(image)] * 4))[0] == []
    assert again(None)[0] == []
    assert (one.folder / RESULTS).read_bytes() == before


def test_a_student_that_records_nothing_says_nothing(tmp_path, caplog):
    summary, one = looked_at(brown(drawn(9)), blob_student(), tmp_path)
    assert FAR not in caplog.text + json.dumps(summary) + json.dumps(one.run)
    assert unlike_training(one.open_slide(), None, blob_student()) == []
