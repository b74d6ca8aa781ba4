"""A schedule by what MHKD.SCHEDULE says: a name or a file."""

from dataclasses import replace

from ..errors import InputError
from .files import ENDINGS, read_schedule
from .named import SCHEDULES
from .stage import STUDENT_STARTS, Schedule


def get_schedule(name: str, student_start: str = "") -> Schedule:
    """The schedule of this name or in this YAML file, with another ``student_start`` if one is given.

    Raises:
        InputError: no such schedule or start, or a file that holds none.
    """
    if name.endswith(ENDINGS):
        schedule = read_schedule(name)
    elif name in SCHEDULES:
        schedule = SCHEDULES[name]
    else:
        names = ", ".join(SCHEDULES)
        raise InputError(f"unknown schedule {name!r} (MHKD.SCHEDULE): choose one of {names}, or a .yaml file")
    if student_start not in ("", *STUDENT_STARTS):
        raise InputError(
            f"unknown start {student_start!r} (MHKD.STUDENT_START): choose one of {', '.join(STUDENT_STARTS)}"
        )
    return replace(schedule, student_start=student_start) if student_start else schedule
