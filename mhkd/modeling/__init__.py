"""The method: teacher and student, BFA, losses."""

from .atss import ATSSDetector
from .bfa import BFA
from .dab_detr import DABDETR
from .dino import DINO
from .direct import DirectDetector
from .distilled_rcnn import DistilledRCNN, student_cfg, teacher_cfg
from .fcos import FCOSDetector
from .losses import global_feature_loss, local_feature_loss
from .student import StudentBackbone

__all__ = [
    "ATSSDetector",
    "BFA",
    "DABDETR",
    "DINO",
    "DirectDetector",
    "DistilledRCNN",
    "FCOSDetector",
    "StudentBackbone",
    "global_feature_loss",
    "local_feature_loss",
    "student_cfg",
    "teacher_cfg",
]
