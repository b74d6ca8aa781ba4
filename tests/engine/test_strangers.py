"""Students are files that laboratories pass around: whatever is in them, a bad one is one line in seconds."""

import os
import resource
import shutil
import time
import zipfile

import mhkd
from mhkd.cli import main
from mhkd.engine.exported import export_cfg, export_checkpoint, export_network
from mhkd.errors import InputError
from mhkd.slide_detection.student import load_student

import numpy as np
import pytest
import torch
import yaml
from blob_student import write_slide
from click.testing import CliRunner
from detectron2.modeling import build_model
from support import tiny_config

HUGE = 10**8
TOO_LARGE = "network of more than|allocate memory"  # whichever comes first
SETTINGS = {
    "channels of the pyramid": ("MODEL.FPN.OUT_CHANNELS", HUGE, "MODEL.FPN.OUT_CHANNELS"),
    "channels that are in range": ("MODEL.FPN.OUT_CHANNELS", 60_000, TOO_LARGE),
    "width": ("MODEL.RESNETS.WIDTH_PER_GROUP", HUGE, "WIDTH_PER_GROUP"),
    "width that is in range": ("MODEL.RESNETS.WIDTH_PER_GROUP", 65_536, TOO_LARGE),
    "stem": ("MODEL.RESNETS.STEM_OUT_CHANNELS", 65_536, TOO_LARGE),
    "anchors": ("MODEL.ANCHOR_GENERATOR.SIZES", [[1.0] * 5000] * 4, "SIZES: has 5000 values"),
    "ratios": ("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", [[1.0] * 90], "another architecture"),
    "an anchor that is text": ("MODEL.ANCHOR_GENERATOR.SIZES", [["a"]], "ANCHOR_GENERATOR.SIZES"),
    "detections": ("TEST.DETECTIONS_PER_IMAGE", HUGE, "DETECTIONS_PER_IMAGE"),
    "proposals": ("MODEL.RPN.POST_NMS_TOPK_TEST", HUGE, "POST_NMS_TOPK_TEST"),
    "the head's width": ("MODEL.ROI_BOX_HEAD.FC_DIM", 65_536, TOO_LARGE),
    "the head's layers": ("MODEL.ROI_BOX_HEAD.NUM_FC", HUGE, "NUM_FC"),
    "the head's layers that are in range": ("MODEL.ROI_BOX_HEAD.NUM_FC", 1024, "network of more than"),
    "convolutions of the RPN": ("MODEL.RPN.CONV_DIMS", [HUGE], "RPN.CONV_DIMS 100000000: must"),
    "pooler": ("MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", HUGE, "POOLER_RESOLUTION"),
    "classes": ("MODEL.ROI_HEADS.NUM_CLASSES", HUGE, "NUM_CLASSES"),
    "no class": ("MODEL.ROI_HEADS.NUM_CLASSES", 0, "NUM_CLASSES"),
    "BFA": ("MODEL.BFA.ENABLED", True, "another architecture"),
    "factor 0": ("INPUT.LR_FACTOR", 0, "INPUT.LR_FACTOR 0: must be"),
    "factor -4": ("INPUT.LR_FACTOR", -4, "INPUT.LR_FACTOR -4: must be"),
    "a huge factor": ("INPUT.LR_FACTOR", HUGE, "INPUT.LR_FACTOR"),
    "a huge image": ("INPUT.TRAINED_SIZE_PX", HUGE, "TRAINED_SIZE_PX"),
    "a huge image of an old student": ("INPUT.MIN_SIZE_TEST", HUGE, "MIN_SIZE_TEST"),
    "a tiny resolution": ("MHKD.LR_MPP", 1e-9, "--tile-size-px"),
    "no resolution": ("MHKD.LR_MPP", float("nan"), "LR_MPP nan"),
    "no backbone": ("MODEL.BACKBONE.NAME", "Nothing", "holds no student"),
    "no backbone within": ("MODEL.STUDENT.BACKBONE", "Nothing", "No object named 'Nothing'"),
    "itself as a backbone": ("MODEL.STUDENT.BACKBONE", "StudentBackbone", "recursion"),
    "no architecture": ("MODEL.META_ARCHITECTURE", "Nothing", "holds no student but a Nothing"),
    "another architecture": ("MODEL.META_ARCHITECTURE", "DistilledRCNN", "no student but a Distilled"),
    "no RPN": ("MODEL.PROPOSAL_GENERATOR.NAME", "Nothing", "'Nothing'"),
    "proposals from elsewhere": ("MODEL.PROPOSAL_GENERATOR.NAME", "PrecomputedProposals", "unknown"),
    "no heads": ("MODEL.ROI_HEADS.NAME", "Nothing", "'Nothing'"),
    "no box head": ("MODEL.ROI_BOX_HEAD.NAME", "Nothing", "'Nothing'"),
    "no anchor generator": ("MODEL.ANCHOR_GENERATOR.NAME", "Nothing", "'Nothing'"),
    "no pooler": ("MODEL.ROI_BOX_HEAD.POOLER_TYPE", "Nothing", "Nothing"),
    "no such depth": ("MODEL.RESNETS.DEPTH", 99, "RESNETS.DEPTH"),
    "no such norm": ("MODEL.RESNETS.NORM", "XN", "RESNETS.NORM"),
    "no such level": ("MODEL.RPN.IN_FEATURES", ["p9"], "p9"),
    "groups that do not divide": ("MODEL.RESNETS.NUM_GROUPS", 7, "groups|network of more than"),
    "a deformable network": ("MODEL.RESNETS.DEFORM_ON_PER_STAGE", [True] * 4, "another architecture"),
    "masks without weights": ("MODEL.MASK_ON", True, "another architecture"),
    "no contrast": ("MODEL.PIXEL_STD", [0.0, 1.0, 1.0], "PIXEL_STD"),
    "no colour": ("MODEL.PIXEL_MEAN", [1.0], "PIXEL_MEAN"),
    "another format": ("INPUT.FORMAT", "L", "INPUT.FORMAT"),
    "too many names": ("MHKD.CLASSES", ["a", "b", "c"], "MHKD.CLASSES"),
    "names that are none": ("MHKD.CLASSES", [1, 2], "MHKD.CLASSES"),
}


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """An honest one."""
    folder = tmp_path_factory.mktemp("student")
    options = ["MODEL.ROI_HEADS.NUM_CLASSES", 2, "MHKD.CLASSES", ["a", "b"], "MHKD.LR_MPP", 8.0]
    cfg = export_cfg(tiny_config(folder, options), "student")
    export_network(build_model(cfg).state_dict(), cfg, folder)
    load_student(str(folder), "cpu")
    return folder


def changed(student, folder, key, value):
    shutil.copytree(student, folder)
    content = yaml.safe_load((student / "config.yaml").read_text())
    *parents, name = key.split(".")
    node = content
    for parent in parents:
        node = node[parent]
    node[name] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    return folder


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def check_refused(folder, message, load):
    before, start = peak_mib(), time.perf_counter()
    with pytest.raises(InputError, match=message) as error:
        load()
    assert time.perf_counter() - start < 30 and peak_mib() - before < 300
    line = str(error.value)
    assert "\n" not in line and len(line) < 1000 and str(folder) in line


@pytest.mark.parametrize("key, value, message", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.slow
def test_a_setting_that_no_student_has(student, tmp_path, key, value, message):
    folder = changed(student, tmp_path / "student", key, value)
    check_refused(folder, message, lambda: load_student(str(folder), "cpu"))


@pytest.mark.parametrize("name", ["stem", "factor 0", "no heads"])
def test_the_door_of_default_predictor_refuses_it_too(student, tmp_path, name):
    key, value, message = SETTINGS[name]
    folder = changed(student, tmp_path / "student", key, value)
    check_refused(folder, message, lambda: mhkd.load_student(folder, "cpu"))


class Command:
    def __reduce__(self):
        return os.mkdir, ("RAN",)


class Bytes:
    """10 GiB of zeros."""

    def __reduce__(self):
        return bytearray, (10 * 2**30,)


def write_compressed(path, content):
    torch.save(content, path.with_suffix(".tmp"))
    with zipfile.ZipFile(path.with_suffix(".tmp")) as plain, zipfile.ZipFile(path, "w", 8) as z:
        for info in plain.infolist():
            z.writestr(info.filename, plain.read(info.filename))


WEIGHTS = {
    "empty": (lambda path: path.write_bytes(b""), "is no checkpoint"),
    "text": (lambda path: path.write_text("weights"), "is no checkpoint"),
    "a command": (lambda path: torch.save({"model": Command()}, path), "damaged, or holds more than tensors"),
    "a number of bytes": (lambda path: torch.save({"model": Bytes()}, path), "asks for a bytearray"),
    "a number of bytes in the old form": (
        lambda path: torch.save({"model": Bytes()}, path, _use_new_zipfile_serialization=False),
        "asks for a bytearray",
    ),
    "a list": (lambda path: torch.save([1, 2], path), "holds no weights but a list"),
    "none": (lambda path: torch.save({"model": {}}, path), "network of more than"),
    "one number for many": (
        lambda path: torch.save({"model": {"x": torch.zeros(1).expand(10**9, 10**9)}}, path),
        "claims more weights than",
    ),
    "one tensor of many names": (
        lambda path: torch.save({"model": dict.fromkeys(map(str, range(1000)), torch.zeros(10**5))}, path),
        "claims more weights than",
    ),
    "compressed": (
        lambda path: write_compressed(path, {"model": {"x": torch.zeros(10**7)}}),
        "is compressed",
    ),
}


@pytest.mark.parametrize("write, message", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.slow
def test_weights_that_are_none(student, tmp_path, monkeypatch, write, message):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(student, tmp_path / "student")
    (tmp_path / "student" / "model_final.pth").unlink()
    write(tmp_path / "student" / "model_final.pth")
    folder = tmp_path / "student"
    check_refused(folder, message, lambda: load_student(str(folder), "cpu"))
    check_refused(folder, message, lambda: mhkd.load_student(folder, "cpu"))
    assert not (tmp_path / "RAN").exists()


STRANGER = '_BASE_: {}\nOUTPUT_DIR: !!python/object/apply:os.mkdir ["RAN"]\nVERSION: 2\n'


def test_a_strangers_config_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    slide = write_slide(tmp_path / "slide.tiff", np.full((300, 300, 3), 200, np.uint8))
    folder = tmp_path / "stranger"
    folder.mkdir()
    (folder / "model_final.pth").write_bytes(b"")
    (tmp_path / "base.yaml").write_text("SEED: 1\n")
    for text, message in (
        (STRANGER.format("http://127.0.0.1:9/base.yaml"), "os.mkdir"),
        (STRANGER.partition("\n")[2], "os.mkdir"),
        ("_BASE_: http://127.0.0.1:9/base.yaml\nVERSION: 2\n", "_BASE_"),
        ("_BASE_: ../base.yaml\nVERSION: 2\n", "whole"),
    ):
        (folder / "config.yaml").write_text(text)
        for arguments in (
            ["detect", slide, "--student", folder, "--out", tmp_path / "out"],
            ["overlay", "--student", folder, "--dataset", "none_val", "--out", tmp_path / "out"],
        ):
            result = CliRunner().invoke(main, list(map(str, arguments)))
            assert result.exit_code == 2 and isinstance(result.exception, SystemExit)
            assert message in result.output and len(result.output.splitlines()) == 1
        with pytest.raises(InputError, match=message):
            mhkd.load_student(folder)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["base.yaml", "slide.tiff", "stranger"]


def test_a_strangers_checkpoint_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = {"plan": [{"step": "1_basic"}], "stage": 1, "bfa": False, "classes": ["a"], "lr_mpp": 1.0}
    content |= {"model": {"student.x": torch.zeros(1)}, "cfg": STRANGER.format("base.yaml")}
    torch.save(content, tmp_path / "checkpoint.pth")
    with pytest.raises(InputError, match=r"checkpoint.pth.*os\.mkdir"):
        export_checkpoint("checkpoint.pth", tmp_path / "out", "student")
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pth"]


@pytest.mark.parametrize("plan", [[], [{}], 3, None])
def test_a_checkpoint_whose_record_of_steps_is_damaged_is_one_line(tmp_path, plan):
    content = {"plan": plan, "stage": 1, "bfa": False, "classes": ["a"], "lr_mpp": 1.0, "cfg": ""}
    torch.save(content | {"model": {"student.x": torch.zeros(1)}}, tmp_path / "checkpoint.pth")
    with pytest.raises(InputError, match=r"checkpoint.pth: its record of steps is damaged"):
        export_checkpoint(tmp_path / "checkpoint.pth", tmp_path / "out", "student")
