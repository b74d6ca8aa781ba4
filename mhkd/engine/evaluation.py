"""Scoring a network as student, teacher or "direct", and the checks of data before training."""

import logging
from collections.abc import Callable
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import inference_on_dataset
from detectron2.utils import comm
from torch import nn

from ..data.loader import build_test_loader
from ..data.workers import speaking_of_workers
from ..errors import InputError
from ..onnx_file import is_onnx
from ..schedules import get_schedule
from ..tasks import VIEWS, get_task
from .exported import load_network
from .resume import TEACHER_WEIGHTS
from .settings import check_settings

logger = logging.getLogger(__name__)


def evaluate(
    cfg: CfgNode, network: nn.Module, which: str, mapper: Callable[[dict], dict] | None = None
) -> dict[str, float]:
    """Scores of ``network`` on DATASETS.TEST, in percent; with TEST.AUG.ENABLED averaged over flips.

    Args:
        network: a teacher or a student alone; left in evaluation mode.
        which: "student" (on LR), "teacher" (on HR) or "direct" (the teacher on upsampled LR).
        mapper: that images go through; None: the task's.

    Returns:
        What the task's evaluator gives, of detection AP, AP50, AP75, AR, AP-<class> of boxes and, with
        MODEL.MASK_ON, segm_AP, ... segm_Dice of masks; with several test sets their names come before,
        "name/AP". Empty on processes other than the main one, and without a
        test set.
    """
    task = get_task(cfg)
    scores: dict[str, float] = {}
    network.eval()
    if cfg.TEST.AUG.ENABLED:
        network = task.averaged_over_flips(network)
    own_cfg = task.network_cfg(cfg, "student" if which == "student" else "teacher")
    for name in cfg.DATASETS.TEST:
        folder = Path(cfg.OUTPUT_DIR) / "inference" / which / name
        loader = build_test_loader(cfg, name, mapper or task.mapper(own_cfg, VIEWS[which]))
        with speaking_of_workers():
            results = inference_on_dataset(network, loader, task.evaluator(cfg, name, folder))
        found = {
            k if kind == task.scores else f"{kind}_{k}": v
            for kind, of_kind in (results or {}).items()
            for k, v in of_kind.items()
        }
        logger.info(f"{which} on {name}: " + ", ".join(f"{k} {v:.1f}" for k, v in found.items()))
        prefix = f"{name}/" if len(cfg.DATASETS.TEST) > 1 else ""
        scores.update({prefix + k: v for k, v in found.items()})
    return scores


def prepare_datasets(cfg: CfgNode, training: bool = True) -> None:
    """Check ``cfg`` and the datasets that it names, before anything is built or trained.

    Args:
        training: False where trained weights are only scored.

    Raises:
        InputError: a key is out of its range, or see :meth:`mhkd.tasks.Task.check_datasets`.
    """
    check_settings(cfg, training, comm.get_world_size())
    if not training and not cfg.DATASETS.TEST:
        raise InputError("DATASETS.TEST is (), so there is nothing to score: name a dataset in it")
    get_task(cfg).check_datasets(cfg, training)


def views_to_score(cfg: CfgNode) -> tuple[str, ...]:
    """What --eval-only scores: MHKD.EVAL, or HR and LR where the schedule has no student."""
    if cfg.MHKD.EVAL == "student" and not get_schedule(cfg.MHKD.SCHEDULE).steps:
        return ("teacher", "direct")
    return (cfg.MHKD.EVAL,)


def score_trained(cfg: CfgNode, which: str = "") -> dict[str, float]:
    """Score what was trained as ``which`` or, if empty, MHKD.EVAL says, building that one network only.

    The weights are MODEL.WEIGHTS, of "student" an .onnx file too, or OUTPUT_DIR/student/ for "student" and
    MODEL.TEACHER.WEIGHTS or OUTPUT_DIR/0_teacher/teacher/ for "teacher" and "direct".

    Raises:
        InputError: no such weights, not trained yet, of other classes or of another architecture.
    """
    which = which or cfg.MHKD.EVAL
    if which not in VIEWS:
        raise InputError(f"MHKD.EVAL {which!r}: choose one of {', '.join(VIEWS)}")
    network = "student" if which == "student" else "teacher"
    own = "student/model_final.pth" if network == "student" else TEACHER_WEIGHTS
    given = cfg.MODEL.WEIGHTS or (cfg.MODEL.TEACHER.WEIGHTS if network == "teacher" else "")
    classes = MetadataCatalog.get(cfg.DATASETS.TEST[0]).thing_classes if cfg.DATASETS.TEST else ()
    path = given or Path(cfg.OUTPUT_DIR, own)
    if which == "student" and is_onnx(path):
        student, mapper = get_task(cfg).from_onnx(cfg, path, classes)
        return evaluate(cfg, student, which, mapper)
    return evaluate(cfg, load_network(cfg, network, path, classes), which)
