"""Distillation losses of the paper (equations 4 and 5)."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F


def global_feature_loss(
    student: Mapping[str, torch.Tensor], teacher: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """MSE between two feature pyramids: `basic` (equation 4) on f_L, `adaptive` on f'_L.

    The paper prints the difference without the square and calls it MSE: it is MSE. It has one map; here
    every FPN level counts the same, whatever its size.

    Args:
        student, teacher: level name -> Tensor of shape (N, C, H, W); the same levels and shapes.

    Returns:
        Scalar tensor, mean over elements, then over levels.
    """
    if student.keys() != teacher.keys():
        raise ValueError(f"feature levels differ: {list(student)} and {list(teacher)}")
    losses = []
    for level, features in student.items():
        if features.shape != teacher[level].shape:  # mse_loss would broadcast, with a mere warning
            raise ValueError(
                f"level {level}: student {tuple(features.shape)}, teacher "
                f"{tuple(teacher[level].shape)}"
            )
        losses.append(F.mse_loss(features, teacher[level]))
    return torch.stack(losses).mean()


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
