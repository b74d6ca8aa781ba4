from dataclasses import replace

from mhkd.errors import InputError
from mhkd.schedules import (
    HEADS,
    SCHEDULES,
    WHOLE,
    Stage,
    check_stage,
    check_unlabeled,
    get_schedule,
    plan_steps,
)

import pytest


def test_mhkd_is_the_papers_four_steps():
    steps = SCHEDULES["mhkd"].steps
    assert [s.name for s in steps] == ["basic", "adaptive", "local", "semantic"]
    assert [dict(s.weights) for s in steps] == [
        {"detect": 1, "basic": 1},
        {"detect": 1, "adaptive": 1},
        {"detect": 1, "local": 1},
        {"detect": 0.9, "local": 0.1, "output": 0.1},
    ]
    assert [s.teacher for s in steps] == [(), (), HEADS, HEADS]  # offline twice, then online
    assert [s.bfa for s in steps] == [False, True, True, True]


def test_ablations_differ_from_mhkd_only_in_what_they_are_about():
    four = SCHEDULES["mhkd"].steps
    assert SCHEDULES["online"].steps == tuple(replace(s, teacher=WHOLE) for s in four)
    assert SCHEDULES["offline"].steps == tuple(replace(s, teacher=()) for s in four)
    assert [s.name for s in SCHEDULES["three_step"].steps] == ["basic", "local", "semantic"]
    assert not SCHEDULES["three_step"].uses_bfa
    assert set(SCHEDULES["single_step"].steps[0].weights) == {
        "detect", "basic", "adaptive", "local", "output",
    }  # fmt: skip
    assert SCHEDULES["double_step"].steps[1].weights == four[3].weights  # the last step of several
    assert not SCHEDULES["none"].uses_teacher and not SCHEDULES["none_bfa"].uses_teacher
    assert SCHEDULES["none_bfa"].uses_bfa


def test_a_start_from_the_teacher_changes_nothing_else():
    for name in ("mhkd", "none"):
        plain, started = SCHEDULES[name], SCHEDULES[f"{name}_from_teacher"]
        assert [replace(s, name="") for s in started.steps] == [replace(s, name="") for s in plain.steps]
        assert (plain.student_start, started.student_start) == ("scratch", "teacher")
    plain, started = (plan_steps(SCHEDULES[s], 10, 8) for s in ("mhkd", "mhkd_from_teacher"))
    assert plain[0].describe() == started[0].describe()
    # Equal descriptions may share weights: these may not.
    assert started[1].describe() == plain[1].describe() | {"student_start": "teacher"}


def test_features_fall_from_eight_to_labels_alone_beside_a_frozen_teacher():
    schedule = get_schedule("features_falling")
    weights = [dict(s.weights) for s in schedule.steps]
    assert [w.pop("detect") for w in weights] == [1, 1, 1]
    assert weights == [{"basic": 8, "local": 8}, {"basic": 1, "local": 1}, {}]
    assert [s.uses_teacher for s in schedule.steps] == [True, True, False]
    assert all(s.labels and not s.teacher and not s.bfa for s in schedule.steps)
    assert schedule.student_start == "teacher"


def test_direct_detection_is_the_teacher_alone():
    assert [s.folder for s in plan_steps(SCHEDULES["direct"], 50, 8)] == ["0_teacher"]
    assert check_stage(SCHEDULES["direct"], -1) == 0


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("student_iters", [6400, 1001, 7])
def test_every_schedule_has_the_same_total_of_student_iterations(name, student_iters):
    steps = plan_steps(SCHEDULES[name], 100, student_iters)
    student = [s for s in steps if s.position > 0]
    if name in ("direct", "teacher"):
        assert not student
        return
    assert sum(s.end - s.start for s in student) == student_iters
    assert [s.start for s in steps[1:]] == [s.end for s in steps[:-1]]
    lengths = [(s.end - s.start) / s.stage.length for s in student]
    assert max(lengths) - min(lengths) <= 1


def test_the_teacher_comes_first_unless_given_or_not_used():
    assert plan_steps(SCHEDULES["mhkd"], 50, 8)[0].folder == "0_teacher"
    assert plan_steps(SCHEDULES["mhkd"], 0, 8)[0].folder == "1_basic"
    assert plan_steps(SCHEDULES["none"], 50, 8)[0].folder == "1_none"


def test_bad_names_and_numbers():
    with pytest.raises(InputError, match="mhdk.*mhkd"):
        get_schedule("mhdk")
    with pytest.raises(InputError, match="no step 5.*4 semantic"):
        check_stage(SCHEDULES["mhkd"], 5)
    assert check_stage(SCHEDULES["mhkd"], -1) == 4
    with pytest.raises(InputError, match="STUDENT_ITERS 2"):
        plan_steps(SCHEDULES["mhkd"], 10, 2)
    with pytest.raises(InputError, match="step x: unknown loss 'focal'"):
        Stage("x", {"focal": 1})
    with pytest.raises(InputError, match="bfa"):
        Stage("x", {"adaptive": 1})


def test_any_schedule_can_start_from_the_teacher():
    started = get_schedule("baseline_kd", "teacher")
    assert started.steps == SCHEDULES["baseline_kd"].steps and started.student_start == "teacher"
    assert get_schedule("none", "teacher").uses_teacher  # whose weights it needs
    assert get_schedule("none_from_teacher").student_start == "teacher"
    assert get_schedule("none_from_teacher", "scratch").student_start == "scratch"
    with pytest.raises(InputError, match="unknown start 'techer'.*scratch, teacher"):
        get_schedule("mhkd", "techer")


def test_images_without_annotations_need_a_teacher_that_does_not_train():
    check_unlabeled(SCHEDULES["offline"])
    check_unlabeled(get_schedule("none", "teacher"))
    with pytest.raises(InputError, match="none has no teacher"):
        check_unlabeled(SCHEDULES["none"])
    with pytest.raises(InputError, match="steps local, semantic of schedule mhkd train the teacher"):
        check_unlabeled(SCHEDULES["mhkd"])
