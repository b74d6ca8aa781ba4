"""One training of a config, as one of many in a process."""

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger

from ..settings import check_device, check_settings, check_writable
from .evaluation import prepare_datasets
from .launch import launch
from .trainer import DistillationTrainer


def run_training(cfg: CfgNode, num_gpus: int = 1) -> None:
    """Train what is missing of ``cfg``, in ``num_gpus`` processes (on the CPU where there is no GPU).

    Raises:
        InputError: a key is out of its range, the device is not there, OUTPUT_DIR cannot be written to, ...
    """
    check_settings(cfg, processes=num_gpus)
    check_device(cfg.MODEL.DEVICE)
    check_writable(cfg.OUTPUT_DIR)
    launch(_train, num_gpus, 1, 0, "auto", (cfg,))


def _train(cfg: CfgNode) -> None:
    prepare_datasets(cfg)
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK  # as Detectron2's default_setup does
    names = ("detectron2", "mhkd", "fvcore")
    loggers = [setup_logger(cfg.OUTPUT_DIR, comm.get_rank(), name=n) for n in names]
    try:
        seed_all_rng(cfg.SEED + comm.get_rank())
        DistillationTrainer(cfg).train(resume=True)
    finally:
        for logger in loggers:  # the next training logs to its own folder
            for handler in list(logger.handlers):
                logger.removeHandler(handler)
