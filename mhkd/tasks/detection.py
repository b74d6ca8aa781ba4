"""Detection: boxes of glomeruli, the paper's task."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from torch import nn

from ..data.mapper import PairedResolutionMapper
from ..data.registrar import has_ignored
from ..errors import InputError
from ..evaluation.best_threshold import Choice, best_f1
from ..evaluation.evaluator import CocoEvaluator, coco_dict
from ..evaluation.pooled import pooled_of_coco
from ..files import read_json
from ..losses import OF_DETECTOR
from ..modeling import FlipAveraged, exported_form, is_student, student_cfg, teacher_cfg
from ..modeling.network_cfg import SHIFTED
from ..schedules import STUDENT_PARTS, TEACHER, WHOLE, Schedule
from .detection_datasets import check_datasets
from .onnx_detector import OnnxDetector
from .task import TASK_REGISTRY, Task

# Parameters with rows of classes: K (A times, for A anchors a cell) or K and one that is no class.
_SCORES = re.compile(
    r"(cls_score|class_embed|class_heads\.\d+|noised_class|mask_head\.predictor)\.(weight|bias)$"
)
# And with four rows a class, unless all classes share their boxes.
_BOXES = re.compile(r"box_predictor(\.\d+)?\.bbox_pred\.(weight|bias)$")

_OF_NATIVE = tuple(
    f"MODEL.STUDENT.{k}"
    for k in ("DEPTH", "STEM_OUT_CHANNELS", "RES2_OUT_CHANNELS", "STAGES", "LEVELS", "FPN_CHANNELS", "FC_DIM")
)
# FCOS and ATSS read the other keys of this section.
_OF_RETINANET = tuple(
    f"MODEL.RETINANET.{k}"
    for k in ("NUM_CLASSES", "IN_FEATURES", "IOU_", "SCORE_", "BBOX_REG_", "SMOOTH_L1_LOSS_BETA", "NORM")
)
_OF_CLASSIFICATION = (
    "MODEL.RESNETS.STRIDES", "MODEL.STUDENT.STRIDES", "MHKD.TEMPERATURE", "MHKD.ATTENTION.",
    "MHKD.ORDERED_CLASSES",
)  # fmt: skip


class DetectionTask(Task):
    """The networks are :class:`mhkd.modeling.DistilledRCNN` or :class:`mhkd.modeling.DirectDetector`."""

    parts = {"teacher": WHOLE, "student": STUDENT_PARTS}
    teacher_stage = TEACHER
    label_loss = "detect"
    computes = OF_DETECTOR
    scores = "bbox"
    counts = True
    # How a training treats crowds and cut objects, recorded since they are no longer background.
    conventions = {"ignored_regions": "no label"}

    def check_datasets(self, cfg: CfgNode, training: bool) -> None:
        check_datasets(cfg, training)

    def mapper(self, cfg: CfgNode, view: str = "") -> Callable[[dict], dict]:
        return PairedResolutionMapper(cfg, not view, view=view or "lr")

    def convention_differences(self, record: Mapping, cfg: CfgNode) -> list[str]:
        """They differ where DATASETS.TRAIN has regions to be ignored."""
        if all(record.get(name) == value for name, value in self.conventions.items()):
            return []
        if not any(has_ignored(DatasetCatalog.get(name)) for name in cfg.DATASETS.TRAIN):
            return []
        return ["crowds and cut objects (iscrowd) of DATASETS.TRAIN were background, and get no label now"]

    def evaluator(self, cfg: CfgNode, dataset: str, folder: Path) -> CocoEvaluator:
        """As many detections an image count as a network may give, TEST.DETECTIONS_PER_IMAGE: COCO's limit of
        100 would cut off what a region with more glomeruli holds."""
        return CocoEvaluator(
            dataset, str(folder), max_dets=cfg.TEST.DETECTIONS_PER_IMAGE, masks=cfg.MODEL.MASK_ON
        )

    def averaged_over_flips(self, network: nn.Module) -> nn.Module:
        return FlipAveraged(network)

    def best_threshold(self, dataset: str, folder: Path, lowest: float = 0.0) -> Choice | None:
        """The one with the best F1."""
        results = self._results(folder)
        truth = coco_dict(DatasetCatalog.get(dataset), MetadataCatalog.get(dataset))
        return best_f1(pooled_of_coco(truth, results), lowest)

    def found_scores(self, folder: Path) -> np.ndarray:
        return np.array([found["score"] for found in self._results(folder)], np.float64)

    def _results(self, folder: Path) -> list[dict]:
        return read_json(folder / "coco_instances_results.json", list, "score the network again")

    def network_cfg(self, cfg: CfgNode, network: str, bfa: bool = False) -> CfgNode:
        """A student takes LR as MODEL.STUDENT.INPUT says."""
        return student_cfg(cfg, bfa) if network == "student" else teacher_cfg(cfg)

    def never_read(self, cfg: CfgNode, training: bool) -> dict[str, str]:
        unread = dict.fromkeys(_OF_CLASSIFICATION, "it is of MHKD.TASK classification")
        if training and cfg.MODEL.BACKBONE.NAME != "StudentBackbone":
            unread["MODEL.STUDENT.BACKBONE"] = "set MODEL.BACKBONE.NAME"
        if training and cfg.MODEL.STUDENT.INPUT != "native":
            unread |= dict.fromkeys(_OF_NATIVE, "it is of MODEL.STUDENT.INPUT native")
        if cfg.MODEL.META_ARCHITECTURE == "DistilledRCNN":
            unread["VIS_PERIOD"] = "see the pictures of `mhkd overlay`"
        if cfg.MODEL.TEACHER.META_ARCHITECTURE != "RetinaNet":
            unread |= dict.fromkeys(_OF_RETINANET, "set the key of that name in MODEL.ROI_HEADS")
        return unread

    def check_networks(self, cfg: CfgNode, schedule: Schedule) -> None:
        """What is frozen has something to start from, and masks have a head."""
        architecture = cfg.MODEL.TEACHER.META_ARCHITECTURE
        if cfg.MODEL.MASK_ON and architecture != "GeneralizedRCNN":
            raise InputError(
                f"MODEL.MASK_ON True: a {architecture} finds boxes alone: set it to False, or "
                "MODEL.TEACHER.META_ARCHITECTURE GeneralizedRCNN"
            )
        frozen = {"MODEL.RESNETS.NORM FrozenBN": cfg.MODEL.RESNETS.NORM == "FrozenBN"}
        frozen[f"MODEL.BACKBONE.FREEZE_AT {cfg.MODEL.BACKBONE.FREEZE_AT}"] = cfg.MODEL.BACKBONE.FREEZE_AT > 0
        for setting in (key for key, on in frozen.items() if on):
            key, value = setting.split()
            bad, other = ("diverges", "GN") if value == "FrozenBN" else ("keeps what is random", f"{key} 0")
            from_scratch = f"{setting}: a network from scratch {bad} with it: "
            if schedule.uses_teacher and not (cfg.MODEL.TEACHER.WEIGHTS or cfg.MODEL.WEIGHTS):
                raise InputError(
                    f"{from_scratch}name weights for the teacher in MODEL.WEIGHTS, or set {other}"
                )
            if schedule.steps and schedule.student_start != "teacher":
                raise InputError(f"{from_scratch}set MHKD.STUDENT_START teacher for the student, or {other}")

    def deployed_form(self, cfg: CfgNode) -> CfgNode:
        return exported_form(cfg)

    def scored_form(self, cfg: CfgNode) -> CfgNode:
        return student_cfg(cfg, cfg.MODEL.BFA.ENABLED) if is_student(cfg) else cfg

    def from_onnx(
        self, cfg: CfgNode, path: str | os.PathLike[str], classes: Sequence[str]
    ) -> tuple[nn.Module, Callable[[dict], dict]]:
        of_lr = cfg.clone()
        of_lr.defrost()
        of_lr.MODEL.STUDENT.INPUT, of_lr.INPUT.FORMAT = "native", "RGB"  # LR pixels as they are
        network = OnnxDetector(path, cfg.INPUT.LR_FACTOR, classes, cfg.MODEL.MASK_ON)
        return network, PairedResolutionMapper(of_lr, False)

    def check_exported(self, cfg: CfgNode) -> None:
        if len(cfg.MHKD.CLASSES) not in (0, cfg.MODEL.ROI_HEADS.NUM_CLASSES):
            raise InputError(
                f"MHKD.CLASSES {cfg.MHKD.CLASSES}: must be as many as MODEL.ROI_HEADS.NUM_CLASSES, "
                f"{cfg.MODEL.ROI_HEADS.NUM_CLASSES}"
            )

        if is_student(cfg) and cfg.MODEL.STUDENT.INPUT == "native" and cfg.MODEL.STUDENT.BACKBONE != SHIFTED:
            raise InputError(
                "MODEL.STUDENT.INPUT native with the teacher's own backbone: such students, which saw LR "
                "enlarged and averaged back, are not run any more: train it again, or an upsampled one"
            )

    def rows_per_class(self, parameter: str) -> int | None:
        if _BOXES.search(parameter):
            return 4
        return 1 if _SCORES.search(parameter) else None


@TASK_REGISTRY.register()
def detection() -> DetectionTask:
    """MHKD.TASK "detection"."""
    return DetectionTask()
