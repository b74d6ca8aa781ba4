"""What a schedule is made of, as data.

A position in a schedule is a *stage* number: 0 is always the teacher's own training on HR, 1, 2, ... the
student's steps. Losses are those of :mod:`mhkd.losses`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ..errors import InputError
from ..losses import OF_TEACHER, needs_of

STUDENT_STARTS = ("scratch", "teacher")
FROZEN: tuple[str, ...] = ()
HEADS, WHOLE, STUDENT_PARTS = ("heads",), ("backbone", "heads"), ("backbone", "bfa", "heads")


@dataclass(frozen=True)
class Stage:
    """One step of a schedule.

    Attributes:
        name: the step's name; its outputs go to ``OUTPUT_DIR/<position>_<name>/``.
        weights: loss name -> weight. ``detect`` is the student's detection loss, plus the teacher's
            where any part of the teacher trains (online distillation).
        teacher: the teacher's parts that train: FROZEN (offline), HEADS (RPN + ROI heads) or WHOLE.
        student: the student's parts that train, of "backbone", "bfa", "heads". Which parts there are is
            what the task says, see :attr:`mhkd.tasks.Task.parts`; these are detection's.
        bfa: whether the student's features pass through the BFA module.
        labels: whether annotations are used; if not, the teacher's output stands in for them.
        unlabeled_ratio: share of the draws that are unlabelled images; None: MHKD.UNLABELED_RATIO.
        relative_to: a loss; the weights of the others are then their shares of it, weighed at their first
            iteration and kept.
        length: of MHKD.STUDENT_ITERS, beside the other steps'.
    """

    name: str
    weights: Mapping[str, float]
    teacher: tuple[str, ...] = FROZEN
    student: tuple[str, ...] = STUDENT_PARTS
    bfa: bool = False
    labels: bool = True
    unlabeled_ratio: float | None = None
    relative_to: str = ""
    length: float = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", MappingProxyType(dict(self.weights)))
        if self.relative_to and self.relative_to not in self.weights:
            raise InputError(f"step {self.name}: relative_to {self.relative_to} is none of its losses")
        for loss in self.weights:
            try:
                adapted = "f_a" in needs_of(loss)
            except InputError as e:
                raise InputError(f"step {self.name}: {e}") from e
            if adapted and not self.bfa:
                raise InputError(f"step {self.name}: the {loss} loss needs bfa=True")

    def __deepcopy__(self, memo: object) -> "Stage":
        return self  # nothing in it changes, and a MappingProxyType cannot be copied

    @property
    def needs(self) -> frozenset[str]:
        """What the step's losses ask an iteration for, see :data:`mhkd.losses.NEEDS`."""
        return frozenset().union(*map(needs_of, self.weights))

    @property
    def uses_teacher(self) -> bool:
        return bool(self.teacher) or not self.labels or bool(self.needs & OF_TEACHER)


@dataclass(frozen=True)
class Schedule:
    """A named sequence of student steps (positions 1, 2, ...); without any, the teacher trains alone.

    Attributes:
        student_start: where the student's weights start from: "scratch" (the paper) or "teacher".
        task: the MHKD.TASK that it is of; empty: of any that has its parts and losses.
        source: the file that it was read from, for messages.
    """

    name: str
    steps: tuple[Stage, ...]
    student_start: str = "scratch"
    task: str = ""
    source: str = field(default="", compare=False)

    @property
    def uses_teacher(self) -> bool:
        if self.student_start == "teacher" or not self.steps:
            return True
        return any(s.uses_teacher for s in self.steps)

    @property
    def uses_bfa(self) -> bool:
        return any(s.bfa for s in self.steps)

    def needs(self, what: str) -> bool:
        """Whether a loss of any step asks for it, see :data:`mhkd.losses.NEEDS`."""
        return any(what in s.needs for s in self.steps)
