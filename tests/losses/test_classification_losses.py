"""A classifier's losses on values that can be worked out by hand."""

import math

import mhkd  # noqa: F401  (before Detectron2, which it prepares)
from mhkd.losses import (
    LOSS_REGISTRY,
    ClassifierIteration,
    attention,
    attention_plus,
    cross_entropy,
    feature_matching,
    grad_cam,
    pixel_wise_bicubic,
    pixel_wise_maxpool,
    soft,
)
from mhkd.schedules.classification import KD

import pytest
import torch

ROWS = torch.arange(16.0).view(1, 1, 4, 4)  # 0 1 2 3, 4 5 6 7, ...


def looked(**values):
    it = ClassifierIteration()
    vars(it).update({"temperature": 1.0, "normalized": False, **values})
    return it


def test_pixel_wise_by_max_pooling():
    it = looked(conv_h=ROWS, adapted_l=torch.zeros(1, 1, 2, 2))  # the greatest of each quarter: 5 7 13 15
    assert pixel_wise_maxpool(it).item() == pytest.approx((25 + 49 + 169 + 225) / 4)


def test_pixel_wise_by_bicubic_interpolation():
    # Halfway between two samples the cubic weighs four neighbours -3/32, 19/32, 19/32, -3/32, and the border
    # is repeated: of 0 1 2 3 it makes 13/32 and 83/32, of 4 r + c four times the row's and the column's.
    low, high = 13 / 32, 83 / 32
    expected = [4 * r + c for r in (low, high) for c in (low, high)]
    it = looked(conv_h=ROWS, adapted_l=torch.zeros(1, 1, 2, 2))
    assert pixel_wise_bicubic(it).item() == pytest.approx(sum(v**2 for v in expected) / 4, rel=1e-5)


def test_kd_averages_both_ways_and_adds_the_soft_loss():
    """Equations 1 to 3: of a map of 1, reduced to 1 either way, both are 1 and their mean is."""
    one = torch.ones(1, 1, 4, 4)
    it = looked(conv_h=one, adapted_l=torch.zeros(1, 1, 2, 2))
    it.logits_h, it.logits_l = torch.tensor([[2.0, 0.0]]), torch.zeros(1, 2)
    total = sum(weight * LOSS_REGISTRY.get(name)(it) for name, weight in KD.items())
    assert total.item() == pytest.approx(1 + soft(it).item())


def test_pixel_wise_maps_of_sizes_that_do_not_divide():
    it = looked(conv_h=torch.rand(2, 3, 14, 11), adapted_l=torch.zeros(2, 3, 4, 3))
    assert pixel_wise_maxpool(it) > 0 and pixel_wise_bicubic(it) > 0


def test_features_are_matched_by_area():
    it = looked(conv_h=ROWS, adapted_l=torch.zeros(1, 1, 2, 2))  # means of the quarters: 2.5 4.5 10.5 12.5
    assert feature_matching(it).item() == pytest.approx((2.5**2 + 4.5**2 + 10.5**2 + 12.5**2) / 4)


def test_soft_is_kl_of_the_teacher_from_the_student_times_t_squared():
    teacher, student = torch.tensor([[2.0, 0.0]]), torch.zeros(1, 2)
    p = math.e / (1 + math.e)  # of the teacher at T = 2, where the student has 1/2
    kl = p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p))
    it = looked(logits_h=teacher, logits_l=student, temperature=2.0)
    assert soft(it).item() == pytest.approx(4 * kl, rel=1e-5)
    # The other direction would be another value.
    back = 0.5 * math.log(0.5 / p) + 0.5 * math.log(0.5 / (1 - p))
    assert soft(it).item() != pytest.approx(4 * back, rel=1e-2)
    # Mean over images.
    twice = looked(logits_h=teacher.repeat(2, 1), logits_l=student.repeat(2, 1), temperature=2.0)
    assert soft(twice).item() == pytest.approx(4 * kl, rel=1e-5)


def test_t_squared_keeps_the_gradient_of_soft_labels():
    """For small logits it does not depend on T (Hinton et al. 2015, section 2.1)."""
    gradients = []
    for temperature in (4.0, 16.0):
        student = torch.zeros(1, 2, requires_grad=True)
        soft(
            looked(logits_h=torch.tensor([[0.1, 0.0]]), logits_l=student, temperature=temperature)
        ).backward()
        gradients.append(student.grad[0, 0].item())
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-3) and gradients[0] < 0


def test_cross_entropy():
    it = looked(logits_l=torch.tensor([[0.0, math.log(3)]]), labels=torch.tensor([1]))
    assert cross_entropy(it).item() == pytest.approx(math.log(4 / 3), rel=1e-5)


TOY = torch.tensor([[[[1.0, 0.0], [0.0, 2.0]], [[3.0, 1.0], [1.0, 0.0]]]])  # two channels
TOY_WEIGHTS = torch.tensor([[[1.0, -1.0]]])


def test_positive_gradients_alone_make_the_map():
    plain = grad_cam(TOY, TOY_WEIGHTS)  # the second channel takes away
    assert plain.tolist() == [[[[0, 0], [0, 2]]]]
    assert grad_cam(TOY, TOY_WEIGHTS.relu()).tolist() == [[[[1, 0], [0, 2]]]]


def test_at_compares_grad_cams_and_at_plus_those_of_positive_gradients():
    it = looked(conv_l=TOY, conv_h=0 * TOY, weights_l=TOY_WEIGHTS, weights_h=TOY_WEIGHTS)
    assert attention(it).item() == 2  # of 0 0, 0 2
    assert attention_plus(it).item() == pytest.approx(math.sqrt(5))  # of 1 0, 0 2


def test_it_is_grad_cam_without_its_factor():
    """Against its definition, by automatic differentiation of a head behind average pooling."""
    conv, head = torch.rand(2, 5, 3, 4, requires_grad=True), torch.nn.Linear(5, 3)
    labels = torch.tensor([2, 0])
    logits = head(conv.mean((2, 3)))
    (gradient,) = torch.autograd.grad(logits[[0, 1], labels].sum(), conv)
    alpha = gradient.mean((2, 3))
    defined = (alpha[:, :, None, None] * conv).sum(1, keepdim=True).relu()
    found = grad_cam(conv, head.weight[labels[:, None]])
    torch.testing.assert_close(found, defined * 3 * 4)


def maps(student, teacher, **values):
    """An iteration whose attention maps are these, (h, w) each."""
    one = torch.ones(1, 1, 1)
    return looked(
        conv_l=student[None, None], conv_h=teacher[None, None], weights_l=one, weights_h=one, **values
    )


def test_distance_of_maps_with_and_without_their_norms():
    it = maps(torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]]))
    assert attention_plus(it).item() == pytest.approx(math.sqrt(2))
    it.normalized = True  # (0.6, 0.8) and (0.8, 0.6)
    assert attention_plus(it).item() == pytest.approx(math.sqrt(0.08), rel=1e-5)


@pytest.mark.parametrize("normalized", [True, False])
def test_the_same_attention_at_two_sizes_is_no_loss(normalized):
    """With Grad-CAM's factor 1 / (h w) the larger map would be a quarter of the other."""
    small = torch.rand(3, 3)
    it = maps(small, small.repeat_interleave(2, 0).repeat_interleave(2, 1), normalized=normalized)
    assert attention(it).item() == pytest.approx(0, abs=1e-6)


def test_the_teachers_map_is_reduced_by_area():
    it = maps(torch.tensor([[1.0]]), torch.tensor([[0.0, 0.0, 3.0]]))  # the middle alone would be 0
    assert attention(it).item() == 0


def test_a_map_of_zeros_has_no_direction_and_a_gradient():
    student = torch.zeros(1, 1, 2, 2, requires_grad=True)
    one = torch.ones(1, 1, 1)
    it = looked(conv_l=student, conv_h=torch.ones(1, 1, 2, 2), weights_l=one, weights_h=one, normalized=True)
    loss = attention(it)
    loss.backward()
    assert loss.item() == pytest.approx(1) and student.grad.isfinite().all()
