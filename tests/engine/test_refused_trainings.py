"""What a training refuses before it begins, or to go on with."""

import json
import pickle
import re
from pathlib import Path

import mhkd  # noqa: F401  (before Detectron2, which it prepares)
from mhkd.engine import DistillationTrainer, prepare_datasets
from mhkd.errors import InputError

import numpy as np
import pytest
import torch
from killed_training import train
from support import write_disks

pytestmark = pytest.mark.slow


def test_a_step_resumes_with_the_labels_it_began_with(disks_cfg):
    disks_cfg.SOLVER.CHECKPOINT_PERIOD, disks_cfg.MHKD.LABELED_SHARE = 1, 0.5
    train(disks_cfg, kill_after=4)
    disks_cfg.MHKD.LABELED_SHARE = 1.0
    with pytest.raises(InputError, match="LABELED_SHARE was 0.5, asked for 1.0"):
        train(disks_cfg, resume=True)
    disks_cfg.MHKD.LABELED_SHARE = 0.5
    train(disks_cfg, resume=True)
    assert Path(disks_cfg.OUTPUT_DIR, "4_semantic", "stage.json").is_file()


def test_a_training_from_before_regions_were_ignored_is_not_mixed(disks_cfg, tmp_path, monkeypatch):
    path = write_disks(tmp_path) / "annotations_train.json"
    plain = path.read_text()
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    disks_cfg.MHKD.STAGE = 0
    train(disks_cfg)
    final = Path(disks_cfg.OUTPUT_DIR, "0_teacher/model_final.pth")
    state = torch.load(final, weights_only=True)
    assert state.pop("ignored_regions") == "no label"
    del state["sources"]
    torch.save(state, final)
    done = final.with_name("stage.json")
    report = json.loads(done.read_text())
    del report["ignored_regions"], report["sources"]
    done.write_text(json.dumps(report))
    content = json.loads(plain)
    content["annotations"][0]["iscrowd"] = 1
    path.write_text(json.dumps(content))
    train(disks_cfg, resume=True)  # nothing is left to do
    disks_cfg.MHKD.STAGE = 1
    with pytest.raises(InputError, match="0_teacher.*crowds and cut objects.*background.*another OUTPUT_DIR"):
        train(disks_cfg, resume=True)
    path.write_text(plain)
    train(disks_cfg, resume=True)  # without crowds nothing is different


def test_predecessors_weights_gone_or_cut_short(disks_cfg):
    disks_cfg.MHKD.STAGE = 1
    train(disks_cfg)
    disks_cfg.MHKD.STAGE = 2
    final = Path(disks_cfg.OUTPUT_DIR, "1_basic", "model_final.pth")
    content = final.read_bytes()
    final.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="1_basic.model_final.pth.*cut short.*1_basic away.*0_teacher"):
        train(disks_cfg, resume=True)
    final.unlink()
    with pytest.raises(InputError, match="1_basic.model_final.pth.*missing"):
        train(disks_cfg, resume=True)


@pytest.mark.parametrize("name, content, said", [
    ("R-50.pkl", pickle.dumps({"model": {"stem.conv1.weight": np.zeros(3)}, "__author__": "Detectron2"}),
     "is a pickle, as those of Detectron2's model zoo"),
    ("zoo.pth", pickle.dumps({"model": {"stem.conv1.weight": np.zeros(3)}}), "is a pickle"),
    ("text.pth", b"lr: 1", "is no checkpoint"),
    ("list.pth", [torch.zeros(2)], "holds no weights but a list"),
    ("other.pth", {"state_dict": {"w": torch.zeros(2)}, "epoch": 3}, "weights of another architecture"),
    ("odd.pth", {"weights": {"w": torch.zeros(2)}, "epoch": 3}, "holds no weights by name"),
    ("code.pth", {"model": {"w": Path("x")}}, "is damaged, or holds more than tensors"),
    ("detectron2://ImageNetPretrained/MSRA/R-50.pkl", None, "is an address"),
    ("", None, "is a folder"),
])  # fmt: skip
def test_what_is_no_checkpoint_is_said_to_be_what_it_is(disks_cfg, tmp_path, name, content, said):
    path = name if "://" in name else tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    disks_cfg.MODEL.TEACHER.WEIGHTS = str(path)
    with pytest.raises(InputError, match=f"{re.escape(str(path))}: {said}") as error:
        DistillationTrainer(disks_cfg).train()
    assert "delete" not in str(error.value) and "\n" not in str(error.value)


def test_number_of_classes_must_fit(disks_cfg):
    disks_cfg.MODEL.ROI_HEADS.NUM_CLASSES = 5
    with pytest.raises(InputError, match="1 classes.*NUM_CLASSES to 1"):
        prepare_datasets(disks_cfg)
