"""Schedules: which steps a training takes, as data. Every ablation of the paper is one of them.

A position in a schedule is a *stage* number: 0 is always the teacher's own training on HR, 1, 2, ... the
student's steps. Losses are those of :class:`mhkd.modeling.DistilledRCNN`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from .errors import InputError

LOSSES = ("detect", "basic", "adaptive", "local", "output")
STUDENT_STARTS = ("scratch", "teacher")
FROZEN, HEADS, WHOLE = (), ("heads",), ("backbone", "heads")


@dataclass(frozen=True)
class Stage:
    """One step of a schedule.

    Attributes:
        name: the step's name; its outputs go to ``OUTPUT_DIR/<position>_<name>/``.
        weights: loss name -> weight. ``detect`` is the student's detection loss, plus the teacher's
            where any part of the teacher trains (online distillation).
        teacher: the teacher's parts that train: FROZEN (offline), HEADS (RPN + ROI heads) or WHOLE.
        student: the student's parts that train, of "backbone", "bfa", "heads".
        bfa: whether the student's features pass through the BFA module.
        labels: whether annotations are used; if not, the teacher's detections stand in for them.
    """

    name: str
    weights: Mapping[str, float]
    teacher: tuple[str, ...] = FROZEN
    student: tuple[str, ...] = ("backbone", "bfa", "heads")
    bfa: bool = False
    labels: bool = True

    def __post_init__(self):
        unknown = set(self.weights) - set(LOSSES)
        if unknown:
            raise InputError(f"step {self.name}: unknown losses {sorted(unknown)}, known: {LOSSES}")
        if "adaptive" in self.weights and not self.bfa:
            raise InputError(f"step {self.name}: the adaptive loss needs bfa=True")
        object.__setattr__(self, "weights", MappingProxyType(dict(self.weights)))

    @property
    def uses_teacher(self) -> bool:
        return bool(self.teacher) or not self.labels or set(self.weights) != {"detect"}


@dataclass(frozen=True)
class Schedule:
    """A named sequence of student steps (positions 1, 2, ...); without any, the teacher trains alone.

    Attributes:
        student_start: where the student's weights start from: "scratch" (the paper) or "teacher".
    """

    name: str
    steps: tuple[Stage, ...]
    student_start: str = "scratch"

    @property
    def uses_teacher(self) -> bool:
        if self.student_start == "teacher" or not self.steps:
            return True
        return any(s.uses_teacher for s in self.steps)

    @property
    def uses_bfa(self) -> bool:
        return any(s.bfa for s in self.steps)

    def uses(self, loss: str) -> bool:
        return any(loss in s.weights for s in self.steps)


TEACHER = Stage("teacher", {"detect": 1}, teacher=WHOLE, student=())

BASIC = Stage("basic", {"detect": 1, "basic": 1})
ADAPTIVE = Stage("adaptive", {"detect": 1, "adaptive": 1}, bfa=True)
LOCAL = Stage("local", {"detect": 1, "local": 1}, teacher=HEADS, bfa=True)
SEMANTIC = Stage("semantic", {"detect": 0.9, "local": 0.1, "output": 0.1}, teacher=HEADS, bfa=True)
FOUR_STEPS = (BASIC, ADAPTIVE, LOCAL, SEMANTIC)


# The backbone alone, by the teacher's features; RPN and heads stay the teacher's, annotations are not used.
FEATURES_W8 = {"basic": 8, "local": 8}
LABEL_FREE = Stage("label_free", FEATURES_W8, student=("backbone",), labels=False)


def _one_step(name: str, weights: Mapping[str, float], student_start: str = "scratch", **changes) -> Schedule:
    """A schedule of one step, offline unless ``changes`` of the Stage say otherwise."""
    return Schedule(name, (Stage(name, weights, **changes),), student_start)


def _adapted(name: str, weights: Mapping[str, float], **changes) -> Schedule:
    """One step from the teacher's weights."""
    return _one_step(name, weights, "teacher", **changes)


SCHEDULES: dict[str, Schedule] = {
    s.name: s
    for s in (
        Schedule("mhkd", FOUR_STEPS),
        # Table IV: the strategy.
        Schedule("online", tuple(replace(s, teacher=WHOLE) for s in FOUR_STEPS)),
        Schedule("offline", tuple(replace(s, teacher=FROZEN) for s in FOUR_STEPS)),
        # Table III: without BFA.
        Schedule("three_step", tuple(replace(s, bfa=False) for s in (BASIC, LOCAL, SEMANTIC))),
        # Table VI: the number of steps.
        Schedule(
            "double_step",
            (
                Stage("global", {"detect": 1, "basic": 1, "adaptive": 1}, bfa=True),
                Stage("local_output", {"detect": 1, "local": 1, "output": 1}, HEADS, bfa=True),
            ),
        ),
        _one_step("single_step", dict.fromkeys(LOSSES, 1), teacher=WHOLE, bfa=True),
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
        # Direct detection: one detector, trained on HR as the teacher, no student.
        Schedule("direct", ()),
    )
}


@dataclass(frozen=True)
class Step:
    """A stage placed on the training's iterations: ``start`` (inclusive) to ``end`` (exclusive).

    ``student_start`` is the schedule's in its first student step; later ones start from the step before.
    """

    position: int
    stage: Stage = field(repr=False)
    start: int
    end: int
    student_start: str = "scratch"

    @property
    def folder(self) -> str:
        return f"{self.position}_{self.stage.name}"

    def describe(self) -> dict:
        """What decides this step's outcome, JSON-ready; equal descriptions may share their weights."""
        description = {
            "step": self.folder,
            "losses": dict(self.stage.weights),
            "teacher_trains": list(self.stage.teacher),
            "student_trains": list(self.stage.student),
            "bfa": self.stage.bfa,
            "start_iter": self.start,
            "end_iter": self.end,
        }
        if not self.stage.labels:
            description["labels"] = False
        if self.student_start != "scratch":
            description["student_start"] = self.student_start
        return description


def get_schedule(name: str, student_start: str = "") -> Schedule:
    """The schedule ``name``, with another ``student_start`` if one is given.

    Raises:
        InputError: no such schedule or start.
    """
    if name not in SCHEDULES:
        raise InputError(
            f"unknown schedule {name!r} (MHKD.SCHEDULE): choose one of {', '.join(SCHEDULES)}"
        )
    if student_start not in ("", *STUDENT_STARTS):
        raise InputError(
            f"unknown start {student_start!r} (MHKD.STUDENT_START): choose one of {', '.join(STUDENT_STARTS)}"
        )
    schedule = SCHEDULES[name]
    return replace(schedule, student_start=student_start) if student_start else schedule


def plan_steps(schedule: Schedule, teacher_iters: int, student_iters: int) -> list[Step]:
    """Place the teacher's stage and the schedule's steps on iterations.

    ``student_iters`` is split evenly over the steps and always used up whole. A schedule without a
    teacher has no position 0. ``teacher_iters`` is 0 where the teacher is given.
    """
    steps, end = [], 0
    if schedule.uses_teacher and teacher_iters:
        end = teacher_iters
        steps.append(Step(0, TEACHER, 0, end))
    offset = end
    for position, stage in enumerate(schedule.steps, 1):
        start, end = end, offset + round(student_iters * position / len(schedule.steps))
        if end == start:
            raise InputError(
                f"MHKD.STUDENT_ITERS {student_iters} leaves step {position} ({stage.name}) of schedule "
                f"{schedule.name} without an iteration"
            )
        student_start = schedule.student_start if position == 1 else "scratch"
        steps.append(Step(position, stage, start, end, student_start))
    return steps


def check_stage(schedule: Schedule, stage: int) -> int:
    """Resolve MHKD.STAGE (-1 = last) or raise :class:`InputError`."""
    last = len(schedule.steps)
    if stage == -1:
        return last
    if not 0 <= stage <= last:
        names = ", ".join(f"{i} {s.name}" for i, s in enumerate((TEACHER, *schedule.steps)))
        raise InputError(f"schedule {schedule.name} has no step {stage} (STAGE): it has {names}")
    return stage


def check_unlabeled(schedule: Schedule) -> None:
    """Raises :class:`InputError` where images without annotations (MHKD.UNLABELED_RATIO) cannot be used."""
    if not schedule.uses_teacher:
        raise InputError(
            f"MHKD.UNLABELED_RATIO: schedule {schedule.name} has no teacher, whose detections would stand in "
            "for annotations; choose one that has, or MHKD.STUDENT_START teacher"
        )
    online = [s.name for s in schedule.steps if s.teacher]
    if online:
        raise InputError(
            f"MHKD.UNLABELED_RATIO: steps {', '.join(online)} of schedule {schedule.name} train the teacher, "
            "which would learn from its own detections; choose an offline schedule"
        )
