"""Mask R-CNN as teacher and student: trained, stopped, gone on with, scored and handed out."""

import json
import math
from pathlib import Path

import mhkd  # noqa: F401  (before Detectron2, which it prepares)
from mhkd.engine import score_trained
from mhkd.engine.exported import exported_cfg
from mhkd.slides.views import read_view

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.engine import DefaultPredictor
from killed_training import train
from support import DISKS, edit_coco, tiny_config, write_disks

pytestmark = pytest.mark.slow

OPTIONS = [
    *DISKS,
    "MODEL.MASK_ON", True,
    "MODEL.ROI_MASK_HEAD.NUM_CONV", 1,
    "MODEL.ROI_MASK_HEAD.CONV_DIM", 8,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0,
    "MHKD.OUTPUT_SCORE_THRESH", 0.0,
    "SOLVER.CHECKPOINT_PERIOD", 1,
    "TEST.DETECTIONS_PER_IMAGE", 5,
]  # fmt: skip


def outline(content):
    """A circle of 24 corners for each disk."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    for a in content["annotations"]:
        x, y, w, _ = a["bbox"]
        ring = np.stack([x + w / 2 * (1 + np.cos(angles)), y + w / 2 * (1 + np.sin(angles))], 1)
        a["segmentation"] = [ring.ravel().tolist()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two trainings of the four steps: whole, and killed within the last one, then gone on with."""
    root = tmp_path_factory.mktemp("datasets")
    folder = write_disks(root, size=130)  # 32.5 LR pixels
    for split in ("train", "val"):
        edit_coco(folder, outline, split)
    patch = pytest.MonkeyPatch()
    patch.setenv("DETECTRON2_DATASETS", str(root))
    whole = tiny_config(tmp_path_factory.mktemp("whole"), OPTIONS)
    train(whole)
    broken = tiny_config(tmp_path_factory.mktemp("broken"), OPTIONS)
    train(broken, kill_after=8)
    train(broken, resume=True)
    yield whole, broken
    patch.undo()


def final(cfg):
    return torch.load(Path(cfg.OUTPUT_DIR, "4_semantic", "model_final.pth"), weights_only=True)["model"]


def test_a_resumed_training_is_the_uninterrupted_one(trained):
    whole, broken = map(final, trained)
    assert any("mask_head" in k for k in whole)
    assert whole.keys() == broken.keys() and all(torch.equal(v, broken[k]) for k, v in whole.items())


def test_every_step_has_mask_losses_and_mask_scores(trained):
    lines = [json.loads(x) for x in Path(trained[0].OUTPUT_DIR, "metrics.json").read_text().splitlines()]
    logged = set().union(*lines)
    assert {"student/loss_mask", "teacher/loss_mask", "output/loss_mask", "bbox/segm_AP"} <= logged
    reports = [json.loads(p.read_text()) for p in Path(trained[0].OUTPUT_DIR).glob("*/stage.json")]
    assert len(reports) == 5
    for report in reports:
        for scores in report["results"].values():
            assert {"segm_AP", "segm_AP50", "segm_AP75", "segm_AR", "segm_Dice"} <= scores.keys()
    for path in Path(trained[0].OUTPUT_DIR).rglob("coco_instances_results.json"):
        assert all(r["segmentation"]["size"] == [130, 130] for r in json.loads(path.read_text()))


def test_default_predictor_gives_masks_in_lr_pixels(trained):
    cfg = exported_cfg(Path(trained[0].OUTPUT_DIR, "student"), "cpu")
    entry = DatasetCatalog.get("disks_val")[0]
    lr = read_view(entry, "lr", 4)
    found = DefaultPredictor(cfg)(lr[:, :, ::-1])["instances"]
    assert len(found) and found.pred_masks.shape == (len(found), *lr.shape[:2]) == (len(found), 32, 32)
    inside = [m.nonzero().float() for m in found.pred_masks]
    for at, box in zip(inside, found.pred_boxes.tensor):
        assert not len(at) or ((at[:, [1, 0]] + 1 >= box[:2]) & (at[:, [1, 0]] <= box[2:])).all()


def test_a_native_student_half_as_wide_learns_from_the_teachers_masks_and_is_handed_out(trained, tmp_path):
    schedule = tmp_path / "mine.yaml"
    losses = "{detect: 1, local: 1, local_mask: 1, output: 1}"
    schedule.write_text(f"steps:\n  - name: mine\n    weights: {losses}\n")
    options = [
        "MODEL.STUDENT.INPUT", "native",
        "MODEL.STUDENT.RES2_OUT_CHANNELS", 8,
        "MODEL.STUDENT.STAGES", 3,
        "MODEL.STUDENT.FPN_CHANNELS", 4,
        "MHKD.SCHEDULE", str(schedule),
        "MHKD.TEACHER_ITERS", 1,
        "MHKD.STUDENT_ITERS", 2,
    ]  # fmt: skip
    cfg = tiny_config(tmp_path / "output", [*OPTIONS, *options])
    train(cfg)
    student = Path(cfg.OUTPUT_DIR, "student")
    weights = torch.load(student / "model_final.pth", weights_only=True)["model"]
    assert weights["roi_heads.mask_head.mask_fcn1.weight"].shape[1] == 4
    lines = [json.loads(x) for x in Path(cfg.OUTPUT_DIR, "metrics.json").read_text().splitlines()]
    assert any("local_mask" in name and value > 0 for line in lines for name, value in line.items())
    entry = DatasetCatalog.get("disks_val")[0]
    found = DefaultPredictor(exported_cfg(student, "cpu"))(read_view(entry, "lr", 4)[:, :, ::-1])["instances"]
    assert found.pred_masks.shape == (len(found), 32, 32) and len(found)
    report = json.loads(Path(cfg.OUTPUT_DIR, "1_mine/stage.json").read_text())["results"]["student"]
    scores = {k: None if math.isnan(v) else v for k, v in score_trained(cfg).items()}
    assert scores == pytest.approx(report)
    cfg.TEST.AUG.ENABLED = True
    assert "segm_Dice" in score_trained(cfg)
    path = Path(cfg.OUTPUT_DIR, "inference/student/disks_val/coco_instances_results.json")
    assert {tuple(r["segmentation"]["size"]) for r in json.loads(path.read_text())} == {(130, 130)}
