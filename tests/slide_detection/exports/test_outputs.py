import json
import logging
import os
import resource
import signal
from dataclasses import replace
from pathlib import Path

from mhkd.errors import InputError
from mhkd.slide_detection import Detections
from mhkd.slide_detection.exports import write_outputs

import numpy as np
import pytest
from PIL import Image

FILES = {
    "coco_instances_results.json", "detections.geojson", "detections_dsa.json",
    "glomeruli.csv", "overview.png", "summary.json",
}  # fmt: skip


def contents(folder):
    return {p.name: p.read_bytes() for p in Path(folder).iterdir()}


def test_same_input_same_bytes(found, info, slide, tmp_path):
    summary = write_outputs(tmp_path / "a", found, info, 1, slide)
    write_outputs(tmp_path / "b", found, info, 1, slide)
    assert set(contents(tmp_path / "a")) == FILES
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert json.loads((tmp_path / "a/summary.json").read_text()) == summary


def test_all_formats_agree(found, info, slide, tmp_path):
    rough = replace(found, boxes_px=found.boxes_px + 1 / 3)
    write_outputs(tmp_path, rough, info, 1, slide)
    coco = json.loads((tmp_path / "coco_instances_results.json").read_text())
    features = json.loads((tmp_path / "detections.geojson").read_text())["features"]
    elements = json.loads((tmp_path / "detections_dsa.json").read_text())["elements"]
    for c, f, e in zip(coco, features, elements, strict=True):
        x, y, width, height = c["bbox"]
        assert f["geometry"]["coordinates"][0][0] == [x, y]
        assert f["geometry"]["coordinates"][0][2] == pytest.approx([x + width, y + height])
        assert [e["width"], e["height"]] == [width, height]
        assert e["center"][:2] == pytest.approx([x + width / 2, y + height / 2], abs=1e-3)
        assert f["properties"]["measurements"]["Score"] == c["score"] == e["user"]["score"]


def test_none_found(info, slide, tmp_path):
    summary = write_outputs(tmp_path, Detections.empty(("normal", "sclerotic")), info, 1, slide)
    assert summary["glomeruli"] == 0
    (mark,) = json.loads((tmp_path / "coco_instances_results.json").read_text())
    assert mark == {"image_id": 1, "category_id": 1, "bbox": [0, 0, 0, 0], "score": 0}  # see test_coco
    assert json.loads((tmp_path / "detections.geojson").read_text())["features"] == []


def test_unusable_boxes_are_left_out_and_the_rest_clipped(info, slide, tmp_path, caplog):
    boxes = [[590, 390, 700, 500], [np.nan] * 4, [700, 10, 720, 20], [50, 50, 40, 60], [0, 0, np.inf, 9]]
    found = Detections(boxes, [0.9] * 5, [0] * 5, ("normal",))
    with caplog.at_level(logging.WARNING):
        write_outputs(tmp_path, found, info, 1, slide)
    coco = json.loads((tmp_path / "coco_instances_results.json").read_text())
    assert [c["bbox"] for c in coco] == [[590, 390, 10, 10], [0, 0, 600, 9]]
    assert "left out 3 boxes" in caplog.text


@pytest.mark.parametrize("room", [0, 700, 5000])
def test_a_full_disk_leaves_no_half_file(found, info, slide, tmp_path, room):
    """The system refuses to let any file grow beyond so many bytes, as a full disk would."""
    write_outputs(tmp_path / "whole", found, info, 1, slide)
    whole = contents(tmp_path / "whole")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        with pytest.raises(InputError, match="cannot be written"):
            write_outputs(tmp_path / "full", found, info, 1, slide)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    left = contents(tmp_path / "full")
    assert set(left) < FILES
    assert all(whole[name] == content for name, content in left.items())


def test_a_folder_that_cannot_be_made(found, info, slide, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file.*cannot be written"):
        write_outputs(tmp_path / "file" / "case.svs", found, info, 1, slide)


def test_overview_opens_as_a_picture(found, info, slide, tmp_path):
    write_outputs(tmp_path, found, info, 1, slide)
    with Image.open(tmp_path / "overview.png") as picture:
        picture.load()
        assert picture.width == 600
    assert not [n for n in os.listdir(tmp_path) if n.endswith(".tmp")]
