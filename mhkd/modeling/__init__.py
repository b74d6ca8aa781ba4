"""The networks: teacher and student of each task, BFA, the detectors compared with."""

from .atss import ATSSDetector
from .bfa import BFA
from .build import build_network
from .dab_detr import DABDETR
from .dino import DINO
from .direct import DirectDetector
from .distilled_classifier import DistilledClassifier, classifier_cfg
from .distilled_rcnn import DistilledRCNN
from .fcos import FCOSDetector
from .flips import FlipAveraged
from .low_resolution import LowResolutionRCNN, exported_form, is_student
from .network_cfg import student_cfg, teacher_cfg
from .pair import Pair
from .resnet_classifier import ResNetClassifier
from .shifted import build_shifted_resnet_fpn_backbone
from .student import StudentBackbone, StudentRCNN

__all__ = [
    "ATSSDetector",
    "BFA",
    "DABDETR",
    "DINO",
    "DirectDetector",
    "DistilledClassifier",
    "DistilledRCNN",
    "FCOSDetector",
    "FlipAveraged",
    "LowResolutionRCNN",
    "Pair",
    "ResNetClassifier",
    "StudentBackbone",
    "StudentRCNN",
    "build_network",
    "build_shifted_resnet_fpn_backbone",
    "classifier_cfg",
    "exported_form",
    "is_student",
    "student_cfg",
    "teacher_cfg",
]
