"""A run as its user meets it: what it says and keeps, what it leaves when it is refused or diverges."""

import re
from pathlib import Path

from mhkd.engine.divergence import diverged
from mhkd.engine.log import RunLog
from mhkd.engine.program import Command, main
from mhkd.engine.trainer import DistillationTrainer
from mhkd.errors import InputError
from mhkd.files import LOCK
from mhkd.schedules import TEACHER, Step

import pytest
import torch
from detectron2.engine import HookBase
from support import room_for
from test_files import held

pytestmark = pytest.mark.slow


@pytest.fixture
def run(disks_cfg, tmp_path):
    """A function that does what train_net.py does, given overrides."""
    disks_cfg.MHKD.SCHEDULE, disks_cfg.MHKD.TEACHER_ITERS, disks_cfg.MHKD.STUDENT_ITERS = "global_only", 2, 1
    config = tmp_path / "config.yaml"
    config.write_text(disks_cfg.dump())

    def run(*options, resume=True, eval_only=False):
        main(Command(config, list(options), eval_only, resume, "train_net.py"))

    run.out = Path(disks_cfg.OUTPUT_DIR)
    return run


def files_below(folder):
    """Content and time of every file but the lock."""
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != LOCK]
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


def test_a_run_shows_and_keeps_what_it_says_once(run, capsys):
    run("MHKD.STAGE", 0)
    shown = capsys.readouterr().out
    kept = (run.out / "log.txt").read_text()
    for line in (
        "disks_train: 4 images, 8 objects",  # before OUTPUT_DIR may be written to
        "Step 0_teacher: iterations 0 to 2",
        "teacher on disks_val: AP",
        f"every step up to 0_teacher is finished; the teacher is {run.out}/0_teacher/teacher",
    ):
        assert shown.count(line) == kept.count(line) == 1, line
    assert "d2.utils.events" in shown and "d2.utils.events INFO" in kept

    run()
    added = (run.out / "log.txt").read_text()[len(kept) :]
    assert added.count(f"Resuming at iteration 2 from {run.out}/0_teacher/model_final.pth") == 1
    assert added.count("Step 1_global_only") == 1 and "Step 0_teacher" not in added
    capsys.readouterr()
    before = files_below(run.out)
    run()
    shown = capsys.readouterr().out
    assert f"every step up to 1_global_only is finished; the student is {run.out}/student" in shown
    assert {k for k, v in files_below(run.out).items() if v != before.get(k)} == {"log.txt", "config.yaml"}


def test_a_refused_run_leaves_everything_as_it_was(run):
    run("MHKD.STAGE", 0)
    before = files_below(run.out)
    for options, resume, said in (
        (("SOLVER.BASE_LR", 0.5), True, "SOLVER.BASE_LR was 0.001, asked for 0.5"),
        (("SOLVER.OPTIMIZER", "AdamW"), True, "SOLVER.OPTIMIZER was SGD, asked for AdamW"),
        ((), False, "holds a training already"),
        (("SOLVER.BASE_LR", "much"), True, "SOLVER.BASE_LR"),
    ):
        with pytest.raises(SystemExit, match=f"^train_net.py: error: .*{said}"):
            run(*options, resume=resume)
        assert files_below(run.out) == before


def test_scoring_leaves_the_config_of_the_training(run, capsys):
    run("MHKD.STAGE", 0)
    before = files_below(run.out)["config.yaml"]
    run("MHKD.EVAL", "teacher", eval_only=True)
    assert '"teacher": {' in capsys.readouterr().out
    assert files_below(run.out)["config.yaml"] == before
    assert (run.out / "log.txt").read_text().count("teacher on disks_val: AP") == 2


def test_a_second_run_into_one_folder(run):
    with held(run.out) as pid, pytest.raises(SystemExit, match=f"output: another run .process {pid} on "):
        run()
    assert files_below(run.out) == {}


def test_the_log_of_a_run_that_fails_ends_with_why(tmp_path, capsys):
    with pytest.raises(InputError), RunLog() as log:
        log.keep_in(tmp_path)
        raise InputError("no such thing")
    assert (tmp_path / "log.txt").read_text().endswith("mhkd ERROR: no such thing\n")
    with pytest.raises(ZeroDivisionError), RunLog() as log:
        log.keep_in(tmp_path)
        raise ZeroDivisionError
    assert "Traceback" in (tmp_path / "log.txt").read_text()
    assert capsys.readouterr().out == ""  # its caller says it


# --- Divergence ------------------------------------------------------------------------------------


class Spoil(HookBase):
    """Stands before the others: ``what`` happens to the network before an iteration, or after it."""

    def __init__(self, iteration, what, after=False):
        self.iteration, self.what, self.after = iteration, what, after

    def before_step(self):
        if not self.after and self.trainer.iter == self.iteration:
            self.what(self.trainer.distilled.teacher)

    def after_step(self):
        if self.after and self.trainer.iter == self.iteration:
            self.what(self.trainer.distilled.teacher)


@torch.no_grad()
def to_nan(teacher):
    teacher.roi_heads.box_predictor.bbox_pred.weight[0, 0] = float("nan")


@torch.no_grad()
def to_huge(teacher):
    teacher.roi_heads.box_predictor.cls_score.weight.mul_(1e12)


def spoiled(cfg, *spoil):
    trainer = DistillationTrainer(cfg)
    trainer._hooks.insert(0, Spoil(*spoil))
    trainer._hooks[0].trainer = trainer
    return trainer


@pytest.fixture
def long_cfg(disks_cfg):
    """Five iterations of the teacher, a checkpoint after each."""
    from mhkd.engine import prepare_datasets

    disks_cfg.MHKD.STAGE, disks_cfg.MHKD.TEACHER_ITERS, disks_cfg.SOLVER.CHECKPOINT_PERIOD = 0, 5, 1
    prepare_datasets(disks_cfg)
    return disks_cfg


@pytest.mark.parametrize("clipped, remedy", [
    (False, "set SOLVER.CLIP_GRADIENTS.ENABLED True"), (True, r"SOLVER.CLIP_GRADIENTS.CLIP_VALUE \(2\)"),
])  # fmt: skip
def test_what_a_diverged_training_advises_is_not_set_already(tiny_cfg, clipped, remedy):
    clip = tiny_cfg.SOLVER.CLIP_GRADIENTS
    clip.ENABLED, clip.CLIP_VALUE = clipped, 2.0
    step = Step(0, TEACHER, 0, 4)
    said = str(diverged(tiny_cfg, [step], step, 3, "losses", {}, [(3, "a.png")]))
    assert re.search(rf"Lower SOLVER.BASE_LR \(.*\) or {remedy}$", said)


@pytest.mark.parametrize("after, iteration", [(False, 2), (True, 2), (True, 4)])
def test_a_diverged_training_keeps_its_last_good_checkpoint_and_goes_on_from_it(long_cfg, after, iteration):
    """Weights that are not finite before an iteration, after it, or after the last."""
    checkpoint = Path(long_cfg.OUTPUT_DIR, "checkpoint.pth")
    at = iteration + (after and iteration < 4)
    said = f"step 0_teacher diverged at iteration {at}: .*losses: .*loss_rpn_cls .*sound, and --resume"
    with pytest.raises(InputError, match=said):
        spoiled(long_cfg, iteration, to_nan, after).train()
    assert torch.load(checkpoint, weights_only=True)["iteration"] == iteration
    assert not Path(long_cfg.OUTPUT_DIR, "0_teacher").exists()
    DistillationTrainer(long_cfg).train(resume=True)
    assert Path(long_cfg.OUTPUT_DIR, "0_teacher/stage.json").is_file()


def test_losses_that_are_not_finite_are_named(long_cfg):
    with pytest.raises(InputError, match=r"at iteration 0: .*/loss_box_reg nan, teacher/loss_rpn_cls \d"):
        spoiled(long_cfg, 0, to_nan).train()
    assert not Path(long_cfg.OUTPUT_DIR, "checkpoint.pth").exists()
    # Nothing is there yet, so another rate may be tried in the same folder.
    long_cfg.SOLVER.BASE_LR = 1e-4
    DistillationTrainer(long_cfg).train(resume=True)


def test_weights_that_are_finite_but_beyond_measure_do_not_replace_a_good_checkpoint(long_cfg, caplog):
    long_cfg.SOLVER.BASE_LR = 1e-9  # what is huge stays so
    trainer = spoiled(long_cfg, 2, to_huge, True)
    trainer.max_iter = 4
    trainer.train()
    state = torch.load(Path(long_cfg.OUTPUT_DIR, "checkpoint.pth"), weights_only=True)
    assert state["iteration"] == 2
    assert "iteration 2: no checkpoint is written, since losses are" in caplog.text


def test_looking_for_divergence_changes_nothing(long_cfg, tmp_path):
    """Also with a norm that learns from each image that it sees."""
    found = []
    for period in (1, 0):
        long_cfg.SOLVER.CHECKPOINT_PERIOD = period
        long_cfg.MODEL.RESNETS.NORM = "BN"
        long_cfg.OUTPUT_DIR = str(tmp_path / f"period{period}")
        torch.manual_seed(0)
        trainer = DistillationTrainer(long_cfg)
        trainer.train()
        metrics = Path(long_cfg.OUTPUT_DIR, "metrics.json").read_text().splitlines()
        found.append((trainer.distilled.state_dict(), len(metrics)))
    (checked, lines), (plain, expected_lines) = found
    assert all(torch.equal(checked[k], plain[k]) for k in plain) and lines == expected_lines


# --- A full disk -----------------------------------------------------------------------------------


def test_a_full_disk_is_one_line_and_the_last_good_state_stays(run):
    run("MHKD.STAGE", 0)
    good = files_below(run.out / "0_teacher")
    size = (run.out / "0_teacher/model_final.pth").stat().st_size
    said = "model_final.pth: cannot be written .File too large"
    with room_for(size // 2), pytest.raises(SystemExit, match=said):
        run()
    assert files_below(run.out / "0_teacher") == good and not list(run.out.rglob("*.tmp"))
    assert "cannot be written" in (run.out / "log.txt").read_text().splitlines()[-1]
    run()
    assert (run.out / "1_global_only/stage.json").is_file()
