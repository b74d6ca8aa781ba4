"""The learning rate's course through the steps of a schedule."""

import math

from mhkd.engine.optimizer import build_optimizer, build_scheduler, step_cfg
from mhkd.schedules import SCHEDULES, plan_steps

import pytest
from torch import nn


@pytest.fixture
def courses(tiny_cfg):
    tiny_cfg.merge_from_list(
        ["SOLVER.BASE_LR", 1.0, "SOLVER.GAMMA", 0.1, "SOLVER.WARMUP_ITERS", 5, "MHKD.LR_STEPS", (0.6, 0.9)]
    )
    steps = plan_steps(SCHEDULES["mhkd"], 50, 400)

    def course(restart):
        tiny_cfg.MHKD.LR_RESTART = restart
        solvers = [step_cfg(tiny_cfg, s, steps).SOLVER for s in steps]
        return [(round(s.BASE_LR, 9), s.STEPS, s.MAX_ITER, s.WARMUP_ITERS) for s in solvers]

    return course


def test_restarted_in_each_step(courses):
    assert courses(True) == [(1.0, (30, 45), 50, 5)] + [(1.0, (60, 90), 100, 5)] * 4


def test_one_course_over_all_student_steps(courses):
    # Of 400 iterations the decays come at 240 and 360: in the third step at 40, in the fourth at 60.
    assert courses(False) == [
        (1.0, (30, 45), 50, 5),  # the teacher's own
        (1.0, (), 100, 5),
        (1.0, (), 100, 0),
        (1.0, (40,), 100, 0),
        (0.1, (60,), 100, 0),
    ]


def rates(cfg, steps, images=0):
    """The rate of each iteration of each step."""
    found = []
    for step in steps:
        of_step = step_cfg(cfg, step, steps, images)
        optimizer = build_optimizer(of_step, nn.Linear(1, 1))
        scheduler = build_scheduler(of_step, optimizer, step, steps)
        found.append([])
        for _ in range(step.start, step.end):
            found[-1].append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return found


def test_a_cosine_is_one_curve_over_the_students_steps_or_restarts(tiny_cfg):
    tiny_cfg.merge_from_list(
        ["SOLVER.BASE_LR", 2.0, "SOLVER.WARMUP_ITERS", 0, "SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR"]
    )
    steps = plan_steps(SCHEDULES["mhkd"], 4, 16)

    def curve(length, iterations):
        return [1 + math.cos(math.pi * k / length) for k in iterations]

    expected = [curve(4, range(4))] + [curve(16, range(4 * k, 4 * k + 4)) for k in range(4)]
    for found, wanted in zip(rates(tiny_cfg, steps), expected):
        assert found == pytest.approx(wanted)
    tiny_cfg.MHKD.LR_RESTART = True
    assert all(found == pytest.approx(curve(4, range(4))) for found in rates(tiny_cfg, steps))


def test_a_cosine_resumes_where_it_was(tiny_cfg):
    tiny_cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupCosineLR"
    steps = plan_steps(SCHEDULES["mhkd"], 4, 16)
    cfg = step_cfg(tiny_cfg, steps[2], steps)
    first, again = (build_optimizer(cfg, nn.Linear(1, 1)) for _ in "ab")
    scheduler, resumed = (build_scheduler(cfg, o, steps[2], steps) for o in (first, again))
    first.step()
    scheduler.step()
    again.load_state_dict(first.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    for optimizer, course in ((first, scheduler), (again, resumed)):
        optimizer.step()
        course.step()
    assert again.param_groups[0]["lr"] == first.param_groups[0]["lr"] < tiny_cfg.SOLVER.BASE_LR


def test_decays_every_so_many_epochs(tiny_cfg):
    tiny_cfg.merge_from_list(
        ["SOLVER.BASE_LR", 1.0, "SOLVER.WARMUP_ITERS", 0, "MHKD.LR_DECAY_EPOCHS", 5, "MHKD.LR_RESTART", True,
         "SOLVER.IMS_PER_BATCH", 2]
    )  # fmt: skip
    steps = plan_steps(SCHEDULES["none"], 0, 40)
    # Five epochs of 6 images are 15 iterations of 2.
    (found,) = rates(tiny_cfg, steps, images=6)
    assert found == pytest.approx([1.0] * 15 + [0.1] * 15 + [0.01] * 10)


def test_the_rate_follows_the_images_of_an_iteration(tiny_cfg):
    tiny_cfg.merge_from_list(
        ["SOLVER.BASE_LR", 0.01, "SOLVER.REFERENCE_IMS_PER_BATCH", 2, "SOLVER.IMS_PER_BATCH", 4,
         "SOLVER.ACCUMULATE_BATCHES", 3]
    )  # fmt: skip
    steps = plan_steps(SCHEDULES["none"], 0, 40)
    assert step_cfg(tiny_cfg, steps[0], steps).SOLVER.BASE_LR == pytest.approx(0.06)


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_the_teachers_parts_have_a_rate_of_their_own_in_online_steps(tiny_cfg, optimizer):
    tiny_cfg.merge_from_list(
        ["SOLVER.BASE_LR", 1.0, "MHKD.TEACHER_LR_FACTOR", 0.25, "SOLVER.OPTIMIZER", optimizer,
         "SOLVER.WARMUP_ITERS", 0]
    )  # fmt: skip
    pair = nn.ModuleDict({"teacher": nn.Linear(1, 1), "student": nn.Linear(1, 1)})
    steps = plan_steps(SCHEDULES["mhkd"], 50, 400)

    def rates_of(step):
        groups = build_optimizer(step_cfg(tiny_cfg, step, steps), pair).param_groups
        of = {p: g["lr"] for g in groups for p in g["params"]}
        assert groups[0]["lr"] == of[pair["student"].weight] or not step.stage.student  # what is logged
        return of[pair["teacher"].weight], of[pair["student"].weight]

    assert rates_of(steps[3]) == (0.25, 1.0)
    assert rates_of(steps[0]) == (1.0, 1.0)  # the teacher's own step
