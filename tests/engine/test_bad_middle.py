"""What goes bad in the midst of a training: images, workers that read them, losses and gradients."""

import json
import os
import shutil
import signal
from pathlib import Path

from mhkd.data.loader import build_train_loader
from mhkd.data.workers import speaking_of_workers
from mhkd.engine import DistillationTrainer, prepare_datasets
from mhkd.engine.evaluation import evaluate
from mhkd.engine.unread import load_run_cfg
from mhkd.errors import InputError
from mhkd.tasks import get_task

import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.engine import HookBase
from killed_training import KillAfter, Killed
from labelled_images import write_labels
from support import CONFIGS, DISKS, tiny_config, write_disks
from torch import nn

pytestmark = pytest.mark.slow

EPOCH = 4  # images of each dataset
TWO_EPOCHS = [
    "MHKD.STAGE", 0, "MHKD.TEACHER_ITERS", 2 * EPOCH, "SOLVER.CHECKPOINT_PERIOD", EPOCH + 1,
    "DATALOADER.NUM_WORKERS", 0, "SOLVER.IMS_PER_BATCH", 1,
]  # fmt: skip


@pytest.fixture
def cfg(request, tmp_path, monkeypatch):
    """Two epochs of a teacher on four images of its own, a checkpoint after five iterations."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    out = tmp_path / "output"
    if request.param == "detection":
        write_disks(tmp_path)
        cfg = tiny_config(out, [*DISKS, *TWO_EPOCHS])
    else:
        for split, names in (("train", "abcd"), ("val", "xy")):
            rows = [(f"{n}.png", ("dark", "pale")[k % 2], f"s{n}", f"p{n}") for k, n in enumerate(names)]
            write_labels(tmp_path, rows, split=split)
        small = ["MODEL.RESNETS.STEM_OUT_CHANNELS", 8, "MODEL.RESNETS.STRIDES", [2, 1, 2, 2, 1],
                 "INPUT.LR_FACTOR", 2, "MHKD.TEACHER_EPOCHS", 0, "MHKD.STUDENT_EPOCHS", 0]  # fmt: skip
        data = ["DATASETS.TRAIN", ("cells_train",), "DATASETS.TEST", ("cells_val",), "OUTPUT_DIR", str(out)]
        cfg = load_run_cfg(CONFIGS / "Lymphoma" / "resnet18_cpu.yaml", [*small, *data, *TWO_EPOCHS])
    prepare_datasets(cfg)
    return cfg


def drawn(cfg, draw):
    """File name of a draw."""
    loader = build_train_loader(cfg, lambda entry: entry, draw, draw + 1)
    return Path(next(iter(loader))[0]["file_name"])


def damage(path):
    """Bytes in the midst of the pixels, as a failing disk would: the size stays."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)


class After(HookBase):
    """``what()`` after an iteration."""

    def __init__(self, iteration, what):
        self.iteration, self.what = iteration, what

    def after_step(self):
        if self.trainer.iter == self.iteration:
            self.what()


def train(cfg, *hooks, resume=False):
    torch.manual_seed(cfg.SEED)
    trainer = DistillationTrainer(cfg)
    trainer.register_hooks(hooks)
    trainer.train(resume)
    return trainer


def cfg_mapper(cfg):
    return get_task(cfg).mapper(cfg)


def skipped(cfg):
    return json.loads(Path(cfg.OUTPUT_DIR, "skipped.json").read_text())


def weights(cfg):
    return torch.load(Path(cfg.OUTPUT_DIR, "0_teacher/model_final.pth"), weights_only=True)["model"]


def assert_equal(a, b):
    assert a.keys() == b.keys() and not [k for k in a if not torch.equal(a[k], b[k])]


# --- Images ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cfg, workers, mended",
    [("detection", 1, False), ("classification", 0, True)],
    indirect=["cfg"],
)
def test_an_image_damaged_in_epoch_2_is_skipped_and_a_resumed_run_ends_the_same(cfg, workers, mended):
    """Also where it is sound again when the second epoch is gone through anew."""
    cfg.DATALOADER.NUM_WORKERS = workers
    bad = EPOCH + 2  # a worker reads two ahead
    path = drawn(cfg, bad)
    sound = path.read_bytes()
    whole = cfg.clone()
    whole.OUTPUT_DIR += "_whole"
    train(whole, After(EPOCH - 1, lambda: damage(path)))
    [record] = skipped(whole)
    assert (record["iteration"], record["draw"], record["file_name"]) == (bad, bad, str(path))
    assert record["why"].startswith(f"{path}: cannot be decoded")

    path.write_bytes(sound)
    with pytest.raises(Killed):
        train(cfg, After(EPOCH - 1, lambda: damage(path)), KillAfter(bad))
    assert skipped(cfg) == [record]
    if mended:
        path.write_bytes(sound)
    train(cfg, resume=True)  # from iteration 5 on
    assert_equal(weights(cfg), weights(whole))
    assert skipped(cfg) == [record]


@pytest.mark.parametrize("cfg, workers", [("detection", 0), ("classification", 1)], indirect=["cfg"])
def test_more_images_than_may_be_skipped_are_one_error(cfg, workers):
    cfg.DATALOADER.NUM_WORKERS, cfg.DATALOADER.MAX_SKIPPED_IMAGES = workers, 1
    paths = [drawn(cfg, draw) for draw in range(EPOCH, 2 * EPOCH)]
    loader = build_train_loader(cfg, cfg_mapper(cfg), 0, 1)

    def damage_two():
        for path in paths[2:]:  # see above
            path.write_bytes(b"")

    said = r"iteration [67]: 2 images cannot be read, and at most 1 are skipped \(DATALOADER.MAX_SKIPPED"
    with pytest.raises(InputError, match=said) as error:
        train(cfg, After(EPOCH - 1, damage_two))
    assert "\n" not in str(error.value)
    assert {r["file_name"] for r in skipped(cfg)} == {str(p) for p in paths[2:]}
    for path in paths:
        path.write_bytes(b"")
    [entry] = next(iter(loader))  # as it is before the training counts
    assert len(entry["skipped"]) == 2 and "image" not in entry


@pytest.mark.parametrize("cfg", ["classification"], indirect=True)
def test_a_test_image_that_cannot_be_read_is_never_skipped(cfg):
    cfg.DATALOADER.NUM_WORKERS = 1
    [bad] = {Path(e["file_name"]) for e in DatasetCatalog.get(cfg.DATASETS.TEST[0])[:1]}
    damage(bad)
    with pytest.raises(InputError, match=f"^{bad}: cannot be decoded .*restore it$"):
        evaluate(cfg, nn.Module(), "teacher")


# --- Workers ---------------------------------------------------------------------------------------


class Deadly:
    """A mapper in which a worker does ``what`` when it is at ``path``."""

    def __init__(self, mapper, path, what):
        self.mapper, self.path, self.what = mapper, str(path), what

    def __call__(self, entry):
        if entry["file_name"] == self.path:
            self.what()
        return self.mapper(entry)


# torch hears of a killed one by a signal, or finds it gone: what comes first.
DEAD = r"a process that reads images \(\d+\) (is killed|exited|died).*; it was last at {}\. If memory ran out"


def no_memory():
    bytearray(2**62)


@pytest.mark.parametrize("what, said", [
    (lambda: os.kill(os.getpid(), signal.SIGKILL), DEAD), (lambda: os._exit(3), DEAD),
    (no_memory, "{}: there is not enough memory to read it"),
])  # fmt: skip
@pytest.mark.parametrize("cfg", ["detection"], indirect=True)
def test_a_worker_that_dies_names_what_it_read(cfg, what, said):
    cfg.DATALOADER.NUM_WORKERS = 2
    path = drawn(cfg, EPOCH - 1)
    loader = build_train_loader(cfg, Deadly(cfg_mapper(cfg), path, what), 0, EPOCH)
    with pytest.raises(InputError, match=said.format(path)) as error, speaking_of_workers():
        list(loader)
    assert "\n" not in str(error.value)


# --- Losses and gradients --------------------------------------------------------------------------


class SpoilGradient(HookBase):
    """A gradient of the iteration is not finite, though its losses are."""

    def __init__(self, iteration):
        self.iteration = iteration

    def before_step(self):
        if self.trainer.iter == self.iteration:
            weight = next(p for p in self.trainer.distilled.parameters() if p.requires_grad)
            weight.register_hook(lambda gradient: gradient / 0)


@pytest.mark.parametrize("cfg", ["classification"], indirect=True)
def test_gradients_that_are_not_finite_end_it_before_the_weights_and_can_be_replayed(cfg, tmp_path):
    at = EPOCH + 2
    said = (
        rf"step 0_teacher diverged at iteration {at}: gradients \(e.g. of .*\) not finite; losses: .*images: "
    )
    with pytest.raises(InputError, match=said + str(drawn(cfg, at))):
        train(cfg, SpoilGradient(at))
    out = Path(cfg.OUTPUT_DIR)
    record = json.loads((out / "diverged.json").read_text())
    assert record["images"] == [{"draw": at, "file_name": str(drawn(cfg, at))}]
    assert record["iteration"] == at and record["losses"] and record["state"] == "diverged.pth"
    assert record["checkpoint"] == str(out / "checkpoint.pth")

    replay, whole = cfg.clone(), cfg.clone()
    replay.OUTPUT_DIR, whole.OUTPUT_DIR = str(tmp_path / "replay"), str(tmp_path / "whole")
    Path(replay.OUTPUT_DIR).mkdir()
    shutil.copy(out / "diverged.pth", Path(replay.OUTPUT_DIR, "checkpoint.pth"))
    with pytest.raises(InputError, match=said):
        train(replay, SpoilGradient(at), resume=True)
    train(replay, resume=True)
    train(whole)
    assert_equal(weights(replay), weights(whole))
