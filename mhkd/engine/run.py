"""One training of a config: checked, locked, logged."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from torch.multiprocessing import ProcessExitedException

from ..errors import InputError
from ..files import locked, write_text, writing_to
from ..yaml_files import one_line
from .devices import check_device
from .evaluation import prepare_datasets
from .launch import launch
from .log import RunLog
from .settings import check_settings
from .trainer import DistillationTrainer

logger = logging.getLogger(__name__)

PATIENCE_S = 30  # that the other processes leave the first one, on a busy machine too, to say what is wrong


def run_training(cfg: CfgNode, num_gpus: int = 1) -> None:
    """Train what is missing of ``cfg``, in ``num_gpus`` processes (on the CPU where there is no GPU).

    Raises:
        InputError: a key is out of its range, the device is not there, or what :func:`train` raises.
    """
    check_settings(cfg, processes=num_gpus)
    check_device(cfg.MODEL.DEVICE)
    if num_gpus == 1:
        return _train(cfg)
    run_processes(_train_or_exit, num_gpus, 1, 0, "auto", (cfg,))


def run_processes(main: Callable, *args) -> None:
    """:func:`launch`; a process that has said why it ends is all that is said.

    Raises:
        InputError: one was killed, which could say nothing.
    """
    try:
        launch(main, *args)
    except ProcessExitedException as e:
        if e.signal_name is None:
            sys.exit(e.exit_code)
        raise InputError(
            f"process {e.error_index} of this machine was killed ({e.signal_name}; is memory short?), and "
            "the others were ended; the same command with --resume goes on from the last checkpoint"
        ) from e


@contextlib.contextmanager
def exit_with_one_line(program: str) -> Iterator[None]:
    """Bad input ends every process with one line, from the first of them; so does one that is gone."""
    try:
        yield
    except InputError as e:
        if not comm.is_main_process():
            time.sleep(PATIENCE_S)  # ended before, where it is at fault as well
        sys.exit(f"{program}: error: {e}")
    except RuntimeError as e:
        if not _is_connection_lost(e):
            raise
        time.sleep(PATIENCE_S)  # ended before, where the other one was of this machine
        sys.exit(
            f"{program}: error: the connection to another process is lost ({one_line(e)}): see what its "
            "machine says; --resume on all of them goes on from the last checkpoint"
        )


def _is_connection_lost(error: RuntimeError) -> bool:
    several = comm.get_world_size() > 1
    return several and (isinstance(error, torch.distributed.DistError) or "gloo" in str(error))


def train(cfg: CfgNode, resume: bool, log: RunLog, notes: Iterable[str] = ()) -> None:
    """Train in this process, one of those that :func:`launch` made. A run that is refused writes nothing.

    Args:
        log: entered; kept in OUTPUT_DIR from here on.
        notes: for the log.

    Raises:
        InputError: another run is writing to OUTPUT_DIR, the disk is full, or what
            :meth:`DistillationTrainer.train` raises.
    """
    out = Path(cfg.OUTPUT_DIR)
    with _only_run_in(out), writing_to(out):
        seed_all_rng(max(cfg.SEED, 0) + comm.get_rank())
        torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
        trainer = DistillationTrainer(cfg)
        start = trainer.load(resume)
        log.keep_in(out)
        for note in notes:
            logger.info(note)
        if comm.is_main_process():
            write_text(cfg.dump(), out / "config.yaml")
        trainer.train_from(start)


@contextlib.contextmanager
def _only_run_in(folder: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        error = None
        if comm.is_main_process():
            try:
                stack.enter_context(locked(folder))
            except InputError as e:
                error = e
        error = comm.all_gather(error)[0]
        if error:
            raise error
        yield


def _train(cfg: CfgNode) -> None:
    with RunLog() as log:
        prepare_datasets(cfg)
        train(cfg, True, log)


def _train_or_exit(cfg: CfgNode) -> None:
    with exit_with_one_line("mhkd"):
        _train(cfg)
