from mhkd.losses import global_feature_loss, local_feature_loss

import pytest
import torch


def test_global_loss_is_the_mean_over_elements_then_over_levels():
    student = {"p2": torch.zeros(1, 1, 2, 2), "p3": torch.zeros(1, 1, 1, 1)}
    teacher = {"p2": torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), "p3": torch.full((1, 1, 1, 1), 3.0)}
    # p2: (1 + 4 + 9 + 16) / 4 = 7.5; p3: 9; each level counts the same
    assert global_feature_loss(student, teacher).item() == pytest.approx((7.5 + 9) / 2)


def test_global_loss_is_squared_so_errors_do_not_cancel():
    student = {"p2": torch.zeros(1, 1, 1, 2)}
    teacher = {"p2": torch.tensor([[[[1.0, -1.0]]]])}  # equation 4 as printed would give 0
    assert global_feature_loss(student, teacher).item() == 1.0


def test_global_loss_gradient():
    student = {"p2": torch.tensor([[[[1.0, 5.0]]]], requires_grad=True)}
    global_feature_loss(student, {"p2": torch.tensor([[[[3.0, 4.0]]]])}).backward()
    torch.testing.assert_close(student["p2"].grad, torch.tensor([[[[-2.0, 1.0]]]]))  # 2 (s - t) / 2


@pytest.mark.parametrize("teacher", [{"p3": torch.zeros(1, 1, 2, 2)}, {"p2": torch.zeros(1, 1, 1, 2)}])
def test_global_loss_refuses_other_levels_and_broadcasting(teacher):
    with pytest.raises(ValueError):
        global_feature_loss({"p2": torch.zeros(1, 1, 2, 2)}, teacher)


def test_local_loss_value():
    student, teacher = torch.zeros(2, 1, 1, 2), torch.tensor([[[[1.0, 1.0]]], [[[0.0, 2.0]]]])
    assert local_feature_loss(student, teacher).item() == pytest.approx(6 / 4)


def test_local_loss_without_proposals_is_zero_and_differentiable():
    student = torch.zeros(0, 4, 7, 7, requires_grad=True)
    loss = local_feature_loss(student, torch.zeros(0, 4, 7, 7))
    loss.backward()
    assert loss.item() == 0 and student.grad.shape == (0, 4, 7, 7)


def test_local_loss_refuses_broadcasting():
    with pytest.raises(ValueError):
        local_feature_loss(torch.zeros(2, 1, 1, 1), torch.zeros(1, 1, 1, 1))
