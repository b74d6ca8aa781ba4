"""The task "classification" end to end: trained, resumed, scored, exported, refused where it cannot be."""

import json
from pathlib import Path

import mhkd
from mhkd.engine import exported_cfg, load_exported, prepare_datasets, score_trained
from mhkd.engine.settled import settled
from mhkd.engine.unread import load_run_cfg
from mhkd.errors import InputError

import numpy as np
import pytest
import torch
from detectron2.engine import DefaultPredictor
from killed_training import train
from labelled_images import write_labels
from PIL import Image
from support import CONFIGS, write_disks

SMALL = [
    "MODEL.RESNETS.STEM_OUT_CHANNELS", 8, "MODEL.RESNETS.STRIDES", [2, 1, 2, 2, 1], "INPUT.LR_FACTOR", 2,
    "DATALOADER.NUM_WORKERS", 0, "MHKD.TEACHER_EPOCHS", 0, "MHKD.STUDENT_EPOCHS", 0, "MHKD.TEACHER_ITERS", 3,
    "MHKD.STUDENT_ITERS", 5,
]  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """ "cells": 6 images of 2 patients to train on, 3 of a third to score, 4 without a class."""
    root = tmp_path_factory.mktemp("datasets")
    for split, names in (("train", "abcdef"), ("val", "xyz")):
        classes = ("dark", "mid", "pale")
        patients = ("p1", "p2") if split == "train" else ("p3",)
        rows = [
            (f"{n}.png", classes[k % 3], f"s{patients[k % len(patients)]}", patients[k % len(patients)])
            for k, n in enumerate(names)
        ]
        write_labels(root, rows, split=split)
    write_labels(root, [(f"u{k}.png", "", "s9", "p9") for k in range(4)], split="more")
    write_disks(root)
    return root


def config(root, monkeypatch, folder, options=()):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))
    data = ["DATASETS.TRAIN", ("cells_train",), "DATASETS.TEST", ("cells_val",), "OUTPUT_DIR", str(folder)]
    return load_run_cfg(CONFIGS / "Lymphoma" / "resnet18_cpu.yaml", [*SMALL, *data, *options])


@pytest.fixture
def cells(root, monkeypatch, tmp_path):
    """A config of the small networks on "cells", with options over it."""
    return lambda *options, folder=tmp_path / "output": config(root, monkeypatch, folder, options)


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        cfg = config(root, monkeypatch, tmp_path_factory.mktemp("trained"), ["MHKD.SCHEDULE", "at_plus"])
        train(cfg)
    return cfg


def weights(cfg, step):
    return torch.load(Path(cfg.OUTPUT_DIR, step, "model_final.pth"), weights_only=True)["model"]


def test_it_trains_and_is_scored(trained):
    reports = {
        p.parent.name: json.loads(p.read_text()) for p in Path(trained.OUTPUT_DIR).glob("*/stage.json")
    }
    assert set(reports) == {"0_teacher", "1_at_plus"}
    assert set(reports["1_at_plus"]["loss_weights"]) == {"attention_plus", "feature_matching"}
    assert reports["1_at_plus"]["relative_to"] == "cross_entropy"
    student, teacher = reports["1_at_plus"]["results"]["student"], reports["0_teacher"]["results"]["teacher"]
    assert {"accuracy", "balanced_accuracy", "auroc", "macro_f1"} <= set(student)
    assert score_trained(trained) == pytest.approx(student)
    assert score_trained(trained, "teacher") == pytest.approx(teacher)
    # Without the data that it was trained on, which another process has not read.
    elsewhere = trained.clone()
    elsewhere.DATASETS.TRAIN = ("not_at_hand_train",)
    prepare_datasets(elsewhere, training=False)
    assert score_trained(elsewhere) == pytest.approx(student)
    elsewhere.MHKD.ORDERED_CLASSES = True
    scored = score_trained(elsewhere)
    assert scored.keys() - student.keys() == {"kappa"} and -100 <= scored["kappa"] <= 100


@pytest.mark.slow
@pytest.mark.parametrize("iteration", [1, 5])  # the teacher's, the student's
def test_it_resumes_bit_exactly(trained, cells, iteration):
    killed = cells("MHKD.SCHEDULE", "at_plus", "SOLVER.CHECKPOINT_PERIOD", 1)
    train(killed, kill_after=iteration)
    train(killed, resume=True)
    check_equal(trained, killed, "1_at_plus")


@pytest.mark.slow
def test_it_resumes_bit_exactly_on_unlabelled_images(cells, tmp_path):
    options = [
        "MHKD.SCHEDULE",
        "kd_unlabelled",
        "SOLVER.CHECKPOINT_PERIOD",
        1,
        "MHKD.UNLABELED",
        ("cells_more",),
    ]
    whole, killed = (cells(*options, folder=tmp_path / name) for name in ("whole", "killed"))
    train(whole)
    train(killed, kill_after=5)
    train(killed, resume=True)
    check_equal(whole, killed, "2_last_layer")


def check_equal(one, other, step):
    a, b = (weights(cfg, step) for cfg in (one, other))
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_student_is_handed_out_with_its_pixels_statistics(trained, root):
    cfg = mhkd.load_student(Path(trained.OUTPUT_DIR, "student"), "cpu")
    files = sorted(Path(root, "cells", "images").glob("[a-f].png"))
    pixels = np.concatenate([np.asarray(Image.open(f)).reshape(-1, 3) for f in files]).astype(float)
    assert cfg.MODEL.PIXEL_MEAN == pytest.approx(pixels.mean(0).tolist(), abs=1e-6)
    assert cfg.MODEL.PIXEL_STD == pytest.approx(pixels.std(0).tolist(), abs=1e-6)
    assert cfg.MHKD.CLASSES == ["dark", "mid", "pale"]
    odd = np.random.default_rng(0).integers(0, 256, (13, 7, 3), np.uint8)
    found = DefaultPredictor(cfg)(odd[:, :, ::-1])["probabilities"]
    exported = exported_cfg(Path(trained.OUTPUT_DIR, "student"), "cpu")
    image = torch.from_numpy(odd.transpose(2, 0, 1).copy())
    with torch.no_grad():
        (plain,) = load_exported(exported)([{"image": image}])
        (turned,) = load_exported(exported, ["pale", "dark", "mid"])([{"image": image}])
    torch.testing.assert_close(found, plain["probabilities"])
    torch.testing.assert_close(turned["probabilities"], plain["probabilities"][[2, 0, 1]])


def test_epochs_are_draws_of_the_images_that_a_step_knows(cells):
    epochs = ["MHKD.TEACHER_EPOCHS", 4, "MHKD.STUDENT_EPOCHS", 10, "SOLVER.IMS_PER_BATCH", 1]
    for schedule, of_student in (("kd", 60), ("kd_unlabelled", 100)):  # 6 labelled images, 4 others
        cfg = cells("MHKD.SCHEDULE", schedule, "MHKD.UNLABELED", ("cells_more",), *epochs)
        prepare_datasets(cfg)
        found = settled(cfg)
        assert (found.MHKD.TEACHER_ITERS, found.MHKD.STUDENT_ITERS) == (24, of_student)
    cfg.SOLVER.ACCUMULATE_BATCHES = 2
    assert settled(cfg).MHKD.TEACHER_ITERS == 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["MHKD.SCHEDULE", "mhkd"],
            "MHKD.SCHEDULE mhkd is of MHKD.TASK detection, not classification: .* kd,",
        ),
        (["MHKD.SCHEDULE", "kd_unlabelled"], "there is no unlabelled image"),
        (
            ["MODEL.META_ARCHITECTURE", "DistilledRCNN"],
            "trains for MHKD.TASK detection: .* DistilledClassifier",
        ),
        (["MODEL.RESNETS.DEPTH", 101], "MODEL.RESNETS.DEPTH 101: a classifier's is one of 18, 34, 50"),
        (["MODEL.WEIGHTS", "x.pth"], "a classifier trains from scratch"),
        (["DATASETS.TRAIN", ("disks_train",)], "disks_train is a dataset of boxes"),
        (["MHKD.CLASSES", ["cat", "dog"]], "the data's classes are .*'dark'"),
        (["SOLVER.OPTIMIZER", "adam"], "SOLVER.OPTIMIZER 'adam': must be 'SGD' or 'Adam' or 'AdamW'"),
    ],
)
def test_what_does_not_go_together_is_one_error(cells, options, message):
    with pytest.raises(InputError, match=message):
        prepare_datasets(cells(*options))


def test_keys_of_detection_are_refused(cells):
    with pytest.raises(InputError, match="MODEL.FPN.OUT_CHANNELS 64 .*: nothing reads it"):
        cells("MODEL.FPN.OUT_CHANNELS", 64)


def test_a_classifiers_schedule_and_losses_are_refused_by_detection(tiny_cfg, tmp_path):
    tiny_cfg.MHKD.SCHEDULE = "kd"
    with pytest.raises(InputError, match="MHKD.SCHEDULE kd is of MHKD.TASK classification, not detection"):
        prepare_datasets(tiny_cfg)
    mine = tmp_path / "mine.yaml"
    mine.write_text("steps:\n  - {name: a, weights: {detect: 1, soft: 1}}\n")
    tiny_cfg.MHKD.SCHEDULE = str(mine)
    with pytest.raises(InputError, match="mine.yaml: step 1: the loss soft is of another task"):
        prepare_datasets(tiny_cfg)


@pytest.mark.parametrize("key", ["DATASETS.TRAIN", "DATASETS.TEST"])
def test_images_with_a_class_are_no_boxes(root, monkeypatch, tiny_cfg, key):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))
    tiny_cfg.merge_from_list([key, ("cells_train",)])
    with pytest.raises(InputError, match="cells_train is a dataset of images with a class each"):
        prepare_datasets(tiny_cfg)


def test_a_schedule_of_ones_own_has_the_classifiers_parts(cells, tmp_path):
    mine = tmp_path / "mine.yaml"
    steps = "steps:\n  - {name: a, weights: {cross_entropy: 1, soft: 0.5}, relative_to: cross_entropy}\n"
    mine.write_text("task: classification\n" + steps)
    prepare_datasets(cells("MHKD.SCHEDULE", str(mine)))


def test_a_teacher_of_other_classes(trained, root, monkeypatch, tmp_path):
    other = tmp_path / "datasets"
    for split, names in (("train", "abcd"), ("val", "xy")):
        classes = ("dark", "pale")
        rows = [(f"{n}.png", classes[k % 2], "", f"{split}{k}") for k, n in enumerate(names)]
        write_labels(other, rows, name="two", split=split)
    teacher = str(Path(trained.OUTPUT_DIR, "0_teacher", "teacher", "model_final.pth"))
    cfg = config(other, monkeypatch, tmp_path / "output", ["MODEL.TEACHER.WEIGHTS", teacher])
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("two_train",), ("two_val",)
    with pytest.raises(
        InputError, match=r"is of the classes \['dark', 'mid', 'pale'\], but \['dark', 'pale'\]"
    ):
        train(cfg)
    assert not Path(cfg.OUTPUT_DIR, "config.yaml").exists()


def test_a_given_teacher_is_used_as_it_is(trained, cells):
    teacher = str(Path(trained.OUTPUT_DIR, "0_teacher", "teacher", "model_final.pth"))
    cfg = cells("MODEL.TEACHER.WEIGHTS", teacher, "MHKD.SCHEDULE", "kd", "MODEL.STUDENT.DEPTH", 34)
    train(cfg)
    given = torch.load(teacher, weights_only=True)["model"]
    after = weights(cfg, "1_kd")
    assert all(torch.equal(v, after[f"teacher.{k}"]) for k, v in given.items())


def test_a_student_of_other_strides_is_not_scored(trained):
    cfg = trained.clone()
    cfg.MODEL.STUDENT.STRIDES = [2, 1, 1, 2, 2]
    with pytest.raises(InputError, match="student.*was trained with MODEL.RESNETS.STRIDES"):
        score_trained(cfg)


def test_a_teacher_of_other_strides_teaches_none(trained, cells):
    teacher = str(Path(trained.OUTPUT_DIR, "0_teacher", "teacher", "model_final.pth"))
    with pytest.raises(InputError, match="teacher.*was trained with MODEL.RESNETS.STRIDES"):
        train(cells("MODEL.TEACHER.WEIGHTS", teacher, "MODEL.RESNETS.STRIDES", [2, 2, 2, 2, 2]))


def test_the_config_beside_a_student_scores_it(trained, tmp_path):
    path = Path(trained.OUTPUT_DIR, "student", "config.yaml")
    cfg = load_run_cfg(path, ["OUTPUT_DIR", str(tmp_path)], training=False)
    prepare_datasets(cfg, training=False)
    assert score_trained(cfg) == pytest.approx(score_trained(trained))
