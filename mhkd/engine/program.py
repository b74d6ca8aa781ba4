"""The program that trains or scores one config, in one process or several."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.collect_env import collect_env_info

from ..files import writing_to
from .devices import check_device
from .evaluation import prepare_datasets, score_trained, views_to_score
from .log import RunLog
from .run import exit_with_one_line, run_processes, train
from .unread import load_run_cfg


@dataclass(frozen=True)
class Command:
    """What each process is to do.

    Attributes:
        config_file: path of the config.
        opts: overrides KEY VALUE ...
        eval_only: score what is trained, else train.
        resume: go on with a training; finished steps are skipped.
        program: that error messages begin with.
    """

    config_file: Path
    opts: Sequence[str] = ()
    eval_only: bool = False
    resume: bool = False
    program: str = "mhkd"


def run_program(
    command: Command, num_gpus: int = 1, num_machines: int = 1, machine_rank: int = 0, dist_url: str = "auto"
) -> None:
    """Do ``command`` in ``num_gpus`` processes on each machine (on the CPU where there is no GPU)."""
    run_processes(main, num_gpus, num_machines, machine_rank, dist_url, (command,))


def main(command: Command) -> None:
    """What every process runs. Bad input ends them all with one line, from the first of them."""
    with exit_with_one_line(command.program), RunLog() as log:
        cfg = _setup(command)
        notes = [f"Command line arguments: {command}", f"Environment info:\n{collect_env_info()}"]
        if not command.eval_only:
            return train(cfg, command.resume, log, [*notes, f"Running with full config:\n{cfg.dump()}"])
        with writing_to(cfg.OUTPUT_DIR):  # beside a training, whose config.yaml stays as it is
            log.keep_in(cfg.OUTPUT_DIR)
            scores = {which: score_trained(cfg, which) for which in views_to_score(cfg)}
        if comm.is_main_process():
            print(json.dumps(scores, indent=2))


def _setup(command: Command) -> CfgNode:
    cfg = load_run_cfg(command.config_file, command.opts, training=not command.eval_only)
    cfg.freeze()
    check_device(cfg.MODEL.DEVICE)
    prepare_datasets(cfg, training=not command.eval_only)
    return cfg
