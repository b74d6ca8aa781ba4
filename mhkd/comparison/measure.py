"""What a network costs: parameters, FLOPs, and the time of an image beside that of others."""

import logging
import time

import numpy as np
import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn

logger = logging.getLogger(__name__)


def count_parameters(network: nn.Module) -> int:
    """Of the network that is deployed, whatever trains."""
    return sum(p.numel() for p in network.parameters())


def count_flops(network: nn.Module, image: dict) -> int | None:
    """Multiply-adds of one image, as fvcore counts them; what it does not know costs nothing.

    Args:
        image: one of Detectron2's batched inputs.

    Returns:
        None, with a warning, for a network that cannot be traced: no table of long trainings ends there.
    """
    analysis = FlopCountAnalysis(_Tensors(network.eval(), image), (image["image"],))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    try:
        with torch.no_grad():
            return int(analysis.total())
    except Exception as e:  # whatever torch.jit.trace raises
        logger.warning("FLOPs of %s cannot be counted: %s", type(network).__name__, e)
        return None


@torch.no_grad()
def time_images(networks: dict[str, nn.Module], images: dict[str, list[dict]]) -> dict[str, list[float]]:
    """Seconds of each image, the networks taking turns, so that a busy machine slows all alike.

    Args:
        images: of each network Detectron2's batched inputs, one at a time, all of the same tissue; the first
            also warms up.
    """
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for k, turn in enumerate([0, *range(len(next(iter(images.values()))))]):
        for name, network in networks.items():
            start = _now(network)
            network([images[name][turn]])
            if k:
                seconds[name].append(_now(network) - start)
    return seconds


def time_ratio(seconds: list[float], reference: list[float]) -> float:
    """Median over images of one network's time relative to another's."""
    return float(np.median(np.divide(seconds, reference)))


class _Tensors(nn.Module):
    """A network with tensors in and out, which is what can be traced."""

    def __init__(self, network: nn.Module, image: dict):
        super().__init__()
        self.network = network
        self.size = {k: image[k] for k in ("height", "width")}

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self.network([{"image": image, **self.size}])[0]
        if "instances" in found:
            found = {"boxes": found["instances"].pred_boxes.tensor, "scores": found["instances"].scores}
        return tuple(value for value in found.values() if isinstance(value, torch.Tensor))


def _now(network: nn.Module) -> float:
    if next(network.parameters()).is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()
