"""Scores of a network on a test set of its own."""

import json

from mhkd.data.registrar import ensure_registered
from mhkd.engine import evaluate

import cv2
import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.structures import Boxes, Instances
from support import tiny_config
from torch import nn

NUM_OBJECTS = 300


@pytest.fixture
def crowded(tmp_path, monkeypatch):
    """Dataset "crowded_val": one image with 300 objects."""
    folder = tmp_path / "crowded"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.full((400, 400, 3), 200, np.uint8))
    boxes = [[20 * (k % 20), 20 * (k // 20), 12, 12] for k in range(NUM_OBJECTS)]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 400, "height": 400}],
        "annotations": [
            {"id": k + 1, "image_id": 1, "category_id": 1, "bbox": box, "area": 144, "iscrowd": 0}
            for k, box in enumerate(boxes)
        ],
        "categories": [{"id": 1, "name": "disk"}],
    }
    (folder / "annotations_val.json").write_text(json.dumps(content))
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    ensure_registered(["crowded_val"])
    return "crowded_val"


class Perfect(nn.Module):
    """Finds what is annotated, the first surest."""

    def __init__(self, dataset):
        super().__init__()
        boxes = torch.tensor([a["bbox"] for a in DatasetCatalog.get(dataset)[0]["annotations"]])
        boxes[:, 2:] += boxes[:, :2]
        self.found = Instances(
            (400, 400),
            pred_boxes=Boxes(boxes),
            scores=torch.linspace(0.9, 0.6, len(boxes)),
            pred_classes=torch.zeros(len(boxes), dtype=torch.long),
        )

    def forward(self, batch):
        return [{"instances": self.found} for _ in batch]


@pytest.mark.parametrize(
    "limit,ap", [(300, 100.0), (-1, 100.0), (100, 100 * 34 / 101), (30, 100 * 11 / 101), (0, 0.0)]
)
def test_as_many_detections_count_as_the_config_allows(crowded, tmp_path, limit, ap):
    cfg = tiny_config(tmp_path, ["DATASETS.TEST", (crowded,), "TEST.DETECTIONS_PER_IMAGE", limit])
    found = evaluate(cfg, Perfect(crowded), "teacher")
    # Nothing is false: precision is 1 at the recalls of 0, 0.01, ... that are reached.
    assert found["AP"] == pytest.approx(ap)
    share = 1 if limit < 0 else min(limit / NUM_OBJECTS, 1)
    assert found["AR"] == pytest.approx(100 * share)
