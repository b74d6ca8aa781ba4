"""FCOS (Tian et al. 2019): Detectron2's own, with a config and a checkpoint that is complete."""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, build_backbone
from detectron2.modeling.backbone.fpn import FPN, LastLevelP6P7
from detectron2.modeling.backbone.resnet import build_resnet_backbone
from detectron2.modeling.meta_arch.fcos import FCOS, FCOSHead
from detectron2.structures import Boxes, Instances
from torch import nn

from .ignore import NO_LOSS, IgnoresRegions, points_on


@BACKBONE_REGISTRY.register()
def build_resnet_fpn_p6p7_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> FPN:
    """ResNet-FPN with p6 and p7 made from p5, as FCOS and ATSS want it (RetinaNet's are made from res5)."""
    channels = cfg.MODEL.FPN.OUT_CHANNELS
    return FPN(
        bottom_up=build_resnet_backbone(cfg, input_shape),
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=channels,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelP6P7(channels, channels, "p5"),
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )


@META_ARCH_REGISTRY.register()
class FCOSDetector(IgnoresRegions, FCOS):
    """Detectron2's ``FCOS``, which it neither registers nor gives a config.

    Points inside a region to be ignored that match no object have no loss.

    Takes MODEL.RETINANET (NUM_CONVS, PRIOR_PROB, FOCAL_LOSS_*, NMS_THRESH_TEST, TOPK_CANDIDATES_TEST),
    and MODEL.ROI_HEADS.NUM_CLASSES and SCORE_THRESH_TEST as every detector here does.
    """

    # The first distances to a box's sides, in strides. Detectron2 starts at 0 and cuts negative ones off;
    # such a side has no gradient and may stay so for good.
    initial_box_bias = 1.0

    @configurable
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        # A mean over iterations, which a resumed training must not start anew.
        self.register_buffer("loss_normalizer", torch.tensor(100.0))

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        backbone = build_backbone(cfg)
        retinanet, num_classes = cfg.MODEL.RETINANET, cfg.MODEL.ROI_HEADS.NUM_CLASSES
        shapes = sorted(backbone.output_shape().values(), key=lambda s: s.stride)
        head = FCOSHead(
            input_shape=shapes,
            num_classes=num_classes,
            conv_dims=[shapes[0].channels] * retinanet.NUM_CONVS,
            norm=_group_norm,
            prior_prob=retinanet.PRIOR_PROB,
        )
        nn.init.constant_(head.bbox_pred.bias, cls.initial_box_bias)
        return {
            "backbone": backbone,
            "head": head,
            "num_classes": num_classes,
            "focal_loss_alpha": retinanet.FOCAL_LOSS_ALPHA,
            "focal_loss_gamma": retinanet.FOCAL_LOSS_GAMMA,
            "test_score_thresh": cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST,
            "test_topk_candidates": retinanet.TOPK_CANDIDATES_TEST,
            "test_nms_thresh": retinanet.NMS_THRESH_TEST,
            "max_detections_per_image": cfg.TEST.DETECTIONS_PER_IMAGE,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
        }

    @torch.no_grad()
    def label_anchors(
        self, anchors: list[Boxes], gt_instances: list[Instances]
    ) -> tuple[list[torch.Tensor], list[Boxes]]:
        """As in Detectron2, where an image without ground truth fails.

        Returns:
            labels, one (R,) tensor an image with ``num_classes`` for background and -1 for none; boxes, one
            ``Boxes`` an image with R rows, of any value for background.
        """
        labels, boxes = [], []
        everywhere = Boxes.cat(anchors)
        for targets in gt_instances:
            if not len(targets):
                labels.append(targets.gt_classes.new_full((len(everywhere),), self.num_classes))
                boxes.append(everywhere)
                continue
            (index,) = self.match_anchors(anchors, [targets])
            label = targets.gt_classes[index.clip(min=0)]
            label[index < 0] = self.num_classes
            labels.append(label)
            boxes.append(targets.gt_boxes[index.clip(min=0)])
        for label, regions in zip(labels, self.ignored):
            label[(label == self.num_classes) & points_on(everywhere.get_centers(), regions)] = -1
        return labels, boxes

    def losses(
        self,
        anchors: list[Boxes],
        pred_logits: list[torch.Tensor],
        gt_labels: list[torch.Tensor],
        pred_anchor_deltas: list[torch.Tensor],
        gt_boxes: list[Boxes],
        pred_centerness: list[torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """As in Detectron2, of the points that have a label."""
        pred_logits, gt_labels = self.of_labelled(pred_logits, gt_labels)
        return super().losses(anchors, pred_logits, gt_labels, pred_anchor_deltas, gt_boxes, pred_centerness)

    def of_labelled(
        self, pred_logits: list[torch.Tensor], gt_labels: list[torch.Tensor]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Both with points of label -1 as background that is certain, which costs nothing.

        Args:
            pred_logits: of each level (N, cells, classes).
            gt_labels: of each image (R,).
        """
        if not self.ignored:
            return pred_logits, gt_labels
        left_out = (torch.stack(gt_labels) < 0).split([x.shape[1] for x in pred_logits], 1)
        pred_logits = [x.masked_fill(m[..., None], NO_LOSS) for x, m in zip(pred_logits, left_out)]
        return pred_logits, [torch.where(x < 0, self.num_classes, x) for x in gt_labels]

    def _ema_update(self, name: str, value: float, initial_value: float, momentum: float = 0.9) -> float:
        normalizer = getattr(self, name)
        normalizer.mul_(momentum).add_(value * (1 - momentum))
        return normalizer.item()


def _group_norm(channels: int) -> nn.GroupNorm:
    """Groups of at least four channels: p7 of a small image is one cell, and one number has no variance.

    Detectron2 also builds one of a single channel, to see what kind it is.
    """
    return nn.GroupNorm(min(32, max(1, channels // 4)), channels)
