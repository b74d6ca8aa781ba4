"""Two checkpoints are kept, and the newest that is whole is gone on from; nothing begins anew by itself."""

import logging
import os
import shutil
from pathlib import Path

import mhkd
from mhkd.engine import DistillationTrainer, prepare_datasets
from mhkd.engine.checkpoint import Damaged, load_file, save_atomically
from mhkd.engine.resume import find_start
from mhkd.errors import InputError
from mhkd.files import locked, writing_to
from mhkd.schedules import get_schedule, plan_steps

import pytest
import torch
from detectron2.engine import HookBase
from killed_training import train
from support import DISKS, room_for, tiny_config

pytestmark = pytest.mark.slow


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-1000])


def turn_a_bit(path):
    """In the middle: of a tensor."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def overwrite(path):
    path.write_bytes(bytes(path.stat().st_size))


class After(HookBase):
    """Something happens after an iteration, when everything else has been done for it."""

    def __init__(self, iteration, happens):
        self.iteration, self.happens = iteration, happens

    def after_step(self):
        if self.trainer.iter == self.iteration:
            self.happens()


def start(cfg):
    return find_start(cfg, plan_steps(get_schedule(cfg.MHKD.SCHEDULE), 3, 4), True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, disks_root):
    """Configs of a whole training of 3 + 4 iterations, and of one killed after 6 in all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(disks_root))
        options = [*DISKS, "MHKD.SCHEDULE", "global_only", "MHKD.TEACHER_ITERS", 3, "MHKD.STUDENT_ITERS", 4,
                   "SOLVER.CHECKPOINT_PERIOD", 1]  # fmt: skip
        whole, killed = (tiny_config(tmp_path_factory.mktemp(name), options) for name in ("whole", "killed"))
        train(whole)
        train(killed, kill_after=5)
        prepare_datasets(killed)
        yield whole, killed


@pytest.fixture
def killed(trained, tmp_path):
    """One's own of the killed one; its two checkpoints and the end of its first step."""
    cfg = trained[1].clone()
    cfg.OUTPUT_DIR = str(shutil.copytree(cfg.OUTPUT_DIR, tmp_path / "out"))
    out = Path(cfg.OUTPUT_DIR)
    return cfg, out / "checkpoint.pth", out / "checkpoint_previous.pth", out / "0_teacher/model_final.pth"


@pytest.mark.parametrize("damage", (cut_short, turn_a_bit, empty, overwrite))
def test_a_damaged_one_is_seen(killed, damage):
    cfg, newest, previous, _ = killed
    damage(newest)
    found = start(cfg)
    assert (found.iteration, found.path, list(found.damaged)) == (5, previous, [newest])


def test_the_newest_that_is_whole_is_found(killed):
    cfg, newest, previous, end = killed
    found = start(cfg)
    assert (found.iteration, found.path, found.damaged) == (6, newest, {})
    for path in (newest, previous):
        cut_short(path)
    found = start(cfg)
    assert (found.iteration, found.path, list(found.damaged)) == (3, end, [newest, previous])
    cut_short(end)
    said = f"{end}: .*restore it from a copy; without one, move {end.parent} away: .* from the beginning$"
    with pytest.raises(InputError, match=said):
        start(cfg)


def test_a_training_whose_newest_is_damaged_ends_as_an_uninterrupted_one(trained, killed, caplog):
    cfg, newest, previous, _ = killed
    turn_a_bit(newest)
    content = newest.read_bytes()
    with caplog.at_level(logging.WARNING, "mhkd"):
        train(cfg, resume=True)
    kept = newest.with_name("checkpoint.pth.damaged")
    said = f"going on from {previous}, iteration 5; it is kept as {kept}"
    assert [said in line for line in caplog.messages if "damaged" in line] == [True]
    assert kept.read_bytes() == content and not newest.exists() and not previous.exists()
    for name in ("1_global_only/model_final.pth", "student/model_final.pth"):
        expected, found = (load_file(Path(c.OUTPUT_DIR, name))["model"] for c in (trained[0], cfg))
        assert all(torch.equal(found[k], expected[k]) for k in expected)


def test_killed_between_the_two_names_it_goes_on_from_the_one_that_is_there(killed):
    cfg, newest, previous, _ = killed
    newest.replace(previous)
    assert (start(cfg).iteration, start(cfg).path) == (6, previous)


def test_the_end_of_a_step_is_not_needed_within_the_next_but_is_never_trained_again(trained, killed):
    cfg, newest, previous, end = killed
    cut_short(end)
    assert (start(cfg).iteration, list(start(cfg).damaged)) == (6, [end])
    newest.unlink()
    previous.unlink()
    with pytest.raises(InputError, match=f"cut short; restore it .* move {end.parent} away"):
        start(cfg)
    state = load_file(trained[0].OUTPUT_DIR + "/0_teacher/model_final.pth")
    save_atomically({**state, "iteration": 0}, newest)  # of before the finished step
    with pytest.raises(InputError, match=f"cut short; restore it .* move {end.parent} away"):
        start(cfg)


def test_where_nothing_else_is_whole_it_does_not_begin_anew_by_itself(trained, tmp_path):
    cfg = trained[0].clone()
    cfg.OUTPUT_DIR = str(tmp_path / "out")
    train(cfg, kill_after=1)
    newest, previous = (Path(cfg.OUTPUT_DIR, f"checkpoint{k}.pth") for k in ("", "_previous"))
    for path in (newest, previous):
        cut_short(path)
    said = f"{newest}: .*cut short; restore it .*, move {newest} away: .* from the beginning$"
    with pytest.raises(InputError, match=said):
        start(cfg)


def test_a_full_disk_leaves_both(killed):
    _, newest, previous, _ = killed
    before = newest.read_bytes(), previous.read_bytes()
    state = load_file(newest)
    with room_for(len(before[0]) // 2), pytest.raises(InputError, match="cannot be written .File too large"):
        save_atomically(state, newest, previous)
    assert (newest.read_bytes(), previous.read_bytes()) == before
    save_atomically(state, newest, previous)
    assert previous.read_bytes() == before[0]


def test_a_student_of_which_a_bit_has_turned_is_refused(trained, tmp_path):
    student = Path(shutil.copytree(Path(trained[0].OUTPUT_DIR, "student"), tmp_path / "student"))
    mhkd.load_student(student, "cpu")
    turn_a_bit(student / "model_final.pth")
    assert torch.load(student / "model_final.pth", weights_only=True)  # says nothing
    with pytest.raises(Damaged, match="model_final.pth: is damaged, its content is not what was written"):
        mhkd.load_student(student, "cpu")


def test_clocks_do_not_tell_which_is_the_newest(killed):
    """As after a clock that was put back between the two."""
    cfg, newest, previous, end = killed
    for path, seconds in ((newest, 1_000_000), (previous, 2_000_000), (end, 3_000_000)):
        os.utime(path, (seconds, seconds))
    assert (start(cfg).iteration, start(cfg).path) == (6, newest)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")  # of TensorBoard's
def test_a_training_whose_folder_was_removed_ends_and_makes_no_half_of_it(trained, tmp_path):
    cfg = trained[0].clone()
    cfg.OUTPUT_DIR = str(tmp_path / "out")
    out = Path(cfg.OUTPUT_DIR)
    trainer = DistillationTrainer(cfg)
    trainer.register_hooks([After(4, lambda: out.rename(tmp_path / "away"))])
    with pytest.raises(InputError, match=f"^{out}: was removed, or moved away, while this run"):
        with locked(out), writing_to(out):
            trainer.train()
    assert not out.exists()
    (tmp_path / "away").rename(out)
    assert start(cfg).iteration == 5
