"""Classifying slides: each piece of tissue, or the slide as a whole."""

import csv
import json
import os
import shutil

import mhkd  # noqa: F401  (first)
from mhkd.errors import InputError
from mhkd.slide_classification.slides import SlideOptions, classify_slides
from mhkd.tiling.cut import Cut

import numpy as np
import pytest
from blob_student import TISSUE, write_slide
from bright_classifier import bright_classifier
from test_files import held

SECTIONS = Cut("section", min_tissue_um2=10_000.0, max_hole_um2=10_000.0)
DARK = (120, 51, 120)


@pytest.fixture
def slide(tmp_path):
    """Two pieces of tissue of 600 x 400 px at 2 um, the second darker."""
    image = np.full((1200, 1600, 3), 244, np.uint8)
    image[100:500, 100:700], image[700:1100, 900:1500] = TISSUE, DARK
    return write_slide(tmp_path / "pieces.tif", image)


def test_sections(slide, tmp_path):
    classifier = bright_classifier()
    said = classify_slides([slide], tmp_path / "out", classifier, SlideOptions(SECTIONS))
    of_tissue, of_dark = TISSUE[1] / 255, DARK[1] / 255
    mean = (of_tissue + of_dark) / 2
    assert said.probabilities[slide] == pytest.approx([1 - mean, mean], abs=0.02)
    assert classifier.network.sizes == [pytest.approx((150, 100), abs=6)] * 2  # 8 um per LR pixel

    folder = tmp_path / "out" / "pieces.tif"
    with open(folder / "sections.csv", encoding="utf-8-sig") as f:
        rows = list(csv.DictReader(f))
    assert [r["class"] for r in rows] == ["pale", "dark"]
    assert float(rows[1]["probability"]) == pytest.approx(1 - of_dark, abs=0.02)
    assert float(rows[0]["x_px"]) == pytest.approx(100, abs=16)
    features = json.loads((folder / "sections.geojson").read_text())["features"]
    assert [f["properties"]["classification"]["name"] for f in features] == ["pale", "dark"]
    assert features[0]["properties"]["name"] == "Section 1"
    elements = json.loads((folder / "sections_dsa.json").read_text())["elements"]
    assert [e["group"] for e in elements] == ["pale", "dark"]

    again = bright_classifier()
    told = classify_slides([slide], tmp_path / "out", again, SlideOptions(SECTIONS))
    assert again.network.looked == 0 and told.probabilities == said.probabilities
    (folder / "sections.csv").unlink()
    classify_slides([slide], tmp_path / "out", again, SlideOptions(SECTIONS))
    assert again.network.looked == 2


def test_whole(slide, tmp_path):
    classifier = bright_classifier()
    said = classify_slides([slide], tmp_path / "out", classifier, SlideOptions(Cut("whole")))
    assert classifier.network.sizes == [(400, 300)]
    assert said.probabilities[slide] == pytest.approx([1 - 244 / 255, 244 / 255], abs=0.01)


def test_what_cannot_be_used(slide, tmp_path):
    empty = write_slide(tmp_path / "empty.tif", np.full((300, 300, 3), 244, np.uint8))
    unknown = write_slide(tmp_path / "unknown.tif", np.full((300, 300, 3), 100, np.uint8), mpp=None)
    options = SlideOptions(SECTIONS)
    said = classify_slides([empty, unknown, slide], tmp_path / "out", bright_classifier(), options)
    assert list(said.probabilities) == [slide]
    assert "no tissue" in said.errors[empty] and "--slide-mpp" in said.errors[unknown]
    with pytest.raises(InputError, match="--student-mpp"):
        classify_slides([slide], tmp_path / "out", bright_classifier(lr_mpp=0.0), options)


def test_a_second_run_into_one_folder_is_refused(slide, tmp_path):
    with held(tmp_path / "out" / ".work"), pytest.raises(InputError, match="out: another process is at work"):
        classify_slides([slide], tmp_path / "out", bright_classifier(), SlideOptions(SECTIONS))
    assert classify_slides(
        [slide], tmp_path / "out", bright_classifier(), SlideOptions(SECTIONS)
    ).probabilities


def test_a_slide_replaced_while_it_is_read(slide, tmp_path):
    """By a copy that has its size and time."""
    classifier = bright_classifier()
    look = classifier.network.forward

    def replace_first(batch):
        if not classifier.network.looked:
            shutil.copy2(slide, tmp_path / "copy")
            os.replace(tmp_path / "copy", slide)
        return look(batch)

    classifier.network.forward = replace_first
    said = classify_slides([slide], tmp_path / "out", classifier, SlideOptions(SECTIONS))
    assert not said.probabilities and "was taken away or changed while it was read" in said.errors[slide]
    assert not (tmp_path / "out" / "pieces.tif" / "run.json").exists()
