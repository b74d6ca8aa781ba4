"""Which weights, and which of their gradients, are not finite."""

import math
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.utils import get_total_norm


def not_finite(weights: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of the tensors that hold infinity or NaN; waits for the GPU once, not for each."""
    floats = {k: v for k, v in weights.items() if v.is_floating_point() and v.numel()}
    if not floats:
        return []
    finite = torch.stack([torch.isfinite(v).all() for v in floats.values()]).tolist()
    return [k for k, good in zip(floats, finite) if not good]


def not_finite_gradients(network: nn.Module) -> list[str]:
    """Names of the parameters whose gradients are not; each is looked at only where their norm is not."""
    gradients = {k: p.grad for k, p in network.named_parameters() if p.grad is not None}
    if math.isfinite(get_total_norm(gradients.values())):
        return []
    return not_finite(gradients)
