from mhkd.modeling import BFA
from mhkd.modeling.bfa import resize_features

import pytest
import torch


@pytest.mark.parametrize("grid_factor,scale", [(1, 1), (1, 2), (3, 1), (4, 1), (4, 2)])
@pytest.mark.parametrize("norm", ["", "GN"])
def test_starts_as_its_input_on_the_teachers_grid(grid_factor, scale, norm):
    bfa = BFA(6, channels=32, num_blocks=2, grid_factor=grid_factor, scale=scale, norm=norm)
    x = torch.randn(2, 6, 5, 7)
    y = bfa(x)
    assert y.shape == (2, 6, 5 * grid_factor, 7 * grid_factor)
    assert torch.equal(y, resize_features(x, grid_factor))


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


def test_bilinear_resize_keeps_a_constant_and_the_mean_of_a_ramp():
    ramp = torch.arange(8.0).view(1, 1, 1, 8)
    up = resize_features(ramp, 4)
    assert up.shape == (1, 1, 4, 32)
    torch.testing.assert_close(up.mean(), ramp.mean())
    torch.testing.assert_close(resize_features(torch.ones(1, 1, 2, 2), 3), torch.ones(1, 1, 6, 6))
