from mhkd.engine.optimizer import build_optimizer, clip_gradients

import pytest
import torch
from torch import nn


class TwoNumbers(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.zeros(1)) for _ in range(2))


@pytest.mark.parametrize("clip_type,moved", [("full_model", (-0.6, -0.8)), ("norm", (-1.0, -1.0))])
def test_clipping_of_all_gradients_together_keeps_their_direction(tiny_cfg, clip_type, moved):
    tiny_cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = clip_type
    tiny_cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 1.0
    tiny_cfg.SOLVER.BASE_LR, tiny_cfg.SOLVER.MOMENTUM, tiny_cfg.SOLVER.WEIGHT_DECAY = 1.0, 0.0, 0.0
    model = TwoNumbers()
    optimizer = build_optimizer(tiny_cfg, model)
    (3 * model.a + 4 * model.b).backward()  # a norm of 5
    clip_gradients(tiny_cfg, optimizer)
    optimizer.step()
    assert (model.a.item(), model.b.item()) == pytest.approx(moved, abs=1e-4)


def test_a_clipping_adamw_resumes(tiny_cfg):
    tiny_cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "full_model"
    tiny_cfg.SOLVER.OPTIMIZER = "AdamW"
    first, second = TwoNumbers(), TwoNumbers()
    optimizer = build_optimizer(tiny_cfg, first)
    (3 * first.a + 4 * first.b).backward()
    clip_gradients(tiny_cfg, optimizer)
    optimizer.step()
    again = build_optimizer(tiny_cfg, second)
    again.load_state_dict(optimizer.state_dict())
    assert again.state_dict()["state"].keys() == {0, 1}
    assert isinstance(again, torch.optim.AdamW)
