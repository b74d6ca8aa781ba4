"""Ranges of the config's keys: what cannot be meant is one line, before anything is trained or written."""

import re

import mhkd
from mhkd.engine import DistillationTrainer, launch, program
from mhkd.engine.devices import check_device
from mhkd.engine.keys import get
from mhkd.engine.program import Command
from mhkd.engine.ranges import RULES
from mhkd.engine.settings import check_settings
from mhkd.engine.unread import load_run_cfg, merge_options
from mhkd.errors import InputError
from mhkd.files import locked

import pytest
import torch
from detectron2.config import get_cfg
from support import CONFIGS, tiny_config

NAN, INF = float("nan"), float("inf")
BAD = {
    "SEED": (-1, 2.0),
    "MHKD.TEACHER_ITERS": (0, -5, None, 0.5),
    "MHKD.STUDENT_ITERS": (0, -1),
    "MHKD.STAGE": (-2, 5),
    "MHKD.SCHEDULE": ("mhkd2", ""),
    "MHKD.STUDENT_START": ("teachers",),
    "MHKD.LR_STEPS": ((1.5,), (0.5, -0.1), (NAN,), ("0.5",), 0.5, (True,)),
    "MHKD.LABELED_SHARE": (0, 1.1, NAN),
    "MHKD.UNLABELED_RATIO": (-0.1, 2, NAN),
    "MHKD.OUTPUT_SCORE_THRESH": (-0.1, 1.5, NAN),
    "MHKD.EVAL": ("both",),
    "MHKD.LR_MPP": (-1.0, NAN),
    "MHKD.CLASSES": (["a", "a"], [1], [""], ["\ud800"]),
    "SOLVER.ACCUMULATE_BATCHES": (0, -1),
    "SOLVER.IMS_PER_BATCH": (0, -2),
    "SOLVER.BASE_LR": (NAN, INF, -0.1, None),
    "SOLVER.MOMENTUM": (1.0, -0.1),
    "SOLVER.GAMMA": (0.0, -1.0, 2.0),
    "SOLVER.WEIGHT_DECAY": (-1.0, NAN),
    "SOLVER.WEIGHT_DECAY_BIAS": (-1.0, "x"),
    "SOLVER.WARMUP_ITERS": (-1,),
    "SOLVER.WARMUP_METHOD": ("none",),
    "SOLVER.WARMUP_FACTOR": (-1.0, 2.0),
    "SOLVER.CHECKPOINT_PERIOD": (-1,),
    "SOLVER.LR_SCHEDULER_NAME": ("Cosine",),
    "SOLVER.OPTIMIZER": ("adamw",),
    "SOLVER.AMP.DTYPE": ("bf16", "float32"),
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": ("all",),
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": (0.0, -1.0, NAN),
    "DATALOADER.NUM_WORKERS": (-1, 1.5),
    "DATASETS.TRAIN": (("a", "a"), (1,)),
    "INPUT.FORMAT": ("L", "rgb"),
    "INPUT.LR_FACTOR": (0, -4, 10**8, 2.5),
    "INPUT.LR_FILTER": ("cubic",),
    "INPUT.FLIP_PROB": (2.0, -0.5, NAN),
    "INPUT.SCANNER.BLUR_PX": (-1.0, NAN, INF),
    "INPUT.SCANNER.NOISE": (-1.0, 300.0, NAN),
    "INPUT.SCANNER.JPEG_QUALITY": (-1, 101),
    "INPUT.SCANNER.PROB": (1.5, NAN),
    "INPUT.AUG.SCALE": ((0.0, 1.0), (2.0, 1.0), (NAN, 1.0), (1.0,), ("a", "b")),
    "INPUT.AUG.CHANNEL": (1.5, NAN),
    "INPUT.AUG.JPEG_QUALITY": (101,),
    "MODEL.STUDENT.INPUT": ("lr",),
    "MODEL.STUDENT.DEPTH": (20, -18),
    "MODEL.STUDENT.STEM_OUT_CHANNELS": (-1, 10**8),
    "MODEL.STUDENT.RES2_OUT_CHANNELS": (-64,),
    "MODEL.STUDENT.STAGES": (0, 5),
    "MODEL.STUDENT.LEVELS": (("p3", "p3"), (3,)),
    "MODEL.STUDENT.FPN_CHANNELS": (-1,),
    "MODEL.STUDENT.FC_DIM": (-1, 10**8),
    "MODEL.BFA.CHANNELS": (0, -8, 10**8),
    "MODEL.BFA.NUM_BLOCKS": (-1,),
    "MODEL.BFA.SCALE": (0, -1),
    "MODEL.BFA.NORM": ("LN",),
    "MODEL.PIXEL_MEAN": ([1.0], [1.0, 2.0, NAN], ["a", "b", "c"]),
    "MODEL.PIXEL_STD": ([0.0, 1.0, 1.0],),
    "MODEL.RESNETS.DEPTH": (20,),
    "MODEL.RESNETS.NORM": ("IN",),
    "MODEL.FPN.OUT_CHANNELS": (0, 10**8),
    "MODEL.ROI_HEADS.NUM_CLASSES": (0,),
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": (1.5, NAN),
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": (0, 10**9),
    "MODEL.ANCHOR_GENERATOR.SIZES": ([32, 64], [[0]], [["a"]]),
    "MODEL.META_ARCHITECTURE": ("GeneralizedRCNN", "NoSuch"),
    "TEST.DETECTIONS_PER_IMAGE": (0, -1),
    "TEST.EVAL_PERIOD": (-1,),
    "OUTPUT_DIR": ("", " "),
}


@pytest.mark.parametrize("key, value", [(k, v) for k, values in BAD.items() for v in values])
def test_what_cannot_be_meant_is_one_line_that_names_the_key(tiny_cfg, key, value):
    parents, _, name = key.rpartition(".")
    (get(tiny_cfg, parents) if parents else tiny_cfg)[name] = value
    with pytest.raises(InputError, match=re.escape(name)) as error:
        check_settings(tiny_cfg)
    assert "\n" not in str(error.value)


def test_every_default_is_within_its_range():
    """But for what a base config always sets: the networks and the number of classes of COCO."""
    cfg = get_cfg()
    mhkd.add_mhkd_config(cfg)
    for rule, keys in RULES:
        for key in keys:
            assert rule.allows(get(cfg, key)), key
    keys = [k for _, keys in RULES for k in keys]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_the_configs_of_the_project_pass(path):
    """None sets a key that nothing reads, and each is within its ranges."""
    check_settings(load_run_cfg(path, ["MHKD.SCHEDULE", "direct"] if path.parent.name == "direct" else []))


def test_values_that_go_together(tiny_cfg):
    tiny_cfg.INPUT.CROP.ENABLED = True
    for size in ([0.9, 0.9], [96], [97, 96], [-96, 96], [0, 0], ["a", "b"]):
        tiny_cfg.INPUT.CROP.SIZE = size
        with pytest.raises(InputError, match="INPUT.CROP.SIZE .* must be multiples of INPUT.LR_FACTOR 4"):
            check_settings(tiny_cfg)
    tiny_cfg.INPUT.CROP.SIZE = [96, 64]
    tiny_cfg.SOLVER.IMS_PER_BATCH = 3
    check_settings(tiny_cfg, processes=3)
    with pytest.raises(InputError, match="IMS_PER_BATCH 3 must be a multiple of 2 processes"):
        check_settings(tiny_cfg, processes=2)
    tiny_cfg.MHKD.STUDENT_ITERS = 3
    with pytest.raises(InputError, match="STUDENT_ITERS 3 leaves step"):
        check_settings(tiny_cfg)
    check_settings(tiny_cfg, training=False)


def test_settings_that_do_not_go_together_are_one_line(disks_cfg):
    for key, value in (("MODEL.BACKBONE.NAME", "build_no_backbone"), ("MODEL.FPN.NORM", "GN")):  # 8 channels
        cfg = disks_cfg.clone()
        merge_options(cfg, [key, value], "x")
        with pytest.raises(InputError, match="networks of this config cannot be built: "):
            DistillationTrainer(cfg)
    disks_cfg.MODEL.ROI_HEADS.IOU_THRESHOLDS = [0.5, 0.6]  # Detectron2's assert has no message
    with pytest.raises(InputError, match=r"AssertionError of 'assert len\(labels\) == len\(thresholds\)"):
        DistillationTrainer(disks_cfg)


def test_a_mean_must_be_finite_numbers(tiny_cfg):
    tiny_cfg.MODEL.PIXEL_MEAN = [1.0]
    with pytest.raises(
        InputError, match=r"MODEL.PIXEL_MEAN \[1.0\]: must be a list of 3, each a finite number$"
    ):
        check_settings(tiny_cfg)


@pytest.mark.parametrize("options, said", [
    (["SOLVER.BASE_LR"], "SOLVER.BASE_LR: "),
    (["SOLVER.NO_SUCH", "1"], "SOLVER.NO_SUCH"),
    (["SOLVER.BASE_LR", "fast"], "SOLVER.BASE_LR"),
    (["SOLVER.BASE_LR.X", "1"], "SOLVER.BASE_LR.X"),
    (["DATASETS.TRAIN", "plain_train"], "DATASETS.TRAIN"),
])  # fmt: skip
def test_overrides_that_are_none(tiny_cfg, options, said):
    with pytest.raises(InputError, match=f"c.yaml {re.escape(said)}"):
        merge_options(tiny_cfg, options, "c.yaml")


@pytest.mark.parametrize("options", [
    ["SOLVER.BASE_LR", "0.1", "--resume"], ["--resume", "--num-gpus"], ["OUTPUT_DIR", "--resume"],
])  # fmt: skip
def test_an_option_behind_the_overrides_is_named(tiny_cfg, options):
    with pytest.raises(InputError, match="^--resume stands behind KEY VALUE: options come before them$"):
        merge_options(tiny_cfg, options, "c.yaml")


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check_device("cpu")
    for device in ("cuda", "cuda:3"):
        with pytest.raises(InputError, match=f"{device}: there is no GPU here"):
            check_device(device)
    for device in ("gpu", "", "cuda:x"):
        with pytest.raises(InputError, match=f"'{device}': is none"):
            check_device(device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_device("cuda:1")
    with pytest.raises(InputError, match="there are 2 GPUs"):
        check_device("cuda:2")


@pytest.mark.parametrize("folder", ["file", "file/below", "/proc/none", "/proc/1/none"])
def test_a_folder_that_cannot_be_written_to(tmp_path, folder):
    (tmp_path / "file").touch()
    said = "cannot be written .* choose another folder"
    with pytest.raises(InputError, match=said), locked(tmp_path / folder):
        pytest.fail("it is locked")


@pytest.mark.parametrize("processes, machines, rank, said", [
    (0, 1, 0, "--num-gpus 0"), (-1, 1, 0, "--num-gpus -1"), (1, 0, 0, "--machine-rank 0"),
    (1, 2, 2, "--machine-rank 2"),
])  # fmt: skip
def test_numbers_of_processes(processes, machines, rank, said):
    with pytest.raises(InputError, match=said):
        launch(pytest.fail, processes, machines, rank, "auto", ())


@pytest.fixture
def refused_by_train_net(tmp_path, capsys):
    """A function from overrides to what train_net.py says; it exits with 1 and has written nothing."""
    out = tmp_path / "output"
    config = tmp_path / "config.yaml"
    config.write_text(tiny_config(out).dump())

    def refused(*options, config_file=config, eval_only=False):
        with pytest.raises(SystemExit) as stop:
            program.main(Command(config_file, options, eval_only, program="train_net.py"))
        assert not out.exists()
        return stop.value.code

    return refused


def test_train_net_refuses_before_anything_is_written(refused_by_train_net, tmp_path):
    for options, said in (
        (["MHKD.TEACHER_ITERS", "-5"], "MHKD.TEACHER_ITERS -5: must be a whole number of at least 1"),
        (["MODEL.WEIGHTS", "w.pth", "MHKD.SCHEDULE", "none"], "MODEL.WEIGHTS w.pth: starts the teacher"),
        (["MODEL.DEVICE", "gpu"], "device 'gpu': is none"),
        (["SOLVER.MAX_ITER", "5"], "SOLVER.MAX_ITER 5"),
    ):
        assert refused_by_train_net(*options).startswith(f"train_net.py: error: {said}")
    assert "DATASETS.TEST is ()" in refused_by_train_net(eval_only=True)
    assert "no such file" in refused_by_train_net(config_file=tmp_path / "nowhere.yaml")
