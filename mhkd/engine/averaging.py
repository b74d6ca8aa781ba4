"""The exponential moving average of the weights (SOLVER.EMA_DECAY)."""

import functools

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


def build_average(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of ``model`` whose :meth:`update_parameters` moves it towards the weights of that moment.

    After n updates it is d times itself and 1 - d times the weights, with d = min(decay, (1 + n) / (10 + n)):
    early averages forget the beginning. Statistics of batch norm are averaged too, counters are copied.
    """
    return AveragedModel(model, avg_fn=functools.partial(_moved, decay), use_buffers=True)


def _moved(decay: float, average: torch.Tensor, weight: torch.Tensor, updates: torch.Tensor) -> torch.Tensor:
    if not average.is_floating_point():
        return weight
    n = int(updates)
    return torch.lerp(average, weight, 1 - min(decay, (1 + n) / (10 + n)))
