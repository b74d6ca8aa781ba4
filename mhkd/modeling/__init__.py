"""The method: teacher and student, BFA, losses."""

from .atss import ATSSDetector
from .bfa import BFA
from .build import build_network
from .dab_detr import DABDETR
from .dino import DINO
from .direct import DirectDetector
from .distilled_rcnn import DistilledRCNN, student_cfg, teacher_cfg
from .fcos import FCOSDetector
from .low_resolution import LowResolutionRCNN, exported_form, is_student
from .pair import Pair
from .student import StudentBackbone

__all__ = [
    "ATSSDetector",
    "BFA",
    "DABDETR",
    "DINO",
    "DirectDetector",
    "DistilledRCNN",
    "FCOSDetector",
    "LowResolutionRCNN",
    "Pair",
    "StudentBackbone",
    "build_network",
    "exported_form",
    "is_student",
    "student_cfg",
    "teacher_cfg",
]
