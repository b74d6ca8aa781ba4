"""Regions to be ignored, crowds and objects that a tile's edge cuts: what lies on one gets no label.

A box (anchor, proposal, query) lies on a region if half of its own area or more does (IoA), as in COCO's
scores; a point of FCOS or ATSS does if it is inside. What matches an object keeps its label.

The parts of a detector that label boxes are told the regions by :func:`ignoring`. Without any, they are what
they derive from, draw for draw.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import PROPOSAL_GENERATOR_REGISTRY, ROI_HEADS_REGISTRY
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.meta_arch import GeneralizedRCNN
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import CascadeROIHeads, Res5ROIHeads, StandardROIHeads
from detectron2.structures import Boxes, Instances, pairwise_ioa, pairwise_iou
from torch import nn

from ..errors import InputError

MIN_IOA = 0.5
NO_LOSS = -1e4  # a logit of a focal loss whose value and gradient are 0


class IgnoresRegions:
    """Mix-in of what labels boxes in training.

    Attributes:
        ignored: the regions of each image of the batch; empty where no image has any.
    """

    ignored: Sequence[Boxes] = ()


@contextlib.contextmanager
def ignoring(network: nn.Module, regions: Sequence[Boxes | None]) -> Iterator[None]:
    """Within it, ``network`` gives no label to what lies on a region.

    Args:
        regions: of each image of the batch, in pixels of what ``network`` sees; None as for no region.

    Raises:
        InputError: there are regions, and a part of ``network`` does not know what to do with them.
    """
    if not any(r is not None and len(r) for r in regions):
        yield
        return
    parts = _labelling_parts(network)
    unaware = [key for key, part in parts.items() if not isinstance(part, IgnoresRegions)]
    if unaware:
        raise InputError(
            f"{' and '.join(unaware)}: the training data has crowds or objects that are cut (iscrowd), and "
            f"{', '.join(type(parts[k]).__name__ for k in unaware)} would learn them as background: derive "
            "it from a class of mhkd.modeling.ignore, or take them out of the annotations"
        )
    none = Boxes(torch.zeros(0, 4))
    for part in parts.values():
        part.ignored = [none if r is None else r for r in regions]
    try:
        yield
    finally:
        for part in parts.values():
            del part.ignored


def boxes_on(boxes: Boxes, regions: Boxes) -> torch.Tensor:
    """Which ``boxes`` (N) lie on one of ``regions``: bool, shape (N,)."""
    if not len(regions):
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    return pairwise_ioa(regions.to(boxes.device), boxes).amax(0) >= MIN_IOA


def points_on(points: torch.Tensor, regions: Boxes) -> torch.Tensor:
    """Which ``points`` (N, 2), x and y, are inside one of ``regions``: bool, shape (N,)."""
    corners = regions.tensor.to(points.device)
    inside = (points[:, None] > corners[:, :2]) & (points[:, None] < corners[:, 2:])
    return inside.all(-1).any(-1)


def training_heads(cfg: CfgNode) -> CfgNode:
    """``cfg`` with the classes below in the place of Detectron2's, which they are outside training.

    An exported config keeps Detectron2's names.
    """
    cfg = cfg.clone()
    cfg.defrost()
    for node in (cfg.MODEL.PROPOSAL_GENERATOR, cfg.MODEL.ROI_HEADS):
        node.NAME = _TRAINED_AS.get(node.NAME, node.NAME)
    return cfg


@PROPOSAL_GENERATOR_REGISTRY.register()
class IgnoringRPN(IgnoresRegions, RPN):
    """``RPN`` whose negative anchors that lie on a region are not sampled."""

    def label_and_sample_anchors(self, anchors: list[Boxes], gt_instances: list[Instances]) -> Any:
        if self.ignored:
            everywhere = Boxes.cat(anchors)
            self._on_regions = iter([boxes_on(everywhere, r) for r in self.ignored])
        return super().label_and_sample_anchors(anchors, gt_instances)

    def _subsample_labels(self, label: torch.Tensor) -> torch.Tensor:
        """Called once an image, in their order."""
        if self.ignored:
            label[next(self._on_regions) & (label == 0)] = -1
        return super()._subsample_labels(label)


class IgnoringROIHeads(IgnoresRegions):
    """Mix-in of ``ROIHeads``: background proposals that lie on a region are left out before sampling."""

    proposal_matcher: Matcher

    def label_and_sample_proposals(self, proposals: list[Instances], targets: list[Instances]) -> Any:
        proposals = self._without_ignored(proposals, targets, self.proposal_matcher)
        return super().label_and_sample_proposals(proposals, targets)  # type: ignore[misc]  # of ROIHeads

    @torch.no_grad()
    def _without_ignored(
        self, proposals: list[Instances], targets: list[Instances], matcher: Matcher
    ) -> list[Instances]:
        if not self.ignored:
            return proposals
        left = []
        for found, truth, regions in zip(proposals, targets, self.ignored):
            _, labels = matcher(pairwise_iou(truth.gt_boxes, found.proposal_boxes))
            left.append(found[(labels != 0) | ~boxes_on(found.proposal_boxes, regions)])
        return left


@ROI_HEADS_REGISTRY.register()
class IgnoringStandardROIHeads(IgnoringROIHeads, StandardROIHeads):
    """``StandardROIHeads`` with :class:`IgnoringROIHeads`."""


@ROI_HEADS_REGISTRY.register()
class IgnoringRes5ROIHeads(IgnoringROIHeads, Res5ROIHeads):
    """``Res5ROIHeads`` with :class:`IgnoringROIHeads`."""


@ROI_HEADS_REGISTRY.register()
class IgnoringCascadeROIHeads(IgnoringROIHeads, CascadeROIHeads):
    """``CascadeROIHeads`` with :class:`IgnoringROIHeads`, in each of its stages."""

    def _match_and_label_boxes(self, proposals: list[Instances], stage: int, targets: list[Instances]) -> Any:
        proposals = self._without_ignored(proposals, targets, self.proposal_matchers[stage])
        return super()._match_and_label_boxes(proposals, stage, targets)


_TRAINED_AS = {
    "RPN": "IgnoringRPN",
    **{name: f"Ignoring{name}" for name in ("StandardROIHeads", "Res5ROIHeads", "CascadeROIHeads")},
}


def _labelling_parts(network: nn.Module) -> dict[str, Any]:
    """The parts of ``network`` that label boxes, by the key that chooses them."""
    if isinstance(network, GeneralizedRCNN):
        heads = {"MODEL.PROPOSAL_GENERATOR.NAME": network.proposal_generator}
        return heads | {"MODEL.ROI_HEADS.NAME": network.roi_heads}
    return {"MODEL.TEACHER.META_ARCHITECTURE": network}
