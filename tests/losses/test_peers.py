import math

from mhkd.losses import focal_loss, pearson_loss
from mhkd.schedules import Stage

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from training_step import images, step


def objects(*boxes, size=(40, 40)):
    found = Instances(size)
    found.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    return found


def test_pearson_loss_is_one_minus_the_correlation_over_the_whole_batch():
    torch.manual_seed(0)
    student, teacher = ({"p3": torch.randn(2, 3, 4, 5), "p4": torch.randn(2, 3, 2, 2)} for _ in "st")
    expected = 0
    for level in student:
        pairs = zip(student[level].unbind(1), teacher[level].unbind(1))
        expected += np.mean([1 - np.corrcoef(s.flatten(), t.flatten())[0, 1] for s, t in pairs])
    assert pearson_loss(student, teacher).item() == pytest.approx(expected, abs=1e-5)


def test_pearson_loss_by_hand():
    student = {"p3": torch.tensor([[[[1.0, 2.0, 3.0]]]])}
    for values, r in (([10, 20, 30], 1), ([3, 2, 1], -1), ([1, -2, 1], 0), ([5, 5, 8], math.sqrt(3) / 2)):
        teacher = {"p3": torch.tensor(values, dtype=torch.float32).view(1, 1, 1, 3)}
        assert pearson_loss(student, teacher).item() == pytest.approx(1 - r, abs=1e-5)
    flat = {"p3": torch.full((1, 1, 1, 3), 7.0)}  # a dead channel: no correlation, and no division by zero
    assert pearson_loss(student, flat).item() == pytest.approx(0.5, abs=1e-5)


def test_focal_loss_by_hand():
    """4 x 4 cells of 10 px, teacher 0: attention is even, and what is left is the mean in each object."""
    teacher, student = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    student[0, 0, :2, :2] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])  # within the object
    student[0, 0, 3, 3] = 6.0  # background
    magnitude = student.flatten() / 0.5  # the student's attention, temperature 0.5
    attention = (torch.softmax(magnitude, 0) * 16 - 1).abs().sum().item()

    def loss(*boxes, ignored=None):
        found = focal_loss({"p3": student}, {"p3": teacher}, [objects(*boxes)], [ignored], (40, 40))
        return found.item() - attention

    squares, others = 1 + 4 + 9 + 16, 36
    assert loss((0, 0, 20, 20)) == pytest.approx(squares / 4 + 0.5 * others / 12, rel=1e-4)
    assert loss() == pytest.approx(0.5 * (squares + others) / 16, rel=1e-4)
    # Of two objects on one cell the smaller one counts: cells of 1 and 1/4.
    assert loss((0, 0, 20, 20), (0, 0, 9, 9)) == pytest.approx(1 + 29 / 4 + 0.5 * others / 12, rel=1e-4)
    # An object of less than a cell has one; what is ignored is no background.
    assert loss((31, 31, 32, 32)) == pytest.approx(36 + 0.5 * squares / 15, rel=1e-4)
    corner = Boxes(torch.tensor([[30.0, 30, 40, 40]]))
    assert loss((0, 0, 20, 20), ignored=corner) == pytest.approx(squares / 4, rel=1e-4)


def test_focal_loss_follows_the_teachers_attention_and_averages_over_images():
    student = torch.zeros(1, 2, 1, 2)
    teacher = torch.tensor([[[[2.0, 0.0]], [[0.0, 0.0]]]])
    # Mean magnitudes: places 1 and 0, channels 1 and 0; softmax of 2 and 0, of mean 1 over two.
    most, least = (2 * x / (math.exp(2) + 1) for x in (math.exp(2), 1))
    attention = 2 * ((most - 1) + (1 - least))
    expected = 1 / 2 * most * most * 4 + attention  # one object of both cells
    found = objects((0, 0, 20, 10), size=(10, 20))
    one = focal_loss({"p3": student}, {"p3": teacher}, [found], [None], (10, 20))
    assert one.item() == pytest.approx(expected, rel=1e-4)
    two = focal_loss(
        {"p3": torch.cat([student, teacher])},
        {"p3": torch.cat([teacher] * 2)},
        [found] * 2,
        [None] * 2,
        (10, 20),
    )
    assert two.item() == pytest.approx(expected / 2, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["pkd", "fgd_focal"])
def test_losses_of_peers_in_a_step(loss, tiny_cfg):
    """They reach the student's pyramid, with annotations and without."""
    distilled = build_model(tiny_cfg)
    for labels in (True, False):
        stage = Stage("a", {"detect": 0, loss: 1}, student=("backbone",), labels=labels)
        losses = step(distilled, stage, images(2))
        assert losses[f"loss_{loss}"] > 0
        assert all(
            p.grad is not None and p.grad.isfinite().all()
            for p in distilled.student.backbone.fpn.parameters()
        )
        assert all(p.grad is None for p in distilled.teacher.parameters())
