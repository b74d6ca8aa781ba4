"""The score threshold that a trained student counts from, chosen on a split that is not scored."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import inference_on_dataset
from detectron2.utils import comm
from torch import nn

from ..data.loader import build_eval_loader
from ..evaluation.best_threshold import best_f1
from ..evaluation.evaluator import CocoEvaluator, coco_dict
from ..evaluation.pooled import pooled_of_coco
from ..evaluation.threshold_file import DEFAULT, record_threshold

logger = logging.getLogger(__name__)


def choose_threshold(cfg: CfgNode, network: nn.Module, folders: Sequence[Path]) -> None:
    """Record the score threshold with the best F1 on MHKD.CHOOSE_ON in folders of the exported ``network``.

    All processes call it. Where MHKD.CHOOSE_ON is empty nothing is chosen, and the log says so.
    """
    name = cfg.MHKD.CHOOSE_ON
    if not name:
        logger.info(f"MHKD.CHOOSE_ON is empty: no threshold is chosen, mhkd detect counts from {DEFAULT:g}")
        return
    network.eval()
    folder = Path(cfg.OUTPUT_DIR) / "inference" / "student" / name
    evaluator = CocoEvaluator(name, str(folder), max_dets=cfg.TEST.DETECTIONS_PER_IMAGE)
    inference_on_dataset(network, build_eval_loader(cfg, name, "student"), evaluator)
    if not comm.is_main_process():
        return
    results = json.loads((folder / "coco_instances_results.json").read_text())
    truth = coco_dict(DatasetCatalog.get(name), MetadataCatalog.get(name))
    choice = best_f1(pooled_of_coco(truth, results))
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
