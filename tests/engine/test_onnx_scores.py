"""`mhkd eval ... MODEL.WEIGHTS student.onnx`."""

import json
from pathlib import Path

from mhkd.engine.evaluation import prepare_datasets, score_trained
from mhkd.engine.exported import export_cfg, export_network
from mhkd.errors import InputError
from mhkd.modeling import student_cfg
from mhkd.onnx_export import export_onnx

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from detectron2.modeling import build_model

pytestmark = pytest.mark.slow


@pytest.fixture
def exported(disks_cfg, tmp_path):
    """Writes the folder of an untrained student and its .onnx file; gives the config."""

    def export(*options, classes=("disk",)):
        disks_cfg.merge_from_list(["MHKD.LR_MPP", 2.0, "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0, *options])
        prepare_datasets(disks_cfg, training=False)
        torch.manual_seed(0)
        network = build_model(student_cfg(disks_cfg))
        if disks_cfg.MODEL.MASK_ON:  # else they are 1/2 everywhere
            torch.nn.init.normal_(network.roi_heads.mask_head.predictor.weight)
        cfg = export_cfg(disks_cfg, "student")
        cfg.MHKD.CLASSES = list(classes)
        export_network(network.state_dict(), cfg, tmp_path / "student")
        export_onnx(tmp_path / "student", tmp_path / "student.onnx")
        return disks_cfg

    return export


def scores(cfg, weights):
    cfg = cfg.clone()
    cfg.MODEL.WEIGHTS = str(weights)
    return score_trained(cfg)


@pytest.mark.parametrize("kind, masks", [("upsampled", False), ("native", True)])
def test_its_scores_are_those_of_the_folder(exported, tmp_path, kind, masks):
    cfg = exported("MODEL.STUDENT.INPUT", kind, "MODEL.MASK_ON", masks)
    found, rles = [], []
    for name in ("student/model_final.pth", "student.onnx"):
        cfg.OUTPUT_DIR = str(tmp_path / "scored" / Path(name).name)
        scores(cfg, tmp_path / name)
        (path,) = Path(cfg.OUTPUT_DIR).rglob("coco_instances_results.json")
        rows = json.loads(path.read_text())
        rles.append([r["segmentation"] for r in rows] if masks else [])
        found.append(np.array([[r["image_id"], r["category_id"], r["score"], *r["bbox"]] for r in rows]))
    ours, theirs = found
    assert len(ours) > 20 and len(ours) == len(theirs)
    same = [(np.abs(theirs - row) < [0.1, 0.1, 1e-3, 0.05, 0.05, 0.05, 0.05]).all(axis=1) for row in ours]
    assert np.any(same, axis=1).all()
    for one, partners in zip(rles[0], same):
        others = [rle for rle, is_same in zip(rles[1], partners) if is_same]
        assert one in others or mask_util.iou([one], others, [0] * len(others)).max() > 0.99


def test_one_of_boxes_alone_is_not_scored_with_masks(exported, tmp_path):
    cfg = exported()
    cfg.MODEL.MASK_ON = True
    with pytest.raises(InputError, match=r"student\.onnx: finds boxes alone: set MODEL.MASK_ON False"):
        scores(cfg, tmp_path / "student.onnx")


def test_one_of_another_factor_is_refused(exported, tmp_path):
    cfg = exported("INPUT.LR_FACTOR", 4)
    cfg.INPUT.LR_FACTOR = 2
    with pytest.raises(
        InputError, match=r"student\.onnx: is for an LR factor of 4, and INPUT.LR_FACTOR is 2"
    ):
        scores(cfg, tmp_path / "student.onnx")


def test_one_of_other_classes_is_refused(exported, tmp_path):
    cfg = exported(classes=["vessel"])
    with pytest.raises(InputError, match=r"student\.onnx: finds \['vessel'\], and the dataset has \["):
        scores(cfg, tmp_path / "student.onnx")
