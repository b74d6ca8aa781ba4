"""A schedule placed on a training's iterations."""

from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from .named import TEACHER
from .stage import Schedule, Stage


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

    def describe(self) -> dict[str, Any]:
        """What decides this step's outcome, JSON-ready; equal descriptions may share their weights."""
        description: dict[str, Any] = {
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
        for name in ("unlabeled_ratio", "relative_to"):
            if getattr(self.stage, name) not in (None, ""):
                description[name] = getattr(self.stage, name)
        if self.student_start != "scratch":
            description["student_start"] = self.student_start
        return description


def plan_steps(
    schedule: Schedule, teacher_iters: int, student_iters: int, teacher: Stage = TEACHER
) -> list[Step]:
    """Place the teacher's stage and the schedule's steps on iterations.

    A schedule without a teacher has no position 0.

    Args:
        teacher_iters: 0 where the teacher is given.
        student_iters: split over the steps by their lengths and always used up whole.
        teacher: the teacher's own stage, which is the task's.

    Raises:
        InputError: a step would have no iteration.
    """
    steps, end = [], 0
    if schedule.uses_teacher and teacher_iters:
        end = teacher_iters
        steps.append(Step(0, teacher, 0, end))
    offset, lengths = end, [s.length for s in schedule.steps]
    for position, stage in enumerate(schedule.steps, 1):
        start, end = end, offset + round(student_iters * sum(lengths[:position]) / sum(lengths))
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
            f"MHKD.UNLABELED_RATIO: schedule {schedule.name} has no teacher, whose output would stand in "
            "for annotations; choose one that has, or MHKD.STUDENT_START teacher"
        )
    online = [s.name for s in schedule.steps if s.teacher]
    if online:
        raise InputError(
            f"MHKD.UNLABELED_RATIO: steps {', '.join(online)} of schedule {schedule.name} train the teacher, "
            "which would learn from its own output; choose an offline schedule"
        )
