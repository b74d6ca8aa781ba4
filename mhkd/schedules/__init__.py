"""Schedules: which steps a training takes, as data. Every ablation of the paper is one of them."""

from .classification import BACKBONE, CLASSIFICATION, CLASSIFIER, CLASSIFIER_TEACHER, HEAD
from .find import get_schedule
from .named import ADAPTIVE, BASIC, LOCAL, SCHEDULES, SEMANTIC, TEACHER, register_schedule
from .plan import Step, check_stage, check_unlabeled, plan_steps
from .stage import FROZEN, HEADS, STUDENT_PARTS, WHOLE, Schedule, Stage

__all__ = [
    "ADAPTIVE",
    "BACKBONE",
    "BASIC",
    "CLASSIFICATION",
    "CLASSIFIER",
    "CLASSIFIER_TEACHER",
    "FROZEN",
    "HEAD",
    "HEADS",
    "LOCAL",
    "SCHEDULES",
    "SEMANTIC",
    "STUDENT_PARTS",
    "TEACHER",
    "WHOLE",
    "Schedule",
    "Stage",
    "Step",
    "check_stage",
    "check_unlabeled",
    "get_schedule",
    "plan_steps",
    "register_schedule",
]
