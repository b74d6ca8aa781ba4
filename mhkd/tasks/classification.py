"""Classification: one class an image (DiPalma et al.; del Amor et al.)."""

import re
from collections.abc import Callable
from pathlib import Path

from detectron2.config import CfgNode

from ..data.classification_mapper import ClassificationMapper
from ..data.label_checks import check_labelled_datasets
from ..errors import InputError
from ..evaluation.classification import ClassificationEvaluator
from ..losses import OF_CLASSIFIER
from ..modeling import classifier_cfg
from ..modeling.resnet_classifier import DEPTHS
from ..schedules import BACKBONE, CLASSIFIER, CLASSIFIER_TEACHER, HEAD, Schedule
from .task import TASK_REGISTRY, Task

_SCORES = re.compile(r"(^|\.)head\.(weight|bias)$")
# What its networks do not have.
_NEVER_READ = dict.fromkeys(
    ("MODEL.FPN.", "MODEL.RPN.", "MODEL.ROI_", "MODEL.ANCHOR_GENERATOR.", "MODEL.PROPOSAL_GENERATOR.",
     "MODEL.BFA.", "MODEL.RETINANET.", "MODEL.DETR.", "MODEL.BACKBONE.", "MODEL.STUDENT.INPUT",
     "MODEL.STUDENT.RES2_OUT_CHANNELS", "MODEL.STUDENT.STAGES", "MODEL.STUDENT.LEVELS",
     "MODEL.STUDENT.FPN_CHANNELS", "MODEL.STUDENT.FC_DIM", "MODEL.STUDENT.BACKBONE",
     "MODEL.TEACHER.META_ARCHITECTURE", "MODEL.MASK_ON",
     "TEST.DETECTIONS_PER_IMAGE", "MHKD.OUTPUT_SCORE_THRESH", "MHKD.CHOOSE_ON", "MHKD.KEEP_BEST",
     "INPUT.MIN_SIZE_TEST", "INPUT.MAX_SIZE_TEST", "INPUT.TRAINED_SIZE_PX"),
    "a classifier has nothing of the kind",
)  # fmt: skip


class ClassificationTask(Task):
    """The networks are :class:`mhkd.modeling.DistilledClassifier`."""

    parts = {"teacher": (BACKBONE, HEAD), "student": CLASSIFIER}
    teacher_stage = CLASSIFIER_TEACHER
    label_loss = "cross_entropy"
    computes = OF_CLASSIFIER
    scores = "classification"

    def check_datasets(self, cfg: CfgNode, training: bool) -> None:
        classes = check_labelled_datasets(
            cfg.DATASETS.TRAIN if training else (), cfg.DATASETS.TEST, cfg.MHKD.UNLABELED, cfg.INPUT.LR_FACTOR
        )
        if cfg.MHKD.CLASSES and classes and sorted(cfg.MHKD.CLASSES) != sorted(classes):
            raise InputError(
                f"MHKD.CLASSES {list(cfg.MHKD.CLASSES)}: the data's classes are {classes}: remove the key, "
                "or name datasets of those classes"
            )

    def mapper(self, cfg: CfgNode, view: str = "") -> Callable[[dict], dict]:
        return ClassificationMapper(cfg, not view, view=view or "lr")

    def evaluator(self, cfg: CfgNode, dataset: str, folder: Path) -> ClassificationEvaluator:
        return ClassificationEvaluator(dataset, str(folder), ordered=cfg.MHKD.ORDERED_CLASSES)

    def network_cfg(self, cfg: CfgNode, network: str, bfa: bool = False) -> CfgNode:
        """A student takes LR at its own size."""
        cfg = classifier_cfg(cfg, network)
        cfg.MHKD.CLASSES = self.classes(cfg)
        return cfg

    def never_read(self, cfg: CfgNode, training: bool) -> dict[str, str]:
        return _NEVER_READ

    def check_networks(self, cfg: CfgNode, schedule: Schedule) -> None:
        for key, depth in (("RESNETS", cfg.MODEL.RESNETS.DEPTH), ("STUDENT", cfg.MODEL.STUDENT.DEPTH)):
            if depth not in (*DEPTHS, 0):
                known = ", ".join(map(str, DEPTHS))
                raise InputError(f"MODEL.{key}.DEPTH {depth}: a classifier's is one of {known}")
        if cfg.MODEL.WEIGHTS:
            raise InputError(
                f"MODEL.WEIGHTS {cfg.MODEL.WEIGHTS}: a classifier trains from scratch: leave it out, or "
                "name a trained teacher in MODEL.TEACHER.WEIGHTS"
            )

    def deployed_form(self, cfg: CfgNode) -> CfgNode:
        """``DefaultPredictor`` leaves images at their own size."""
        cfg.INPUT.MIN_SIZE_TEST = 0
        return cfg

    def rows_per_class(self, parameter: str) -> int | None:
        return 1 if _SCORES.search(parameter) else None


@TASK_REGISTRY.register()
def classification() -> ClassificationTask:
    """MHKD.TASK "classification"."""
    return ClassificationTask()
