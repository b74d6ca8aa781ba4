"""A training that has diverged says so, and its checkpoint does not replace a good one."""

import math
from collections.abc import Mapping

import torch

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
