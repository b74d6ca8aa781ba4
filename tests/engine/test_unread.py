"""Keys that are accepted and never read."""

import logging
from pathlib import Path

import mhkd
from mhkd.engine import DistillationTrainer, prepare_datasets
from mhkd.engine.keys import flat, get
from mhkd.engine.unread import NEVER_READ, NOT_IN_TRAINING, load_run_cfg, unread_keys
from mhkd.errors import InputError

import pytest
from detectron2.config import CfgNode, get_cfg
from support import tiny_config

VALUES = {
    "SOLVER.MAX_ITER": 5, "SOLVER.STEPS": (3,), "INPUT.RANDOM_FLIP": "none", "INPUT.MIN_SIZE_TRAIN": (640,),
    "DATALOADER.SAMPLER_TRAIN": "RepeatFactorTrainingSampler", "DATALOADER.REPEAT_THRESHOLD": 0.3,
    "TEST.AUG.MAX_SIZE": 9, "TEST.AUG.FLIP": False, "INPUT.CROP.TYPE": "relative",
    "TEST.PRECISE_BN.ENABLED": True, "MODEL.KEYPOINT_ON": True,
    "MODEL.LOAD_PROPOSALS": True, "VIS_PERIOD": 20, "MODEL.RETINANET.NUM_CLASSES": 2, "GLOBAL.HACK": 2.0,
    "MODEL.BFA.ENABLED": True, "MHKD.LR_MPP": 2.0, "MODEL.STUDENT.BACKBONE": "x",
    "SOLVER.REFERENCE_WORLD_SIZE": 8, "INPUT.TRAINED_SIZE_PX": 128,
    "DATASETS.PROPOSAL_FILES_TRAIN": ("p.pkl",),
}  # fmt: skip


def nested(key, value):
    for name in reversed(key.split(".")):
        value = {name: value}
    return value


@pytest.fixture
def write(tmp_path):
    base = tmp_path / "base.yaml"
    base.write_text(tiny_config(tmp_path / "output").dump())

    def write(name, content, of="base.yaml"):
        (tmp_path / name).write_text(CfgNode({"_BASE_": of, **content}).dump())
        return tmp_path / name

    return write


@pytest.mark.parametrize("key", VALUES)
@pytest.mark.slow
def test_an_error_where_the_user_sets_one_a_warning_where_a_base_does(write, caplog, key):
    value = VALUES[key]
    middle = write("middle.yaml", nested(key, value))
    leaf = write("leaf.yaml", {"SEED": 3}, "middle.yaml")
    caplog.set_level(logging.WARNING)
    with pytest.raises(InputError, match=f"{key} .*nothing reads it, so remove it: ") as error:
        load_run_cfg(middle)
    assert "\n" not in str(error.value) and not caplog.records
    with pytest.raises(InputError, match=key):
        load_run_cfg(leaf, [key, value])
    cfg = load_run_cfg(leaf)
    (record,) = caplog.records
    assert key in record.getMessage() and "_BASE_" in record.getMessage()
    default = get_cfg()
    mhkd.add_mhkd_config(default)
    assert get(cfg, key) == get(default, key)  # so that nothing that is exported says otherwise
    assert load_run_cfg(leaf, [key, get(default, key)]) == cfg


def test_what_is_done_anyway_may_be_said(write, caplog):
    leaf = write("leaf.yaml", {"INPUT": {"CROP": {"TYPE": "absolute"}}})
    cfg = load_run_cfg(leaf, ["DATALOADER.ASPECT_RATIO_GROUPING", False])
    assert cfg.INPUT.CROP.TYPE == "relative_range" and cfg.DATALOADER.ASPECT_RATIO_GROUPING
    assert not caplog.records


def test_scoring_reads_what_training_does_not(write):
    leaf = write("leaf.yaml", {"MODEL": {"BFA": {"ENABLED": True}}})
    assert load_run_cfg(leaf, training=False).MODEL.BFA.ENABLED
    with pytest.raises(InputError, match="MODEL.BFA.ENABLED True .*MHKD.SCHEDULE"):
        load_run_cfg(leaf)
    with pytest.raises(InputError, match="TEST.AUG.FLIP False"):
        load_run_cfg(leaf, ["TEST.AUG.FLIP", False], training=False)


def test_a_detector_alone_reads_more(write):
    leaf = write("leaf.yaml", {"VIS_PERIOD": 20})
    cfg = load_run_cfg(leaf, ["MODEL.META_ARCHITECTURE", "DirectDetector"])
    assert cfg.VIS_PERIOD == 20
    options = ["MODEL.TEACHER.META_ARCHITECTURE", "RetinaNet", "MODEL.RETINANET.NUM_CLASSES", 2]
    assert load_run_cfg(write("retina.yaml", {"SEED": 1}), options).MODEL.RETINANET.NUM_CLASSES == 2


# What the project sets itself before it reads it, and what is read into a place that is never reached.
READ_ALL_THE_SAME = {
    "SOLVER.MAX_ITER", "SOLVER.STEPS", "MODEL.BFA.ENABLED", "MODEL.STUDENT.BACKBONE", "MODEL.LOAD_PROPOSALS",
    "MODEL.KEYPOINT_ON", "VIS_PERIOD",
}  # fmt: skip


def test_nothing_reads_them(disks_cfg):
    """A whole training, its scores and its exports ask for none of them."""
    disks_cfg.MHKD.SCHEDULE, disks_cfg.MHKD.STUDENT_ITERS, disks_cfg.MHKD.TEACHER_ITERS = "local_only", 1, 1
    poisoned = Poisoned.of(disks_cfg)
    with pytest.raises(AssertionError, match="RANDOM_FLIP is read"):
        poisoned.INPUT.RANDOM_FLIP  # noqa: B018
    prepare_datasets(poisoned)
    DistillationTrainer(poisoned).train()
    assert Path(disks_cfg.OUTPUT_DIR, "student/config.yaml").is_file()


class Poisoned(CfgNode):
    """Fails where a key that nothing should read is asked for by its name."""

    @classmethod
    def of(cls, cfg):
        node = cls(cfg)
        node.__dict__["poison"] = set()
        for key in set(unread_keys(cfg)) - READ_ALL_THE_SAME:
            parents, _, name = key.rpartition(".")
            owner = get(node, parents) if parents else node
            owner.__dict__.setdefault("poison", set()).add(name)
        return node

    def __getattr__(self, name):
        if name in self.__dict__.get("poison", ()):
            raise AssertionError(f"{name} is read")
        return super().__getattr__(name)


def test_every_entry_is_a_key():
    cfg = get_cfg()
    mhkd.add_mhkd_config(cfg)
    keys = list(flat(cfg))
    for entry in {**NEVER_READ, **NOT_IN_TRAINING}:
        assert any(k == entry or (entry[-1] in "._" and k.startswith(entry)) for k in keys), entry
