"""Distillation of global features (equation 4)."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from .registry import LOSS_REGISTRY, Iteration, needs


@LOSS_REGISTRY.register()
@needs("f_l", "f_h")
def basic(it: Iteration) -> torch.Tensor:
    """MSE(f_L, f_H): basic features (section III-B1). See :func:`global_feature_loss`."""
    return global_feature_loss(it.f_l, it.f_h)


@LOSS_REGISTRY.register()
@needs("f_a", "f_h")
def adaptive(it: Iteration) -> torch.Tensor:
    """MSE(f'_L, f_H) with f'_L = BFA(f_L): adaptive features (section III-C2)."""
    return global_feature_loss(it.f_a, it.f_h)


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
                f"level {level}: student {tuple(features.shape)}, teacher {tuple(teacher[level].shape)}"
            )
        losses.append(F.mse_loss(features, teacher[level]))
    return torch.stack(losses).mean()
