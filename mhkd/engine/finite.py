"""Which weights are not finite."""

from collections.abc import Mapping

import torch


def not_finite(weights: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of the tensors that hold infinity or NaN; waits for the GPU once, not for each."""
    floats = {k: v for k, v in weights.items() if v.is_floating_point() and v.numel()}
    if not floats:
        return []
    finite = torch.stack([torch.isfinite(v).all() for v in floats.values()]).tolist()
    return [k for k, good in zip(floats, finite) if not good]
