"""Schedules from YAML, and losses and schedules from --with."""

from dataclasses import replace

from mhkd.errors import InputError
from mhkd.extensions import load_extensions
from mhkd.losses import LOSS_REGISTRY, needs_of
from mhkd.schedules import SCHEDULES, get_schedule, plan_steps
from mhkd.tasks import DetectionTask

import pytest
import yaml

PARTS = {"teacher": [], "student": ["backbone", "bfa", "heads"]}


def written(tmp_path, content, name="mine.yaml"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


@pytest.mark.parametrize("name", [n for n, s in SCHEDULES.items() if s.steps])
def test_every_named_schedule_can_be_written_as_yaml(tmp_path, name):
    """The same steps, so the same description in a checkpoint: they may share weights."""
    schedule = SCHEDULES[name]
    steps = [
        {"name": s.name, "weights": dict(s.weights), "teacher": list(s.teacher), "student": list(s.student),
         "bfa": s.bfa, "labels": s.labels, "relative_to": s.relative_to, "length": s.length,
         **({} if s.unlabeled_ratio is None else {"unlabeled_ratio": s.unlabeled_ratio})}
        for s in schedule.steps
    ]  # fmt: skip
    content = {"task": schedule.task, "student_start": schedule.student_start, "steps": steps}
    path = written(tmp_path, content)
    read = get_schedule(path)
    assert read == replace(schedule, name="mine")
    plans = [[s.describe() for s in plan_steps(x, 10, 40)] for x in (read, schedule)]
    assert plans[0] == plans[1]


def test_defaults_are_those_of_a_stage_and_the_start_can_be_overridden(tmp_path):
    path = written(tmp_path, {"steps": [{"name": "basic", "weights": {"detect": 1, "basic": 1}}]})
    assert get_schedule(path).steps == SCHEDULES["global_only"].steps[:0] + (SCHEDULES["mhkd"].steps[0],)
    assert get_schedule(path, "teacher").student_start == "teacher"


STEP = {"name": "a", "weights": {"detect": 1}}


@pytest.mark.parametrize("content, message", [
    ("", "is no schedule"), ("- a", "is no schedule"), ("steps: [", "is no YAML"),
    ({"steps": []}, "at least one step"), ({"steps": [STEP], "step": 1}, "unknown key 'step'"),
    ({"steps": [STEP], "student_start": "techer"}, "student_start 'techer'"),
    ({"steps": [STEP, {"weights": {"detect": 1}}]}, "step 2: must have a name"),
    ({"steps": [STEP | {"name": "../a"}]}, "step 1: must have a name"),
    ({"steps": [STEP | {"weights": {"focal": 1}}]}, "step 1: .*unknown loss 'focal'"),
    ({"steps": [STEP | {"weights": {"detect": "1"}}]}, "step 1: weights"),
    ({"steps": [STEP | {"weights": {"detect": float("nan")}}]}, "step 1: weights"),
    ({"steps": [STEP | {"weights": {"detect": -1}}]}, "step 1: weights"),
    ({"steps": [STEP | {"weights": {"adaptive": 1}}]}, "step 1: .*needs bfa"),
    ({"steps": [STEP | {"bfa": "yes please"}]}, "step 1: bfa must be"),
    ({"steps": [STEP | {"teacher": ["head"]}]}, "step 1: teacher must list"),
    ({"steps": [STEP | {"student": []}]}, "step 1: student must name"),
    ({"steps": [{"name": "a", "weights": {"basic": 1}, "teacher": ["heads"]}]}, "step 1: a teacher that"),
    ({"steps": [STEP | {"weight": 1}]}, "step 1: unknown key 'weight'"),
    ("steps: !!python/object/apply:os.system [\"touch RAN\"]", "no YAML that is safe"),
])  # fmt: skip
def test_a_file_that_is_no_schedule_is_named_with_the_step(tmp_path, content, message):
    path = written(tmp_path, content)
    with pytest.raises(InputError, match=f"mine.yaml: .*{message}|mine.yaml: {message}"):
        DetectionTask().check_schedule(get_schedule(path))


def test_a_missing_file():
    with pytest.raises(InputError, match="nowhere.yaml: no such file"):
        get_schedule("nowhere.yaml")


def test_an_extension_registers_a_loss_and_a_schedule(tmp_path):
    path = tmp_path / "own.py"
    path.write_text("""
from mhkd.losses import LOSS_REGISTRY, needs
from mhkd.schedules import Schedule, Stage, register_schedule

@LOSS_REGISTRY.register()
@needs("f_l", "f_h")
def of_a_test(it):
    return it.f_l["p3"].mean()

register_schedule(Schedule("of_a_test", (Stage("one", {"detect": 1, "of_a_test": 2}),)))
""")
    try:
        load_extensions([path])
        load_extensions([path])  # once
        assert needs_of("of_a_test") == {"f_l", "f_h"}
        assert get_schedule("of_a_test").uses_teacher
        assert [name for name, _ in LOSS_REGISTRY][-1] == "of_a_test"
    finally:
        LOSS_REGISTRY._obj_map.pop("of_a_test", None)
        SCHEDULES.pop("of_a_test", None)


@pytest.mark.parametrize("content, message", [
    (None, "no such file"), ("import nothing_of_this_name", "line 1: ModuleNotFoundError"),
    ("x = 1\nx.y", "line 2: AttributeError"), ("def f(:", "SyntaxError"),
    ("from mhkd.losses import needs\n@needs('o_s')\ndef f(it): pass", "line 2: ValueError: a loss may"),
])  # fmt: skip
def test_an_extension_that_fails_is_one_line(tmp_path, content, message):
    path = tmp_path / "own.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=f"--with .*own.py: {message}"):
        load_extensions([path])
