"""A training that has diverged says so, and its checkpoint does not replace a good one."""

import math
from collections.abc import Callable, Mapping

import torch
from detectron2.utils.events import EventStorage
from torch import nn

from ..errors import InputError


class Diverged(InputError):
    """Losses or weights are no longer finite."""


def not_finite(weights: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of the tensors that hold infinity or NaN; waits for the GPU once, not for each."""
    floats = {k: v for k, v in weights.items() if v.is_floating_point() and v.numel()}
    if not floats:
        return []
    finite = torch.stack([torch.isfinite(v).all() for v in floats.values()]).tolist()
    return [k for k, good in zip(floats, finite) if not good]


def named_losses(losses: Mapping[str, float]) -> str:
    """The losses that are not finite first, "loss_cls nan, loss_box_reg inf, ..."."""
    ordered = sorted(losses.items(), key=lambda item: math.isfinite(item[1]))
    return ", ".join(f"{name} {value:.4g}" for name, value in ordered)


@torch.no_grad()
def loss_with(weights_of: nn.Module, forward: Callable[[], Mapping[str, torch.Tensor]]) -> float:
    """The sum of the losses that ``forward`` gives with the present weights, infinity where it raises.

    Leaves no trace in ``weights_of``'s buffers or in the metrics.
    """
    before = {name: buffer.clone() for name, buffer in weights_of.named_buffers()}
    try:
        with EventStorage():
            total = sum(forward().values()).item()
    except Exception:  # as in training, see Diverged
        total = math.inf
    for name, buffer in weights_of.named_buffers():
        buffer.copy_(before[name])
    return total if math.isfinite(total) else math.inf
