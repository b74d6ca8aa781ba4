"""ATSS (Zhang et al. 2020): positives by each object's own IoU threshold, on FCOS's head."""

from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.structures import Boxes, Instances, pairwise_iou
from fvcore.nn import giou_loss, sigmoid_focal_loss_jit

from .fcos import FCOSDetector

BOX_LOSS_WEIGHT = 2.0


@META_ARCH_REGISTRY.register()
class ATSSDetector(FCOSDetector):
    """Adaptive Training Sample Selection; config as :class:`FCOSDetector`.

    Shape shorthand: R: anchors of all levels, one a cell; M: objects; P: positives of the batch.
    """

    initial_box_bias = 0.0  # its boxes are offsets from anchors

    @configurable
    def __init__(self, *, top_k: int = 9, anchor_scale: float = 8, **arguments: Any) -> None:
        """
        Args:
            top_k: candidates an object takes from each level, those with the nearest centres.
            anchor_scale: side of the one square anchor of a cell, in strides.
        """
        super().__init__(**arguments, box2box_transform=Box2BoxTransform((10, 10, 5, 5)))
        self.top_k = top_k
        strides = [self.backbone.output_shape()[k].stride for k in self.head_in_features]
        self.anchor_generator = DefaultAnchorGenerator(
            sizes=[[anchor_scale * s] for s in strides], aspect_ratios=[1.0], strides=strides
        )

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        return super().from_config(cfg)

    @torch.no_grad()
    def match_anchors(self, anchors: list[Boxes], gt_instances: list[Instances]) -> list[torch.Tensor]:
        """The object of every anchor, -1 for none; one (R,) tensor an image, of at least one object."""
        sizes = [len(a) for a in anchors]
        everywhere = Boxes.cat(anchors)
        centers = everywhere.get_centers()
        matched = []
        for targets in gt_instances:
            boxes = targets.gt_boxes
            iou = pairwise_iou(everywhere, boxes)  # (R, M)
            distance = torch.cdist(centers, boxes.get_centers())
            of_levels, start = [], 0
            for size in sizes:
                level = distance[start : start + size]
                of_levels.append(level.topk(min(self.top_k, size), dim=0, largest=False).indices + start)
                start += size
            nearest = torch.cat(of_levels)  # (candidates, M)
            candidates = torch.zeros_like(iou, dtype=torch.bool).scatter_(0, nearest, True)
            of_candidates = iou.gather(0, nearest)
            threshold = of_candidates.mean(0) + of_candidates.std(0)
            inside = (centers[:, None] > boxes.tensor[:, :2]) & (centers[:, None] < boxes.tensor[:, 2:])
            positive = candidates & (iou >= threshold) & inside.all(-1)
            best, index = iou.masked_fill(~positive, -1).max(1)  # of several objects, the closest fit
            matched.append(torch.where(best >= 0, index, -1))
        return matched

    def losses(
        self,
        anchors: list[Boxes],
        pred_logits: list[torch.Tensor],
        gt_labels: list[torch.Tensor],
        pred_anchor_deltas: list[torch.Tensor],
        gt_boxes: list[Boxes],
        pred_centerness: list[torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """Focal loss, GIoU weighted by centreness, and centreness; arguments as in ``FCOS.losses``."""
        pred_logits, gt_labels = self.of_labelled(pred_logits, gt_labels)
        labels = torch.stack(gt_labels)  # (N, R)
        positive = labels != self.num_classes
        count = self._ema_update("loss_normalizer", max(int(positive.sum()), 1), 0)
        logits = torch.cat(pred_logits, 1)
        classes = F.one_hot(labels, self.num_classes + 1)[..., :-1].to(logits.dtype)
        loss_cls = sigmoid_focal_loss_jit(
            logits, classes, alpha=self.focal_loss_alpha, gamma=self.focal_loss_gamma, reduction="sum"
        )
        places = Boxes.cat(anchors).tensor.expand(*labels.shape, 4)[positive]  # (P, 4)
        boxes = torch.stack([b.tensor for b in gt_boxes])[positive]
        target = centerness(places, boxes)
        predicted = self.box2box_transform.apply_deltas(torch.cat(pred_anchor_deltas, 1)[positive], places)
        loss_box = (giou_loss(predicted, boxes) * target).sum() / target.sum().clamp(min=1e-6)
        logit = torch.cat(pred_centerness, 1).squeeze(2)[positive]
        loss_centerness = F.binary_cross_entropy_with_logits(logit, target, reduction="sum")
        return {
            "loss_atss_cls": loss_cls / count,
            "loss_atss_loc": BOX_LOSS_WEIGHT * loss_box,
            "loss_atss_ctr": loss_centerness / count,
        }


def centerness(anchors: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """How central the anchors' centres lie in their boxes, 0 at an edge and 1 in the middle.

    Args:
        anchors, boxes: shape (P, 4), XYXY.

    Returns:
        Shape (P,).
    """
    center = (anchors[:, :2] + anchors[:, 2:]) / 2
    before, behind = center - boxes[:, :2], boxes[:, 2:] - center
    ratio = torch.minimum(before, behind) / torch.maximum(before, behind)
    return ratio.prod(1).clamp(min=0).sqrt()
