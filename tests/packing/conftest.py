"""A run, its student packed, and where packed ones are unpacked."""

import json
import tempfile

from mhkd.engine.exported import export_cfg, export_network
from mhkd.evaluation.threshold_file import record_threshold

import pytest
import torch
from detectron2.modeling import build_model
from onnx_student import write_onnx_student
from packed import CHOICE, pack
from support import tiny_config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder of a run whose last step has a score."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    options = ["MHKD.CLASSES", ["glomerulus"], "MODEL.ROI_HEADS.NUM_CLASSES", 1, "MHKD.LR_MPP", 8.0]
    options += ["DATASETS.TRAIN", ("mine_train",), "DATASETS.TEST", ("mine_val",)]
    options += ["INPUT.MIN_SIZE_TEST", 256, "INPUT.MAX_SIZE_TEST", 256, "TEST.DETECTIONS_PER_IMAGE", 10]
    cfg = export_cfg(tiny_config(folder, options), "student")
    weights = build_model(cfg).state_dict()
    for place in ("student", "1_basic/student"):
        export_network(weights, cfg, folder / place)
    report = {"step": "1_basic", "seconds": 2.0}
    report["results"] = {"student": {"AP": 41.27, "AP50": None, "AP-glomerulus": 41.27}}
    (folder / "1_basic" / "stage.json").write_text(json.dumps(report))
    record_threshold(folder / "student", CHOICE, "mine_choose")
    return folder


@pytest.fixture(scope="module")
def packed(run):
    out = run / "glomeruli.mhkd"
    pack(run / "student", "--out", out, "--stain", "PAS", "--not-for", "diagnosis")
    return out


@pytest.fixture
def onnx(tmp_path):
    path = tmp_path / "mine.onnx"
    write_onnx_student(path, [[2, 2, 20, 20]], [0.9], [0], lr_mpp=8.0)
    return path


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where private folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder
