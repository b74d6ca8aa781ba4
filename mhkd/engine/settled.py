"""A config with what only the data can say filled in."""

from detectron2.config import CfgNode

from ..data.cuts import record_cut
from ..data.loader import training_entries
from ..data.pixel_statistics import pixel_statistics
from ..data.semi_supervised import split_by_label
from ..schedules import get_schedule
from ..tasks import get_task
from .optimizer import with_ratio


def settled(cfg: CfgNode) -> CfgNode:
    """A copy with the names of classes, how images were cut from slides, iterations where epochs are asked
    for, and the statistics of pixels where those of the training data are.

    Args:
        cfg: its datasets are checked, see :func:`mhkd.engine.prepare_datasets`.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MHKD.CLASSES = get_task(cfg).classes(cfg)
    record_cut(cfg)
    if cfg.INPUT.PIXEL_STATISTICS == "train":
        found = pixel_statistics(training_entries(cfg), image_format=cfg.INPUT.FORMAT)
        cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = found
    if cfg.MHKD.TEACHER_EPOCHS:
        cfg.MHKD.TEACHER_ITERS = _iterations(cfg, cfg.MHKD.TEACHER_EPOCHS, _count(cfg, for_student=False))
    if cfg.MHKD.STUDENT_EPOCHS:
        steps = get_schedule(cfg.MHKD.SCHEDULE, cfg.MHKD.STUDENT_START).steps
        count = max((_count(with_ratio(cfg, s)) for s in steps), default=1)
        cfg.MHKD.STUDENT_ITERS = _iterations(cfg, cfg.MHKD.STUDENT_EPOCHS, count)
    cfg.freeze()
    return cfg


def _count(cfg: CfgNode, for_student: bool = True) -> int:
    """Images that a step draws from, or could."""
    return sum(map(len, split_by_label(cfg, training_entries(cfg), for_student)))


def _iterations(cfg: CfgNode, epochs: int, count: int) -> int:
    return max(1, round(epochs * count / (cfg.SOLVER.IMS_PER_BATCH * cfg.SOLVER.ACCUMULATE_BATCHES)))
