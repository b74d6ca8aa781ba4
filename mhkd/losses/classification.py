"""A classifier's: DiPalma et al. (2021; soft and pixel-wise) and del Amor et al. (features and attention)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from .registry import LOSS_REGISTRY, needs


class ClassifierIteration:
    """What one iteration of training a classifier has computed; what no loss needs is not there.

    Shape shorthand:
        N, K: images, classes
        H, W: size of the teacher's last map
        h, w: size of the student's last map
        C, c: channels of the teacher's and of the student's last map
        M: maps of attention an image, 1 or K

    Attributes:
        labels: int64 (N,); where there is no label, or the step uses none, the teacher's most probable class.
        conv_h: the teacher's last map, F_conv^t; (N, C, H, W).
        conv_l: the student's, F_conv^s; (N, c, h, w).
        adapted_l: the student's with as many channels as the teacher's; (N, C, h, w).
        logits_h, logits_l: F_fc^t and F_fc^s; (N, K).
        weights_h, weights_l: gradient of the logits that attention is asked for with respect to the mean of
            each channel; (N, M, C) and (N, M, c).
        temperature: T of the soft loss.
        normalized: whether maps of attention are divided by their norm.
    """

    labels: torch.Tensor
    conv_h: torch.Tensor
    conv_l: torch.Tensor
    adapted_l: torch.Tensor
    logits_h: torch.Tensor
    logits_l: torch.Tensor
    weights_h: torch.Tensor
    weights_l: torch.Tensor
    temperature: float
    normalized: bool


@LOSS_REGISTRY.register()
@needs("logits_l", "labels")
def cross_entropy(it: ClassifierIteration) -> torch.Tensor:
    """The student's, on the labels; mean over images."""
    return F.cross_entropy(it.logits_l, it.labels)


@LOSS_REGISTRY.register()
@needs("logits_l", "logits_h")
def soft(it: ClassifierIteration) -> torch.Tensor:
    """KL(teacher || student) of the classes at temperature T, times T^2 (DiPalma et al., equation 2).

    Mean over images. The paper prints no T: MHKD.TEMPERATURE.
    """
    t = it.temperature
    student, teacher = (x.div(t).log_softmax(1) for x in (it.logits_l, it.logits_h))
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * t**2


@LOSS_REGISTRY.register()
@needs("adapted_l", "conv_h")
def pixel_wise_maxpool(it: ClassifierIteration) -> torch.Tensor:
    """MSE of the last maps, the teacher's brought to the student's size by max-pooling: g_1 of equation 3.

    Mean over elements, where the paper prints the squared norm.
    """
    return F.mse_loss(it.adapted_l, F.adaptive_max_pool2d(it.conv_h, it.adapted_l.shape[-2:]))


@LOSS_REGISTRY.register()
@needs("adapted_l", "conv_h")
def pixel_wise_bicubic(it: ClassifierIteration) -> torch.Tensor:
    """The same by bicubic interpolation: g_2 of equation 3."""
    return F.mse_loss(it.adapted_l, _resized(it.conv_h, it.adapted_l, "bicubic"))


@LOSS_REGISTRY.register()
@needs("adapted_l", "conv_h")
def feature_matching(it: ClassifierIteration) -> torch.Tensor:
    """MSE of the last maps, the teacher's reduced to the student's size by area (del Amor et al., FM).

    Their code enlarges the student's input to the teacher's size instead, which saves no computation.
    """
    return F.mse_loss(it.adapted_l, _resized(it.conv_h, it.adapted_l, "area"))


@LOSS_REGISTRY.register()
@needs("conv_l", "conv_h", "labels")
def attention(it: ClassifierIteration) -> torch.Tensor:
    """l2 distance of Grad-CAMs (del Amor et al., AT). See :func:`attention_distance`."""
    return attention_distance(it, grad_cam)


@LOSS_REGISTRY.register()
@needs("conv_l", "conv_h", "labels")
def attention_plus(it: ClassifierIteration) -> torch.Tensor:
    """The same of Grad-CAMs whose gradient weights are strictly positive (del Amor et al., AT+)."""
    return attention_distance(it, lambda conv, weights: grad_cam(conv, weights.relu()))


def grad_cam(conv: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Grad-CAM, ReLU of the channels' weighted sum, without the factor 1 / (h w).

    Grad-CAM weighs a channel by the mean gradient of the logit over its map. Behind global average pooling
    each element's gradient is that with respect to the channel's mean divided by h w, and maps of two sizes
    could not be compared: the factor is left out.

    Args:
        conv: (N, C, h, w).
        weights: gradient with respect to the means of the channels; (N, M, C).

    Returns:
        (N, M, h, w), at least 0.
    """
    return torch.einsum("nmc,nchw->nmhw", weights, conv).relu()


def attention_distance(
    it: ClassifierIteration, cam: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """||A_L - A_H||, the teacher's maps reduced to the student's size by area; mean over images and maps.

    With ``it.normalized`` each map is divided by its l2 norm first; else maps are compared as they come.
    """
    student = cam(it.conv_l, it.weights_l)
    teacher = _resized(cam(it.conv_h, it.weights_h), student, "area")
    maps = [x.flatten(2) for x in (student, teacher)]
    if it.normalized:
        maps = [F.normalize(x, dim=2) for x in maps]
    return torch.linalg.vector_norm(maps[0] - maps[1], dim=2).mean()


def _resized(maps: torch.Tensor, like: torch.Tensor, mode: str) -> torch.Tensor:
    return F.interpolate(maps, like.shape[-2:], mode=mode)
