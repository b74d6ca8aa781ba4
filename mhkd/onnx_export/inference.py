"""A student's inference in plain tensors: what Detectron2 does between pixels and masks, as one graph."""

from typing import Any

import torch
from detectron2.layers import ROIAlign, shapes_to_tensor
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import (
    FastRCNNOutputLayers,
    MaskRCNNConvUpsampleHead,
    StandardROIHeads,
)
from torch import nn
from torch.nn import functional as F
from torchvision.ops import nms

from ..errors import InputError
from ..modeling import LowResolutionRCNN
from .enlarge import enlarge


class PlainInference(nn.Module):
    """:class:`mhkd.modeling.LowResolutionRCNN` for one image, without ``Instances``: bit for bit its result.

    Sizes, and the numbers of boxes that follow from them, are tensors while it is traced, so that the graph
    holds for images of any size.
    """

    def __init__(self, network: nn.Module, image_format: str) -> None:
        """
        Args:
            network: a ``LowResolutionRCNN`` in evaluation mode, on the CPU.
            image_format: "RGB" or "BGR", the network's channel order.

        Raises:
            InputError: a part of it is of another kind than those that are written down here.
        """
        super().__init__()
        check_parts(network)
        self.network: Any = network.eval()
        self.bgr = image_format == "BGR"
        limits: Any = self.network.limits  # as they were built
        self.most, self.pre_nms, self.post_nms = limits

    def forward(self, image: torch.Tensor, min_score: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """
        Args:
            image: (h, w, 3) uint8 RGB, LR pixels.
            min_score: (), detections have a higher score.

        Returns:
            Boxes (n, 4) XYXY in LR pixels, scores (n,) from the highest on, and int64 classes (n,); of a
            student with masks also (n, M, M), over each box the probabilities that a point is in the object.
        """
        network, factor = self.network, self.network.lr_factor
        size = shapes_to_tensor(image.shape[:2]) * factor  # height and width in HR pixels
        x = image.permute(2, 0, 1)
        x = enlarge(x.flip(0) if self.bgr else x, factor // network.backbone.input_factor)
        x = self._pad((x - network.pixel_mean) / network.pixel_std)
        features = network.backbone(x[None])
        proposals = self._proposals(features, size)
        boxes, scores, classes = self._detections(features, proposals, size, min_score)
        masks = [self._masks(features, boxes, classes)] if network.roi_heads.mask_on else []
        return boxes / factor, scores, classes, *masks

    def _pad(self, x: torch.Tensor) -> torch.Tensor:
        """At the right and at the bottom, to what the pyramid can halve."""
        backbone = self.network.backbone
        unit = backbone.size_divisibility // backbone.input_factor
        down, right = ((-n) % unit for n in x.shape[-2:]) if unit > 1 else (0, 0)
        return F.pad(x, [0, right, 0, down])

    def _limit(self, limit: int, size: torch.Tensor) -> torch.Tensor:
        """As ``LowResolutionRCNN`` has it: grows with the area of images larger than those trained on."""
        trained = self.network.trained_size_px**2
        if not trained:
            return torch.as_tensor(limit)
        area = torch.clamp(size[0] * size[1], min=trained)
        return (limit * area + trained - 1) // trained

    def _proposals(self, features: dict[str, torch.Tensor], size: torch.Tensor) -> torch.Tensor:
        """Boxes (m, 4) XYXY in HR pixels; ``RPN.forward`` and ``find_top_rpn_proposals``."""
        rpn = self.network.proposal_generator
        generator, transform = rpn.anchor_generator, rpn.box2box_transform
        logits, deltas = rpn.rpn_head([features[name] for name in rpn.in_features])
        boxes, scores, levels = [], [], []
        for k, (stride, cells) in enumerate(zip(generator.strides, generator.cell_anchors)):
            height, width = logits[k].shape[-2:]
            x, y = ((torch.arange(n) + generator.offset) * stride for n in (width, height))
            y, x = torch.meshgrid(y, x, indexing="ij")
            anchors = (torch.stack([x, y, x, y], dim=-1).reshape(-1, 4)[:, None] + cells).reshape(-1, 4)
            delta = deltas[k].reshape(-1, 4, height, width).permute(2, 3, 0, 1).reshape(-1, 4)
            score, best = _top(logits[k][0].permute(1, 2, 0).flatten(), self._limit(self.pre_nms, size))
            boxes.append(apply_deltas(transform, delta[best], anchors[best]))
            scores.append(score)
            levels.append(torch.full_like(best, k))
        box, score, level = torch.cat(boxes), torch.cat(scores), torch.cat(levels)
        finite = box.isfinite().all(1) & score.isfinite()
        box = clip(box, size)
        good = finite & ((box[:, 2:] - box[:, :2]) > rpn.min_box_size).all(1)
        box, score, level = box[good], score[good], level[good]
        kept = nms_of_each(box, score, level, len(boxes), rpn.nms_thresh)
        return box[kept[_top(score[kept], self._limit(self.post_nms, size))[1]]]

    def _detections(
        self, features: dict[str, torch.Tensor], proposals: torch.Tensor, size: torch.Tensor, min_score: Any
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Boxes in HR pixels, scores, classes; ``StandardROIHeads`` and ``fast_rcnn_inference``."""
        heads = self.network.roi_heads
        predictor = heads.box_predictor
        pooled = _pool(heads.box_pooler, [features[name] for name in heads.box_in_features], proposals)
        logits, deltas = predictor(heads.box_head(pooled))
        scores = F.softmax(logits, dim=-1)
        boxes = apply_deltas(predictor.box2box_transform, deltas, proposals)
        finite = boxes.isfinite().all(1) & scores.isfinite().all(1)
        scores = scores[:, :-1]
        found = ((scores > min_score) & finite[:, None]).nonzero()
        row, which = found[:, 0], found[:, 1]
        boxes = clip(boxes.reshape(-1, 4), size)
        per_row = predictor.bbox_pred.out_features // 4  # 1: all classes share their boxes
        box, score = boxes[row * per_row + (which if per_row > 1 else 0)], scores[row, which]
        kept = nms_of_each(box, score, which, predictor.num_classes, predictor.test_nms_thresh)
        if self.most >= 0:
            kept = kept[_top(score[kept], self._limit(self.most, size))[1]]
        return box[kept], score[kept], which[kept]

    def _masks(
        self, features: dict[str, torch.Tensor], boxes: torch.Tensor, classes: torch.Tensor
    ) -> torch.Tensor:
        """(n, M, M) of boxes in HR pixels; ``StandardROIHeads._forward_mask`` and ``mask_rcnn_inference``."""
        heads = self.network.roi_heads
        n = shapes_to_tensor(boxes.shape)[0]
        some = torch.cat([boxes, boxes.new_ones(1, 4)[n:]])  # not every layer of ONNX takes no box at all
        pooled = _pool(heads.mask_pooler, [features[name] for name in heads.mask_in_features], some)
        logits = heads.mask_head.layers(pooled)[:n]
        of_class = classes if logits.shape[1] > 1 else torch.zeros_like(classes)  # 1: that of all classes
        return logits[torch.arange(n), of_class].sigmoid()


def check_parts(network: Any) -> None:
    """Raises InputError where a part of the network is of a kind whose inference is not written down here."""
    rpn: Any = getattr(network, "proposal_generator", None)
    heads: Any = getattr(network, "roi_heads", None)
    _check("MODEL.META_ARCHITECTURE", network, LowResolutionRCNN)
    _check("MODEL.PROPOSAL_GENERATOR.NAME", rpn, RPN)
    _check("MODEL.ANCHOR_GENERATOR.NAME", rpn.anchor_generator, DefaultAnchorGenerator)
    _check("MODEL.ROI_HEADS.NAME", heads, StandardROIHeads)
    _check("the box predictor of MODEL.ROI_HEADS.NAME", heads.box_predictor, FastRCNNOutputLayers)
    _check_pooler("MODEL.ROI_BOX_HEAD.POOLER_TYPE", heads.box_pooler)
    if heads.mask_on:
        _check("MODEL.ROI_MASK_HEAD.NAME", heads.mask_head, MaskRCNNConvUpsampleHead)
        _check_pooler("MODEL.ROI_MASK_HEAD.POOLER_TYPE", heads.mask_pooler)


def _check(key: str, part: object, kind: type) -> None:
    if type(part) is not kind:
        raise InputError(f"{key}: a {type(part).__name__} cannot be exported to ONNX, a {kind.__name__} can")


def _check_pooler(key: str, pooler: Any) -> None:
    _check(key, pooler, ROIPooler)
    for pool in pooler.level_poolers:
        _check(key, pool, ROIAlign)


def _pool(pooler: Any, features: list[torch.Tensor], boxes: torch.Tensor) -> torch.Tensor:
    """(m, C, s, s): each box from its level; ``ROIPooler.forward``."""
    rois = torch.cat([torch.zeros_like(boxes[:, :1]), boxes], dim=1)
    if len(features) == 1:
        return pooler.level_poolers[0](features[0], rois)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    level = pooler.canonical_level + torch.log2(area.sqrt() / pooler.canonical_box_size + 1e-8)
    level = level.floor().clamp(pooler.min_level, pooler.max_level).to(torch.int64) - pooler.min_level
    order = [(level == k).nonzero()[:, 0] for k in range(len(features))]
    pooled = [pool(x, rois[here]) for pool, x, here in zip(pooler.level_poolers, features, order)]
    return torch.cat(pooled)[torch.cat(order).argsort()]


def apply_deltas(transform: Box2BoxTransform, deltas: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """``Box2BoxTransform.apply_deltas``, which is scripted and not traced: (m, 4 k) to the same shape."""
    sides = boxes[:, 2:] - boxes[:, :2]
    middles = boxes[:, :2] + 0.5 * sides
    moves = deltas.reshape(deltas.shape[0], -1, 4) / deltas.new_tensor(transform.weights)
    middles = moves[..., :2] * sides[:, None] + middles[:, None]
    sides = moves[..., 2:].clamp(max=transform.scale_clamp).exp() * sides[:, None]
    return torch.cat([middles - 0.5 * sides, middles + 0.5 * sides], dim=-1).reshape(deltas.shape)


def clip(boxes: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """(m, 4) XYXY into an image of ``size``, height and width."""
    return torch.minimum(boxes.clamp(min=0), size.flip(0).repeat(2).to(boxes.dtype))


def nms_of_each(
    boxes: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor, num_groups: int, threshold: float
) -> torch.Tensor:
    """Indices, rising, of what NMS leaves in each group, as ``torchvision.ops.batched_nms`` for many boxes
    has it; for few that moves the groups apart instead, at a loss of bits."""
    kept = torch.zeros_like(groups)
    for group in range(num_groups):
        here = (groups == group).nonzero()[:, 0]
        kept[here[nms(boxes[here], scores[here], threshold)]] = 1
    return kept.nonzero()[:, 0]


def _top(scores: torch.Tensor, most: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The highest scores, falling, and their indices; of equal ones the first comes first."""
    number = torch.minimum(shapes_to_tensor(scores.shape)[0], most)
    if torch.onnx.is_in_onnx_export():
        return scores.topk(number)  # type: ignore[arg-type]  # ONNX's keeps the order of equals, torch's does not
    values, order = scores.sort(descending=True, stable=True)
    return values[:number], order[:number]
