"""Distillation of local features (equation 5)."""

import torch
import torch.nn.functional as F

from .registry import LOSS_REGISTRY, Iteration, needs


@LOSS_REGISTRY.register()
@needs("pooled", "f_h")
def local(it: Iteration) -> torch.Tensor:
    """MSE(ROIAlign(f'_L, P_L), ROIAlign(f_H, P_L)): pooled at the student's proposals (section III-B2)."""
    return local_feature_loss(it.pooled_l, it.pooled_h)


@LOSS_REGISTRY.register()
@needs("mask_pooled", "f_h")
def local_mask(it: Iteration) -> torch.Tensor:
    """`local` of what the mask heads pool, at proposals on objects; not the paper's. For MODEL.MASK_ON."""
    return local_feature_loss(it.mask_pooled_l, it.mask_pooled_h)


def local_feature_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """MSE between ROI features that were pooled at the same boxes (equation 5).

    Args:
        student, teacher: shape (R, C, S, S), one row a proposal of the student.

    Returns:
        Scalar tensor, mean over all elements; 0, still differentiable, without proposals.
    """
    if student.shape != teacher.shape:
        raise ValueError(f"student {tuple(student.shape)}, teacher {tuple(teacher.shape)}")
    if len(student) == 0:
        return (student.sum() + teacher.sum()) * 0.0
    return F.mse_loss(student, teacher)
