"""The schedules that have a name: detection's here, every ablation of its paper, and classification's."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .classification import CLASSIFICATION
from .stage import FROZEN, HEADS, WHOLE, Schedule, Stage

TEACHER = Stage("teacher", {"detect": 1}, teacher=WHOLE, student=())

BASIC = Stage("basic", {"detect": 1, "basic": 1})
ADAPTIVE = Stage("adaptive", {"detect": 1, "adaptive": 1}, bfa=True)
LOCAL = Stage("local", {"detect": 1, "local": 1}, teacher=HEADS, bfa=True)
SEMANTIC = Stage("semantic", {"detect": 0.9, "local": 0.1, "output": 0.1}, teacher=HEADS, bfa=True)
ALL_LOSSES = {"detect": 1, "basic": 1, "adaptive": 1, "local": 1, "output": 1}
FOUR_STEPS = (BASIC, ADAPTIVE, LOCAL, SEMANTIC)


# The backbone alone, by the teacher's features; RPN and heads stay the teacher's, annotations are not used.
FEATURES_W8 = {"basic": 8, "local": 8}
LABEL_FREE = Stage("label_free", FEATURES_W8, student=("backbone",), labels=False)


def _one_step(
    name: str, weights: Mapping[str, float], student_start: str = "scratch", **changes: Any
) -> Schedule:
    """A schedule of one step, offline unless ``changes`` of the Stage say otherwise."""
    return Schedule(name, (Stage(name, weights, **changes),), student_start)


def _adapted(name: str, weights: Mapping[str, float], **changes: Any) -> Schedule:
    """One step from the teacher's weights."""
    return _one_step(name, weights, "teacher", **changes)


DETECTION = tuple(
    replace(s, task="detection")
    for s in (
        Schedule("mhkd", FOUR_STEPS),
        # Table IV: the strategy.
        Schedule("online", tuple(replace(s, teacher=WHOLE) for s in FOUR_STEPS)),
        Schedule("offline", tuple(replace(s, teacher=FROZEN) for s in FOUR_STEPS)),
        # Table III: without BFA.
        Schedule("three_step", tuple(replace(s, bfa=False) for s in (BASIC, LOCAL, SEMANTIC))),
        # Table VI: the number of steps; the last one of several has the paper's weights for it.
        Schedule(
            "double_step",
            (
                Stage("global", {"detect": 1, "basic": 1, "adaptive": 1}, bfa=True),
                Stage("local_output", SEMANTIC.weights, HEADS, bfa=True),
            ),
        ),
        _one_step("single_step", ALL_LOSSES, teacher=WHOLE, bfa=True),
        # Table I: the paper's own baseline.
        _one_step("baseline_kd", {"detect": 1, "basic": 1, "local": 1, "output": 1}),
        # Table V: one location, or none (= the student trained on LR alone).
        _one_step("global_only", {"detect": 1, "basic": 1}),
        _one_step("local_only", {"detect": 1, "local": 1}),
        _one_step("output_only", {"detect": 1, "output": 1}),
        _one_step("none", {"detect": 1}),
        # What BFA's capacity alone gives, so that distillation is not credited with it.
        _one_step("none_bfa", {"detect": 1}, bfa=True),
        # A student that starts from the teacher's weights instead of from scratch.
        Schedule("mhkd_from_teacher", FOUR_STEPS, student_start="teacher"),
        _adapted("none_from_teacher", {"detect": 1}),
        _adapted("features_w8", {"detect": 1, **FEATURES_W8}),
        # The teacher's features first, labels alone last.
        Schedule(
            "features_falling",
            (
                Stage("features_w8", {"detect": 1, **FEATURES_W8}),
                Stage("features_w1", {"detect": 1, "basic": 1, "local": 1}),
                Stage("labels", {"detect": 1}),
            ),
            student_start="teacher",
        ),
        Schedule("label_free", (LABEL_FREE,), "teacher"),
        # Of other works: losses and weights as published.
        _adapted("pkd", {"detect": 1, "pkd": 6}),
        _adapted("fgd_focal", {"detect": 1, "fgd_focal": 5e-5}),
        # Direct detection: one detector, trained on HR as the teacher, no student.
        Schedule("direct", ()),
    )
)

SCHEDULES: dict[str, Schedule] = {s.name: s for s in (*DETECTION, *CLASSIFICATION)}


def register_schedule(schedule: Schedule) -> Schedule:
    """Give a schedule of one's own its name, for MHKD.SCHEDULE.

    Raises:
        ValueError: the name is taken.
    """
    if schedule.name in SCHEDULES:
        raise ValueError(f"there is a schedule {schedule.name} already")
    SCHEDULES[schedule.name] = schedule
    return schedule
