"""Which losses there are, what each asks of an iteration, and what an iteration hands to them."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.registry import Registry

from ..errors import InputError

Features = Mapping[str, torch.Tensor]
Loss = Callable[[Any], torch.Tensor | dict[str, torch.Tensor]]  # of what the task's networks compute

# A loss is a function of what an iteration has computed (an Iteration, a ClassifierIteration) that gives a
# scalar, logged as "loss_<name>", or a dict of scalars, logged by their own names. They are summed in the
# order in which they are registered.
LOSS_REGISTRY = Registry("LOSS")

# What a loss may need: an iteration computes no more than the losses of its step ask for. A task's networks
# compute some of it.
OF_DETECTOR = ("detections", "f_h", "f_l", "f_a", "pooled", "mask_pooled", "o_t", "truth")
OF_CLASSIFIER = ("labels", "conv_h", "conv_l", "adapted_l", "logits_h", "logits_l")
NEEDS = (*OF_DETECTOR, *OF_CLASSIFIER)
OF_TEACHER = frozenset({"f_h", "pooled", "mask_pooled", "o_t", "conv_h", "logits_h"})


class Iteration:
    """What one iteration of training a detector has computed, in the paper's notation; what no loss needs is
    not there.

    Shape shorthand:
        N, C: images, feature channels
        H, W: size of the padded HR image
        s: stride of a level
        R: proposals of all images that the student's ROI heads sampled
        S: the pooler's resolution

    Attributes:
        images_h, images_l: what teacher and student see; ImageList of (N, 3, H, W).
        f_h: the teacher's features at the levels that the student has; level -> (N, C, H / s, W / s).
        f_l: the student's, without BFA; level -> (N, C, H / s, W / s). Where the student has fewer channels
            than the teacher, a 1 x 1 convolution has brought them to C, as those of f_a and pooled_l.
        f_a: f'_L, the student's adapted features; level -> (N, C, H / s, W / s).
        o_t: O_T, the teacher's detections in the form of ground truth, an Instances an image.
        truth: the objects of each image, an Instances with ``gt_boxes`` and ``gt_classes``, where
            MODEL.MASK_ON with ``gt_masks``: its annotations, or the teacher's detections where it has none
            or the step uses none.
        ignored: regions of each image that are neither objects nor background, None where there are none.
        detections: the student's detection losses on the ground truth; name -> scalar.
        boxes: P_L, coordinates of the proposals, detached, a Boxes an image.
        pooled_l: the student's features at them; (R, C, S, S).
        pool_h: the teacher's ROIAlign: boxes -> (R, C, S, S).
        mask_pooled_l, mask_pooled_h: what the mask heads of student and teacher pool at those of these
            proposals that lie on an object; (R, C, S, S) with the mask pooler's resolution.
        detect_on: the student's detection losses on other targets: Instances of each image -> name -> scalar.
    """

    images_h: ImageList
    images_l: ImageList
    f_h: Features
    f_l: Features
    f_a: Features
    o_t: list[Instances]
    truth: list[Instances]
    ignored: list[Boxes | None]
    detections: dict[str, torch.Tensor]
    boxes: list[Boxes]
    pooled_l: torch.Tensor
    pool_h: Callable[[list[Boxes]], torch.Tensor]
    mask_pooled_l: torch.Tensor
    mask_pooled_h: torch.Tensor
    detect_on: Callable[[list[Instances]], dict[str, torch.Tensor]]

    @cached_property
    def pooled_h(self) -> torch.Tensor:
        """The teacher's features at the student's coordinates; (R, C, S, S)."""
        return self.pool_h(self.boxes)


def needs(*names: str) -> Callable[[Loss], Loss]:
    """Declare what a loss reads of an iteration: any of :data:`NEEDS`.

    Raises:
        ValueError: there is no such thing.
    """
    unknown = set(names) - set(NEEDS)
    if unknown:
        raise ValueError(f"a loss may need {', '.join(NEEDS)}, not {', '.join(sorted(unknown))}")

    def declare(loss: Loss) -> Loss:
        loss.needs = frozenset(names)  # type: ignore[attr-defined]  # a function or a class
        return loss

    return declare


def needs_of(name: str) -> frozenset[str]:
    """What the loss of this name needs.

    Raises:
        InputError: there is no such loss.
    """
    if name not in LOSS_REGISTRY:
        known = ", ".join(known for known, _ in LOSS_REGISTRY)
        raise InputError(f"unknown loss {name!r}: choose of {known}, or name your own's file with --with")
    return getattr(LOSS_REGISTRY.get(name), "needs", frozenset())
