"""Corrections outlive what they were made on."""

import mhkd  # noqa: F401  (first)
from mhkd.corrections.corrected import corrected, object_ids
from mhkd.corrections.journal import REJECTED, Correction, CorrectionFile
from mhkd.slide_detection.finished import find_finished
from mhkd.slide_detection.options import DetectOptions
from mhkd.slide_detection.run import detect_slide

import numpy as np
import pytest
from blob_student import blob_student, write_disks


@pytest.mark.slow
def test_another_student_finds_anew_and_the_corrections_stay(tmp_path):
    path, _, _ = write_disks(tmp_path / "a.tiff", (1500, 1200))

    def detect(**changes):
        detect_slide(path, tmp_path / "out", blob_student(**changes), DetectOptions(), progress=False)
        slide = find_finished(tmp_path / "out").finished[0]
        return slide, slide.detections()

    slide, found = detect()
    box = tuple(found.boxes_px[0].tolist())
    CorrectionFile(slide).append(Correction(object_ids(found, {})[0], box, REJECTED))
    slide, anew = detect(checksum="others", lr_mpp=6.0)
    assert len(anew) == len(found) and not np.array_equal(anew.boxes_px, found.boxes_px)
    assert slide.run["student"]["lr_mpp"] == 6
    now = corrected(anew, CorrectionFile(slide).standing(), 0)
    assert len(now.detections) == len(anew) - 1
    assert not (np.abs(now.detections.boxes_px - box).max(axis=1) < 20).any()
