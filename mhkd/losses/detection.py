"""The ordinary detection losses (equation 1)."""

import torch

from .registry import LOSS_REGISTRY, Iteration, needs


@LOSS_REGISTRY.register()
@needs("detections")
def detect(it: Iteration) -> dict[str, torch.Tensor]:
    """L_cls + L_reg of RPN and ROI heads on the ground truth, the student's; with MODEL.MASK_ON L_mask too.

    Where any part of the teacher trains (online distillation) its own join them, with the same weight.
    """
    return {f"student/{name}": value for name, value in it.detections.items()}
