"""The score threshold that is chosen after training."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import mhkd  # noqa: F401  (before Detectron2, which it prepares)
from mhkd.config import parse_cfg
from mhkd.data.registrar import ensure_registered
from mhkd.engine import DistillationTrainer, prepare_datasets
from mhkd.engine.best import keep_best
from mhkd.engine.checkpoint import load_file
from mhkd.engine.exported import export_cfg, export_network
from mhkd.engine.working_threshold import choose_threshold
from mhkd.errors import InputError
from mhkd.evaluation.best_threshold import best_f1
from mhkd.evaluation.pooled import pooled_of_coco
from mhkd.evaluation.threshold_file import FILE, working_threshold
from mhkd.schedules import Step, get_schedule
from mhkd.tasks import get_task

import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.structures import Boxes, Instances
from killed_training import train
from support import write_disks
from torch import nn


def coco(boxes, classes, names=("a", "b")):
    return {
        "images": [{"id": 7, "width": 900, "height": 900}, {"id": 8, "width": 900, "height": 900}],
        "annotations": [
            {"id": k, "image_id": 7, "category_id": c, "bbox": b}
            for k, (b, c) in enumerate(zip(boxes, classes), 1)
        ],
        "categories": [{"id": k + 3, "name": n} for k, n in enumerate(names)],
    }


def result(x, score, category_id=3, image_id=7):
    return {"image_id": image_id, "category_id": category_id, "bbox": [x, 0, 50, 50], "score": score}


def choose(results, lowest=0.0):
    boxes = [[x, 0, 50, 50] for x in (0, 100, 200, 300)]
    return best_f1(pooled_of_coco(coco(boxes, [3, 3, 4, 4]), results), lowest)


def test_best_f1_by_hand():
    """Of 4 objects: right at 0.9, 0.8 and 0.6, false at 0.7 and 0.3; F1 2/5, 4/6, 4/7, 6/8, 6/9."""
    results = [result(0, 0.9), result(100, 0.8), result(600, 0.7), result(200, 0.6, 4), result(300, 0.3, 3)]
    choice = choose(results)
    assert choice.score_threshold == 0.45 and choice.f1 == pytest.approx(75)
    assert choice.precision == pytest.approx(75) and choice.sensitivity == pytest.approx(75)
    assert choice.annotated == 4
    # Of another class, or on another image, none is right.
    assert choose([result(0, 0.9, 4), result(100, 0.8, image_id=8)]) is None and choose([]) is None


@pytest.mark.parametrize(
    ("below", "score", "threshold"),
    [(0.3, 0.9, 0.6), (0.611, 0.62, 0.62), (0.6121, 0.6129, 0.6125), (0.0, 0.004, 0.002)],
)
def test_the_number_is_short_and_between_the_last_right_and_the_first_false(below, score, threshold):
    choice = choose([result(0, score), result(600, below or 1e-9)])
    assert choice.score_threshold == threshold


def test_those_of_equal_scores_are_taken_together():
    """One right and one false with 0.9: F1 2/6; with the right one of 0.5 too, 4/7."""
    choice = choose([result(0, 0.9), result(600, 0.9), result(100, 0.5)])
    assert choice.score_threshold == 0.25 and choice.f1 == pytest.approx(400 / 7)


@pytest.mark.parametrize(
    ("lowest", "score", "threshold"),
    [
        (0.05, 0.0759, 0.05),
        (0.05, 0.05, 0.05),
        (0.06, 0.06, 0.06),
        (0.05, 0.3, 0.15),
        (0.0, 0.0759, 0.04),
    ],
)
def test_it_is_no_lower_than_the_scores_that_were_kept(lowest, score, threshold):
    """What lies below was left out: nobody knows what counting from there would give."""
    found = choose([result(0, score)], lowest).score_threshold
    assert found >= lowest and found == pytest.approx(threshold, abs=1e-8)


class Finder(nn.Module):
    """Finds what is annotated with scores from 0.4 on, and as much where nothing is, with less than 0.3."""

    def forward(self, batch):
        found = []
        for entry in batch:
            boxes = torch.tensor([a["bbox"] for a in self.annotations[entry["file_name"]]], dtype=torch.float)
            boxes[:, 2:] += boxes[:, :2]
            n = len(boxes)
            found.append({"instances": Instances(
                (128, 128),
                pred_boxes=Boxes(torch.cat([boxes, torch.tensor([[0.0, 0, 3, 3]]).repeat(n, 1)])),
                scores=torch.cat([torch.linspace(0.9, 0.4, n), torch.linspace(0.3, 0.1, n)]),
                pred_classes=torch.zeros(2 * n, dtype=torch.long),
            )})  # fmt: skip
        return found


@pytest.fixture
def cfg(disks_cfg, tmp_path, monkeypatch):
    """A third split, "three_choose"."""
    write_disks(tmp_path / "data", "three", splits=(("train", 2), ("val", 1), ("choose", 2)))
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "data"))
    disks_cfg.merge_from_list([
        "DATASETS.TRAIN", ("three_train",), "DATASETS.TEST", ("three_val",), "MHKD.CHOOSE_ON", "three_choose",
        "MHKD.SCHEDULE", "none", "MHKD.STUDENT_ITERS", 2,
    ])  # fmt: skip
    return disks_cfg


def test_it_is_recorded_beside_the_student_and_leaves_its_config_alone(cfg, tmp_path, caplog):
    ensure_registered(["three_choose"])
    network = Finder()
    network.annotations = {e["file_name"]: e["annotations"] for e in DatasetCatalog.get("three_choose")}
    folder = tmp_path / "student"
    export_network({"w": torch.zeros(1)}, export_cfg(cfg, "student"), folder)
    config = (folder / "config.yaml").read_bytes()
    assert b"three_choose" not in config
    with caplog.at_level(logging.INFO, "mhkd"):
        choose_threshold(cfg, network, [folder])
    content = json.loads((folder / FILE).read_text())
    assert content["score_threshold"] == 0.35 and content["f1"] == 100
    assert content["chosen_on"] == "three_choose"
    assert (folder / "config.yaml").read_bytes() == config
    assert "chosen on three_choose: scores of 0.35 or more count (F1 100.0" in caplog.text
    assert working_threshold(folder).score == 0.35
    # Other weights in its place: what was chosen is not theirs.
    export_network({"w": torch.ones(1)}, export_cfg(cfg, "student"), folder)
    assert working_threshold(folder).score == 0.5


def test_training_looks_at_the_split_and_says_what_it_chose(cfg, caplog):
    """Two iterations teach nothing, so no detection is right; with an empty key nobody looks."""
    torch.manual_seed(1)  # other weights may hit one by chance
    cfg.MHKD.CHOOSE_ON = ""
    with caplog.at_level(logging.INFO, "mhkd"):
        prepare_datasets(cfg)
        DistillationTrainer(cfg).train()
    assert "MHKD.CHOOSE_ON is empty: no threshold is chosen, mhkd detect counts from 0.5" in caplog.text
    cfg.MHKD.CHOOSE_ON = "three_choose"
    with caplog.at_level(logging.INFO, "mhkd"):
        prepare_datasets(cfg)
        DistillationTrainer(cfg).train(resume=True)
    assert "three_choose: no detection is right" in caplog.text


def test_the_best_on_that_split_is_kept_with_its_threshold(cfg, tmp_path):
    """AP 100 comes second; whoever comes later must be better than what is recorded."""
    ensure_registered(["three_choose"])
    annotations = {e["file_name"]: e["annotations"] for e in DatasetCatalog.get("three_choose")}
    cfg.merge_from_list(["MHKD.KEEP_BEST", True, "TEST.EVAL_PERIOD", 1, "OUTPUT_DIR", str(tmp_path)])
    step = Step(1, get_schedule("none").steps[0], 0, 2)
    folder = tmp_path / step.folder / "best"
    best = []
    for iteration, found_of_each in enumerate((1, 2, 1, 2), 1):
        network = Finder()
        network.annotations = {file: found[:found_of_each] for file, found in annotations.items()}
        network.iteration = nn.Parameter(torch.tensor(float(iteration)))
        # Another one each time.
        trainer = SimpleNamespace(cfg=cfg, task=get_task(cfg), output_dir=tmp_path, training_data=None)
        keep_best(trainer, step, iteration, network)
        weights = torch.load(folder / "model_final.pth", weights_only=True)["model"]
        record = json.loads((folder / "best.json").read_text())
        assert weights["iteration"] == record["iteration"] and record["chosen_on"] == "three_choose"
        best.append((record["iteration"], round(record["AP"])))
    assert best[0][1] < 60 and best[1:] == [(2, 100)] * 3
    assert working_threshold(folder).score == 0.35
    assert not any(
        parse_cfg((folder / "config.yaml").read_text(), "").MHKD[k] for k in ("CHOOSE_ON", "KEEP_BEST")
    )


def test_the_best_is_the_same_after_a_resumption(cfg, tmp_path):
    """Of untrained students with AP 0 the first stays; only a step of the student has one."""
    cfg.merge_from_list([
        "MHKD.SCHEDULE", "global_only", "MHKD.TEACHER_ITERS", 2, "MHKD.STUDENT_ITERS", 3,
        "MHKD.KEEP_BEST", True, "TEST.EVAL_PERIOD", 1, "SOLVER.CHECKPOINT_PERIOD", 1,
    ])  # fmt: skip
    other = cfg.clone()
    other.OUTPUT_DIR = str(tmp_path / "killed")
    train(cfg)
    train(other, kill_after=3)
    train(other, resume=True)
    whole, resumed = (Path(c.OUTPUT_DIR, "1_global_only", "best") for c in (cfg, other))
    assert (whole / "best.json").read_bytes() == (resumed / "best.json").read_bytes()
    expected, found = (load_file(folder / "model_final.pth")["model"] for folder in (whole, resumed))
    assert all(torch.equal(found[k], expected[k]) for k in expected)
    assert not Path(cfg.OUTPUT_DIR, "0_teacher", "best").exists()
    assert type(mhkd.load_student(whole, "cpu")).__name__ == "CfgNode"


@pytest.mark.parametrize("key, value", [("MHKD.CHOOSE_ON", ""), ("TEST.EVAL_PERIOD", 0)])
def test_the_best_needs_a_split_and_scores(cfg, key, value):
    cfg.merge_from_list(["MHKD.KEEP_BEST", True, "TEST.EVAL_PERIOD", 1, key, value])
    with pytest.raises(InputError, match="MHKD.KEEP_BEST True: needs a split .* and iterations between"):
        prepare_datasets(cfg)


@pytest.mark.parametrize("name", ["three_val", "three_val@glomerulus"])
def test_a_split_that_is_scored_is_refused(cfg, name):
    cfg.MHKD.CHOOSE_ON = name
    with pytest.raises(InputError, match="figures come from another|classes"):
        prepare_datasets(cfg)


def test_a_split_that_was_trained_on_is_warned_of(cfg, caplog):
    cfg.MHKD.CHOOSE_ON = "three_train"
    prepare_datasets(cfg)
    assert "will be too high" in caplog.text
