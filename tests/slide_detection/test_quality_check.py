"""``--qc``: tissue that is out of focus is not searched, and how much that was is said."""

import csv

import mhkd  # noqa: F401  (first)
from mhkd.errors import InputError
from mhkd.slide_detection.differences import differences
from mhkd.slide_detection.exports import write_summary_csv
from mhkd.slide_detection.finished import find_finished
from mhkd.slide_detection.options import DetectOptions
from mhkd.slide_detection.run import detect_slide

import cv2
import numpy as np
import pytest
from blob_student import DISK, TISSUE, blob_student, write_slide


@pytest.fixture(scope="module")
def half_blurred(tmp_path_factory):
    """3 x 2 mm: nuclei, too pale to be found, all over; a disk in each half; the right one is blurred."""
    rng = np.random.default_rng(0)
    image = np.full((1024, 1536, 3), 243, np.uint8)
    image[128:-128, 128:-128] = TISSUE
    for x, y in rng.uniform((136, 136), (1400, 888), (12000, 2)).astype(int):
        cv2.circle(image, (int(x), int(y)), 3, (170, 108, 160), -1)
    for x in (400, 1100):
        cv2.circle(image, (x, 500), 45, DISK, -1)
    image[:, 768:] = cv2.GaussianBlur(image, (0, 0), 4.0)[:, 768:]
    return write_slide(tmp_path_factory.mktemp("slides") / "half.tiff", image)


def detected(path, out, **options):
    summary = detect_slide(path, out, blob_student(), DetectOptions(**options), progress=False)
    (one,), _, _ = find_finished(out)
    return summary, one


def test_what_is_blurred_is_left_out_and_said(half_blurred, tmp_path):
    every, all_of_it = detected(half_blurred, tmp_path / "all")
    kept, sharp = detected(half_blurred, tmp_path / "qc", qc=True)
    assert every["glomeruli"] == 2 and kept["glomeruli"] == 1
    assert np.array_equal(sharp.detections().boxes_px[:, 0] < 768, [True])
    areas = every["quality"]["tissue_mm2"]
    assert areas["pen"] == areas["black"] == 0 and every["quality"]["left_out"] is False
    assert kept["quality"] == {**every["quality"], "left_out": True}
    assert kept["quality"]["share"] == pytest.approx(areas["blurred"] / every["tissue_mm2"], abs=1e-3)
    assert 0.4 < kept["quality"]["share"] < 0.6
    assert kept["tissue_mm2"] == pytest.approx(every["tissue_mm2"] - areas["blurred"], abs=1e-3)
    assert all_of_it.run["warnings"] == []
    (warning,) = sharp.run["warnings"]
    assert "% of its tissue is left out by --qc: blurred" in warning
    assert "--qc" in differences([all_of_it, sharp])[0]
    path = tmp_path / "summary.csv"
    write_summary_csv(path, [("a", every, ""), ("b", kept, ""), ("c", None, "damaged")])
    rows = list(csv.DictReader(path.open()))
    assert [r["quality_left_out"] for r in rows] == ["False", "True", ""]
    assert [r["blurred_mm2"] for r in rows] == [str(areas["blurred"])] * 2 + [""]
    assert rows[2]["error"] == "damaged"


def test_nothing_is_left_to_search(tmp_path):
    path = write_slide(tmp_path / "flat.tiff", np.full((512, 512, 3), TISSUE, np.uint8))
    with pytest.raises(InputError, match="flat.tiff: all of its tissue is out of focus.*leave out --qc"):
        detected(path, tmp_path / "out", qc=True)
    with pytest.raises(InputError, match="--glass-too"):
        DetectOptions(qc=True, tissue_only=False)
    summary, _ = detected(path, tmp_path / "glass", tissue_only=False)
    assert "quality" not in summary
