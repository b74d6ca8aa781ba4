"""Distillation of the teacher's output (section III-B2)."""

import torch

from .registry import LOSS_REGISTRY, Iteration, needs


@LOSS_REGISTRY.register()
@needs("o_t")
def output(it: Iteration) -> dict[str, torch.Tensor]:
    """The student's RPN and ROI losses with O_T, the teacher's detections (and masks), as ground truth."""
    return {f"output/{name}": value for name, value in it.detect_on(it.o_t).items()}
