"""Schedules from YAML files.

As the paper's first two steps would be written::

    student_start: scratch
    steps:
      - name: basic
        weights: {detect: 1, basic: 1}
      - name: adaptive
        weights: {detect: 1, adaptive: 1}
        bfa: true

Each step has the fields of :class:`mhkd.schedules.Stage`, with its defaults. With ``task: classification``
above ``steps`` the student's parts are classification's.
"""

import math
from dataclasses import fields
from pathlib import Path

from ..errors import InputError
from ..yaml_files import parse_yaml, read_text
from .classification import CLASSIFIER
from .stage import STUDENT_PARTS, STUDENT_STARTS, Schedule, Stage

ENDINGS = (".yaml", ".yml")
_STAGE_KEYS = {f.name for f in fields(Stage)}


def read_schedule(path: str | Path) -> Schedule:
    """The schedule in a file; its name is the file's, without ending.

    That its steps name parts which there are is checked by the task.

    Raises:
        InputError: missing, no YAML, or no schedule; it names file, step and key.
    """
    content = parse_yaml(read_text(Path(path)), path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: is no schedule: it has no steps")
    unknown = set(content) - {"task", "student_start", "steps"}
    if unknown:
        key = min(map(str, unknown))
        raise InputError(f"{path}: unknown key {key!r}: a schedule has task, student_start and steps")
    task = content.get("task", "")
    if not isinstance(task, str):
        raise InputError(f"{path}: task must be a name, as in MHKD.TASK")
    start = content.get("student_start", "scratch")
    if start not in STUDENT_STARTS:
        raise InputError(f"{path}: student_start {start!r}: choose one of {', '.join(STUDENT_STARTS)}")
    steps = content.get("steps")
    if not isinstance(steps, list) or not steps:
        raise InputError(f"{path}: steps must be a list of at least one step")
    parts = CLASSIFIER if task == "classification" else STUDENT_PARTS
    stages = tuple(_stage(step, f"{path}: step {k}", parts) for k, step in enumerate(steps, 1))
    return Schedule(Path(path).stem, stages, start, task, str(path))


def _stage(step: object, where: str, parts: tuple[str, ...]) -> Stage:
    step = step if isinstance(step, dict) else {}
    name = step.get("name")
    if not isinstance(name, str) or not name.isidentifier():
        raise InputError(f"{where}: must have a name of letters, digits and underscores for its folder")
    unknown = set(step) - _STAGE_KEYS
    if unknown:
        known = ", ".join(sorted(_STAGE_KEYS))
        raise InputError(f"{where}: unknown key {min(map(str, unknown))!r}: choose of {known}")
    weights = step.get("weights")
    named = isinstance(weights, dict) and all(isinstance(name, str) for name in weights)
    if not weights or not named or not all(map(_is_weight, weights.values())):
        example = "{detect: 1, basic: 1}"
        raise InputError(f"{where}: weights must give each loss a number of at least 0, as {example}")
    values = {"student": parts, **step, "weights": weights}
    for key in ("bfa", "labels"):
        if not isinstance(step.get(key, True), bool):
            raise InputError(f"{where}: {key} must be true or false")
    if not isinstance(step.get("relative_to", ""), str):
        raise InputError(f"{where}: relative_to must be the name of one of its losses")
    ratio, length = step.get("unlabeled_ratio", 0), step.get("length", 1)
    if not _is_weight(ratio) or ratio > 1:
        raise InputError(f"{where}: unlabeled_ratio must be a number from 0 to 1")
    if not _is_weight(length) or not length:
        raise InputError(f"{where}: length must be a number above 0")
    for key in ("teacher", "student"):
        if key in step:
            if not isinstance(step[key], list) or not all(isinstance(part, str) for part in step[key]):
                raise InputError(f"{where}: {key} must list the parts that train, by name")
            values[key] = tuple(sorted(set(step[key])))  # descriptions are compared
    if not values.get("student", True):
        raise InputError(f"{where}: student must name at least one part that trains")
    try:
        return Stage(**values)
    except InputError as e:
        raise InputError(f"{where}: {e}") from e


def _is_weight(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
