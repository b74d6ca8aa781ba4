"""The score threshold that a trained student counts from, chosen on a split that is not scored."""

import logging
from collections.abc import Sequence
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.evaluation import inference_on_dataset
from detectron2.utils import comm
from torch import nn

from ..data.loader import build_test_loader
from ..evaluation.threshold_file import DEFAULT, record_threshold
from ..tasks import VIEWS, get_task

logger = logging.getLogger(__name__)


def choose_threshold(cfg: CfgNode, network: nn.Module, folders: Sequence[Path]) -> None:
    """Record the score threshold with the best F1 on MHKD.CHOOSE_ON in folders of the exported ``network``.

    All processes call it. Nothing is done for a task that counts nothing. Where MHKD.CHOOSE_ON is empty
    nothing is chosen, and the log says so.
    """
    name, task = cfg.MHKD.CHOOSE_ON, get_task(cfg)
    if not task.counts:
        return
    if not name:
        logger.info(f"MHKD.CHOOSE_ON is empty: no threshold is chosen, mhkd detect counts from {DEFAULT:g}")
        return
    network.eval()
    folder = Path(cfg.OUTPUT_DIR) / "inference" / "student" / name
    loader = build_test_loader(cfg, name, task.mapper(cfg, VIEWS["student"]))
    inference_on_dataset(network, loader, task.evaluator(cfg, name, folder))
    if not comm.is_main_process():
        return
    choice = task.best_threshold(name, folder, cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST)
    if choice is None:
        logger.warning(
            f"{name}: no detection is right, so no score threshold is chosen; mhkd detect counts from "
            f"{DEFAULT:g}"
        )
        return
    for student in folders:
        record_threshold(student, choice, name)
    logger.info(
        f"chosen on {name}: scores of {choice.score_threshold:g} or more count (F1 {choice.f1:.1f}, "
        f"precision {choice.precision:.1f}, sensitivity {choice.sensitivity:.1f}), recorded in {folders[-1]}"
    )
