"""The learning rate's course through the steps of a schedule."""

from mhkd.engine.optimizer import step_cfg
from mhkd.schedules import SCHEDULES, plan_steps

import pytest


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
