"""Several processes: they train what one would, and none waits for one that is dead."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mhkd  # noqa: F401  (before Detectron2, which it prepares)
from mhkd.engine import run
from mhkd.engine.run import exit_with_one_line, run_processes
from mhkd.errors import InputError

import pytest
import torch
import torch.distributed as dist
from detectron2.utils import comm
from killed_training import train
from support import REPO
from torch.nn.utils import parameters_to_vector

pytestmark = pytest.mark.slow

STEPS = ["0_teacher", "1_basic", "2_adaptive", "3_local", "4_semantic"]


def _train_one_of_two(rank, init_file, cfg):
    dist.init_process_group("gloo", init_method=f"file://{init_file}", rank=rank, world_size=2)
    comm._LOCAL_PROCESS_GROUP = dist.new_group([0, 1])
    train(cfg)
    dist.destroy_process_group()


def test_two_processes_train_what_one_does_through_all_steps(disks_cfg, tmp_path):
    """They draw the same images; every anchor and as many proposals of each image count, none by chance."""
    disks_cfg.merge_from_list([
        "SOLVER.IMS_PER_BATCH", 2, "DATASETS.TEST", (), "MODEL.RPN.BATCH_SIZE_PER_IMAGE", 10_000,
        "MODEL.RPN.POSITIVE_FRACTION", 1.0, "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 52,
        "MODEL.ROI_HEADS.POSITIVE_FRACTION", 1.0, "SOLVER.BASE_LR", 0.01,
    ])  # fmt: skip
    one, two = disks_cfg.clone(), disks_cfg.clone()
    one.OUTPUT_DIR, two.OUTPUT_DIR = str(tmp_path / "one"), str(tmp_path / "two")
    train(one)
    torch.multiprocessing.start_processes(
        _train_one_of_two, (str(tmp_path / "init"), two), nprocs=2, start_method="fork"
    )
    before = None
    for step in STEPS:
        files = (Path(c.OUTPUT_DIR, step, "model_final.pth") for c in (one, two))
        mine, theirs = (torch.load(f, weights_only=True) for f in files)
        assert (mine["processes"], theirs["processes"]) == (1, 2)
        mine, theirs = (parameters_to_vector(found["model"].values()) for found in (mine, theirs))
        torch.testing.assert_close(theirs, mine, rtol=1e-4, atol=1e-5)
        if before is not None:
            assert (theirs - mine).norm() < 1e-3 * (mine - before).norm()  # as far as a step went
        before = mine


def _rank_1_is_killed(folder):
    with exit_with_one_line("mhkd"):
        comm.synchronize()
        if comm.get_rank() == 1:
            Path(folder, "killed").write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)
        comm.synchronize()  # for ever


def test_a_killed_process_ends_the_others_within_a_minute_and_with_a_message(tmp_path, capfd):
    said = r"^process 1 of this machine was killed \(SIGKILL; is memory short\?\).*--resume goes on"
    with pytest.raises(InputError, match=said):
        run_processes(_rank_1_is_killed, 2, 1, 0, "auto", (str(tmp_path),))
    assert time.time() - float((tmp_path / "killed").read_text()) < 60
    assert "Traceback" not in capfd.readouterr().err


def _lose_the_other(rank, init_file):
    dist.init_process_group("gloo", init_method=f"file://{init_file}", rank=rank, world_size=2)
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    with exit_with_one_line("mhkd"):
        comm.synchronize()


def test_a_process_of_another_machine_that_is_gone_is_one_line(tmp_path, capfd, monkeypatch):
    """No launcher of this machine sees it die: the connection does."""
    monkeypatch.setattr(run, "PATIENCE_S", 0)
    context = torch.multiprocessing.get_context("fork")
    ranks = [context.Process(target=_lose_the_other, args=(rank, str(tmp_path / "init"))) for rank in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(60)
    assert [p.exitcode for p in ranks] == [1, -signal.SIGKILL]
    err = capfd.readouterr().err
    assert err.startswith("mhkd: error: the connection to another process is lost (") and err.count("\n") == 1


OWN_LOSS = """
import torch
from mhkd.losses import LOSS_REGISTRY, Iteration, needs

@LOSS_REGISTRY.register()
@needs("f_l", "f_h")
def cosine(it: Iteration) -> torch.Tensor:
    return torch.stack([1 - torch.cosine_similarity(it.f_l[k], it.f_h[k]).mean() for k in it.f_h]).mean()
"""
OWN_SCHEDULE = """
student_start: teacher
steps:
  - {name: direction, weights: {detect: 1, cosine: 0.5}}
  - {name: semantic, weights: {detect: 0.9, local: 0.1, output: 0.1}, teacher: [heads], bfa: true}
"""


def test_two_processes_train_a_schedule_and_a_loss_of_ones_own(disks_cfg, disks_root, tmp_path):
    disks_cfg.SOLVER.IMS_PER_BATCH = 2
    disks_cfg.MHKD.SCHEDULE = str(tmp_path / "own.yaml")
    config, loss = tmp_path / "config.yaml", tmp_path / "my_losses.py"
    config.write_text(disks_cfg.dump())
    loss.write_text(OWN_LOSS)
    (tmp_path / "own.yaml").write_text(OWN_SCHEDULE)
    result = subprocess.run(
        [sys.executable, REPO / "projects/MHKD/train_net.py", "--config-file", config, "--num-gpus", "2",
         "--dist-url", "auto", "--with", loss],
        capture_output=True, text=True, cwd=REPO,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert "find_unused_parameters" not in result.stderr
    out = Path(disks_cfg.OUTPUT_DIR)
    steps = sorted(p.parent.name for p in out.glob("*/stage.json"))
    assert steps == ["0_teacher", "1_direction", "2_semantic"]
    lines = [json.loads(line) for line in (out / "metrics.json").read_text().splitlines()]
    assert max(line["iteration"] for line in lines) == 9
    assert any(line.get("loss_cosine", 0) > 0 for line in lines)
