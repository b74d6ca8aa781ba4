"""Distillation losses of the paper (equations 4 and 5)."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn


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


def standardized_feature_loss(
    student: Mapping[str, torch.Tensor], teacher: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """One minus the correlation of each channel, mean over channels and levels (PKD, Cao et al. 2022).

    Half the MSE of features that are standardised over images and positions: their scale, which differs
    between resolutions, does not count.
    """

    def standardize(x):
        x = x - x.mean((0, 2, 3), keepdim=True)
        return x / (x.square().mean((0, 2, 3), keepdim=True).sqrt() + 1e-6)

    losses = [F.mse_loss(standardize(student[k]), standardize(teacher[k])) for k in teacher]
    return torch.stack(losses).mean() / 2


def saliency(logits: torch.Tensor, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Grad-CAM of the objects' scores with strictly positive weights of the channels, normalised: AT+.

    Args:
        logits: (R, K + 1) of a box predictor, the background last, computed from ``features``.

    Returns:
        The maps of all levels one after the other; each level's has norm 1 for each image.
    """
    score = (logits[:, :-1] - logits[:, -1:]).max(1).values.sigmoid().sum()
    gradients = torch.autograd.grad(score, list(features.values()), retain_graph=True, allow_unused=True)
    maps = []
    for x, g in zip(features.values(), gradients):
        if g is not None:  # a level whose features no proposal was pooled from
            weights = g.mean((2, 3), keepdim=True).clamp(min=0)
            maps.append(F.normalize((weights * x).sum(1).clamp(min=0).flatten(1)).flatten())
        else:
            maps.append(x.new_zeros(x[:, 0].numel()))
    return torch.cat(maps)


class MaskedGeneration(nn.Module):
    """Half of the student's positions are blanked out; what is left must generate the teacher's features
    (MGD, Yang et al. 2022). One generator a level."""

    def __init__(self, levels: list[str], channels: int, masked_share: float = 0.5):
        super().__init__()
        self.masked_share = masked_share
        self.generators = nn.ModuleDict(
            {
                k: nn.Sequential(
                    nn.Conv2d(channels, channels, 3, padding=1),
                    nn.ReLU(),
                    nn.Conv2d(channels, channels, 3, padding=1),
                )
                for k in levels
            }
        )

    def forward(self, student, teacher) -> torch.Tensor:
        generated = {}
        for k, x in student.items():
            kept = torch.rand_like(x[:, :1]) >= self.masked_share
            generated[k] = self.generators[k](x * kept)
        return global_feature_loss(generated, teacher)


def foreground_feature_loss(student, teacher, boxes: list[torch.Tensor], image_size) -> torch.Tensor:
    """MSE where objects are plus MSE where none is, each its own mean, halved (after FGD, Yang et al. 2022).

    Args:
        boxes: of each image, (M, 4) XYXY in pixels of an image of ``image_size`` (height, width).
    """
    losses = []
    for level, features in student.items():
        n, _, h, w = features.shape
        y = (torch.arange(h, device=features.device) + 0.5) * image_size[0] / h
        x = (torch.arange(w, device=features.device) + 0.5) * image_size[1] / w
        inside = torch.zeros(n, h, w, dtype=torch.bool, device=features.device)
        for k, b in enumerate(boxes):
            x0, y0, x1, y1 = b[:, None, None, :].unbind(-1)
            hit = (x[None, None] >= x0) & (x[None, None] < x1)
            hit = hit & (y[None, :, None] >= y0) & (y[None, :, None] < y1)
            inside[k] = hit.any(0) if len(b) else False
        error = (features - teacher[level]).square().mean(1)
        losses += [error[mask].mean() for mask in (inside, ~inside) if mask.any()]
    return torch.stack(losses).mean()


def soft_output_loss(student, teacher, temperature: float = 2.0) -> torch.Tensor:
    """Softened classes and boxes of the same proposals (Chen et al. 2017).

    Args:
        student, teacher: (logits (R, K + 1), deltas (R, 4 K)) of a box predictor.
    """
    (logits_s, deltas_s), (logits_t, deltas_t) = student, teacher
    soft = F.softmax(logits_t / temperature, 1)
    classes = F.kl_div(F.log_softmax(logits_s / temperature, 1), soft, reduction="batchmean")
    objects = F.softmax(logits_t, 1)[:, :-1].repeat_interleave(4, 1)
    boxes = (objects * F.smooth_l1_loss(deltas_s, deltas_t, reduction="none")).sum(1).mean()
    return classes * temperature**2 + boxes
