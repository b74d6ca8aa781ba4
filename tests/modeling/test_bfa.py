from mhkd.errors import InputError
from mhkd.modeling import BFA
from mhkd.modeling.bfa import adapt_pyramid, bfa_of_levels

import pytest
import torch
from detectron2.layers import ShapeSpec
from torch import nn


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("norm", ["", "GN"])
def test_starts_as_its_input(scale, norm):
    bfa = BFA(6, channels=32, num_blocks=2, scale=scale, norm=norm)
    x = torch.randn(2, 6, 5, 7)
    assert torch.equal(bfa(x), x)


def test_learns_although_its_output_convolution_starts_at_zero():
    torch.manual_seed(0)
    bfa = BFA(2, channels=8, num_blocks=1)
    x, target = torch.randn(4, 2, 8, 8), torch.randn(4, 2, 8, 8)
    optimizer = torch.optim.Adam(bfa.parameters(), 1e-2)
    first = None
    for _ in range(60):
        loss = (bfa(x) - target).square().mean()
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.7 * first
    assert all(p.grad.abs().sum() > 0 for p in bfa.parameters())  # every layer takes part


class Plus(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return x + self.value


PYRAMID = {"p3": torch.zeros(1, 1, 8, 8), "p4": torch.ones(1, 1, 4, 4), "p5": torch.zeros(1, 1, 2, 2)}


@pytest.mark.parametrize(
    "gains,expected",
    [
        ({"p5": 2.0}, [2, 3, 2]),  # the coarsest gain reaches every level
        ({"p4": 0.5}, [0.5, 1.5, 0]),  # what is coarser stays
        ({"p4": 0.5, "p5": 2.0}, [0.5, 1.5, 2]),  # the next coarser one counts
        ({"p3": 1.0, "p4": 0.5, "p5": 2.0}, [1, 1.5, 2]),
        ({}, [0, 1, 0]),
    ],
)
def test_levels_without_a_module_take_over_the_next_coarser_gain(gains, expected):
    adapted = adapt_pyramid(nn.ModuleDict({k: Plus(v) for k, v in gains.items()}), PYRAMID)
    assert list(adapted) == list(PYRAMID)
    for (level, x), value in zip(adapted.items(), expected):
        assert torch.equal(x, torch.full_like(PYRAMID[level], value))


def test_bfa_on_chosen_levels():
    shapes = {level: ShapeSpec(channels=4, stride=s) for level, s in (("p3", 8), ("p4", 16), ("p5", 32))}
    assert list(bfa_of_levels(shapes, channels=8, num_blocks=1)) == ["p3", "p4", "p5"]
    on_p5 = bfa_of_levels(shapes, ["p5"], channels=8, num_blocks=1)
    assert list(on_p5) == ["p5"]
    features = {level: torch.randn(1, 4, 64 // s.stride, 64 // s.stride) for level, s in shapes.items()}
    assert all(torch.equal(x, features[k]) for k, x in adapt_pyramid(on_p5, features).items())
    nn.init.ones_(on_p5["p5"].output.bias)
    for level, x in adapt_pyramid(on_p5, features).items():
        torch.testing.assert_close(x, features[level] + 1)
    with pytest.raises(InputError, match="MODEL.BFA.LEVELS .*'p9'.*: the backbone has p3, p4, p5, no p9"):
        bfa_of_levels(shapes, ["p4", "p9"])
