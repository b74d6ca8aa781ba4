"""Weights in a network of other anchors or pixels than they were trained in, where all shapes fit."""

import re

from mhkd.engine import load_network
from mhkd.engine.checkpoint import save_atomically
from mhkd.engine.exported import export_cfg, export_network
from mhkd.errors import InputError
from mhkd.modeling.build import build_network

import pytest
from support import tiny_config


@pytest.fixture
def config(tmp_path):
    return lambda *options: tiny_config(tmp_path / "output", options)


def exported(cfg, network, folder):
    cfg = export_cfg(cfg, network)
    cfg.MHKD.CLASSES = ["disk"]
    return export_network(build_network(cfg).state_dict(), cfg, folder)


OTHERS = [
    ("MODEL.ANCHOR_GENERATOR.SIZES", [[24], [48], [96], [192]]),
    ("MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO", 2),
    ("MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS", (5.0, 5.0, 2.0, 2.0)),
    ("MODEL.PIXEL_MEAN", [0.0, 0.0, 0.0]),
    ("MODEL.RESNETS.STRIDE_IN_1X1", True),
    ("INPUT.FORMAT", "BGR"),
]


@pytest.mark.parametrize("key, value", OTHERS, ids=[key for key, _ in OTHERS])
def test_what_the_weights_would_compute_something_else_with(config, tmp_path, key, value):
    path = exported(config(), "teacher", tmp_path / "teacher")
    with pytest.raises(InputError, match=f"{re.escape(str(path))}: was trained with {key} "):
        load_network(config(key, value), "teacher", path)


@pytest.mark.parametrize("trained, given", [("native", "upsampled"), ("upsampled", "native")])
def test_what_a_student_sees(config, tmp_path, trained, given):
    key = "MODEL.STUDENT.INPUT"
    path = exported(config(key, trained), "student", tmp_path / "student")
    load_network(config(key, trained), "student", path)
    with pytest.raises(InputError, match="another architecture|was trained with"):
        load_network(config(key, given), "student", path)


def test_what_does_not_change_what_they_compute(config, tmp_path):
    path = exported(config(), "teacher", tmp_path / "teacher")
    options = ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.3, "MODEL.RPN.POST_NMS_TOPK_TEST", 50,
               "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 8, "MODEL.STUDENT.INPUT", "native"]  # fmt: skip
    load_network(config(*options), "teacher", path)


def test_a_training_checkpoint_has_its_config_in_it(config, tmp_path):
    cfg, path = config(), tmp_path / "model_0000009.pth"
    weights = {f"student.{k}": v for k, v in build_network(export_cfg(cfg, "student")).state_dict().items()}
    plan = [{"step": "1_none"}]
    checkpoint = {
        "model": weights,
        "classes": ["disk"],
        "cfg": cfg.dump(),
        "plan": plan,
        "stage": 1,
        "bfa": False,
    }
    save_atomically(checkpoint, path)
    load_network(cfg, "student", path)
    with pytest.raises(InputError, match="was trained with MODEL.ANCHOR_GENERATOR.SIZES"):
        load_network(config("MODEL.ANCHOR_GENERATOR.SIZES", [[24], [48], [96], [192]]), "student", path)
