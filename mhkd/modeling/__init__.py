"""The method: teacher and student, BFA, losses."""

from .bfa import BFA
from .distilled_rcnn import DistilledRCNN, student_cfg, teacher_cfg
from .losses import global_feature_loss, local_feature_loss
from .student import StudentBackbone

__all__ = [
    "BFA",
    "DistilledRCNN",
    "StudentBackbone",
    "global_feature_loss",
    "local_feature_loss",
    "student_cfg",
    "teacher_cfg",
]
