"""A detector averaged over an image's four flips, for scores and slides (TEST.AUG)."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.modeling.meta_arch import GeneralizedRCNN
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import CascadeROIHeads, StandardROIHeads
from detectron2.modeling.roi_heads.fast_rcnn import fast_rcnn_inference
from detectron2.structures import Boxes, Instances
from torch import nn
from torchvision.ops import nms

from ..errors import InputError
from .low_resolution import LowResolutionRCNN, resized

Flip = tuple[bool, bool]  # left to right, upside down
Seen = tuple[Flip, dict[str, torch.Tensor], list[Instances]]  # features and proposals of a flip
FLIPS: tuple[Flip, ...] = ((False, False), (True, False), (False, True), (True, True))


class FlipAveraged(nn.Module):
    """Takes the inputs of ``network`` and gives outputs in the same form.

    The proposals of all flips, laid over each other, go through the heads of each; what these say of a
    proposal, class probabilities and boxes, is averaged before detections are chosen; then what the mask
    heads say of these. So what is found does not depend on how the image lies. About four times the work.
    """

    def __init__(self, network: GeneralizedRCNN) -> None:
        """Raises InputError for a detector without an RPN and one box head."""
        super().__init__()
        parts = (getattr(network, name, None) for name in ("proposal_generator", "roi_heads"))
        rpn, heads = parts
        if not isinstance(rpn, RPN) or not isinstance(heads, StandardROIHeads):
            raise InputError(f"TEST.AUG.ENABLED: {type(network).__name__} has no RPN and box head to average")
        if isinstance(heads, CascadeROIHeads):
            raise InputError("TEST.AUG.ENABLED: a cascade has several box heads, and one can be averaged")
        self.network = network

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """
        Args:
            batched_inputs: as ``network`` wants them.
        """
        return self.inference(batched_inputs)

    @torch.no_grad()
    def inference(self, batched_inputs: list[dict[str, Any]], do_postprocess: bool = True) -> list[Any]:
        """As ``network.inference``: with ``do_postprocess`` False ``Instances`` in the pixels of its boxes,
        masks (n, 1, M, M) being probabilities over each box."""
        if not batched_inputs:
            return []
        network = self.network
        sizes = [tuple(x["image"].shape[-2:]) for x in batched_inputs]
        if len(set(sizes)) > 1:
            return [found for x in batched_inputs for found in self.inference([x], do_postprocess)]
        of_lr = isinstance(network, LowResolutionRCNN)
        if of_lr:
            network.set_limits(*sizes[0])
        found = self._find(batched_inputs)
        if not do_postprocess:
            if not of_lr:
                return found
            boxes = [x.pred_boxes.tensor / network.lr_factor for x in found]
            return [resized(*of_image) for of_image in zip(found, sizes, boxes)]
        default = sizes if of_lr else [x.image_size for x in found]
        return GeneralizedRCNN._postprocess(found, batched_inputs, default)

    def _find(self, inputs: list[dict[str, Any]]) -> list[Instances]:
        """Detections of each image in the pixels that its boxes are in before they are scaled."""
        network, heads = self.network, self.network.roi_heads
        seen: list[Seen] = []
        for flip in FLIPS:
            images = network.preprocess_image([_flipped(x, flip) for x in inputs])
            features = network.backbone(images.tensor)
            seen.append((flip, features, network.proposal_generator(images, features, None)[0]))
        sizes = images.image_sizes
        proposals = [
            self._joined([(flip, of_flip[k]) for flip, _, of_flip in seen], size)
            for k, size in enumerate(sizes)
        ]
        boxes: list[torch.Tensor] = []
        scores: list[torch.Tensor] = []
        for flip, features, _ in seen:
            mirrored = [_mirrored(x, size, flip) for x, size in zip(proposals, sizes)]
            pooled = heads.box_pooler(
                [features[f] for f in heads.box_in_features], list(map(Boxes, mirrored))
            )
            predictions = heads.box_predictor(heads.box_head(pooled))
            given = [Instances(size, proposal_boxes=Boxes(x)) for size, x in zip(sizes, mirrored)]
            found = heads.box_predictor.predict_boxes(predictions, given)
            boxes.append(torch.cat([_mirrored(x, size, flip) for x, size in zip(found, sizes)]))
            scores.append(torch.cat(list(heads.box_predictor.predict_probs(predictions, given))))
        counts = [len(x) for x in proposals]
        predictor = heads.box_predictor
        results, _ = fast_rcnn_inference(
            list(torch.stack(boxes).mean(0).split(counts)),
            list(torch.stack(scores).mean(0).split(counts)),
            sizes,
            predictor.test_score_thresh,
            predictor.test_nms_thresh,
            predictor.test_topk_per_image,
        )
        if heads.mask_on:
            self._add_masks(results, seen)
        return results

    def _add_masks(self, found: list[Instances], seen: Sequence[Seen]) -> None:
        """Means of the masks' probabilities, as Detectron2's ``GeneralizedRCNNWithTTA`` has them."""
        masks = []
        for flip, features, _ in seen:
            mirrored = [
                Instances(
                    x.image_size,
                    pred_boxes=Boxes(_mirrored(x.pred_boxes.tensor, x.image_size, flip)),
                    pred_classes=x.pred_classes,
                )
                for x in found
            ]
            given = self.network.roi_heads.forward_with_given_boxes(features, mirrored)
            masks.append(torch.cat([x.pred_masks for x in given]).flip(_axes(flip)))
        counts = [len(x) for x in found]
        for x, of_image in zip(found, torch.stack(masks).mean(0).split(counts)):
            x.pred_masks = of_image

    def _joined(self, found: list[tuple[Flip, Instances]], size: tuple[int, int]) -> torch.Tensor:
        """Proposals of all flips of an image, as many as the RPN gives, as boxes of the image: (R, 4)."""
        rpn = self.network.proposal_generator
        boxes = torch.cat([_mirrored(x.proposal_boxes.tensor, size, flip) for flip, x in found])
        scores = torch.cat([x.objectness_logits for _, x in found])
        return boxes[nms(boxes, scores, rpn.nms_thresh)[: rpn.post_nms_topk[False]]]


def _flipped(x: dict[str, Any], flip: Flip) -> dict[str, Any]:
    return {k: v.flip(_axes(flip)) if k in ("image", "enlarged") else v for k, v in x.items()}


def _axes(flip: Flip) -> list[int]:
    return [axis for axis, on in zip((-1, -2), flip) if on]


def _mirrored(boxes: torch.Tensor, size: tuple[int, int], flip: Flip) -> torch.Tensor:
    """Boxes (R, 4 K), XYXY, as they lie in the flipped image; ``size`` is its height and width."""
    x0, y0, x1, y1 = boxes.reshape(-1, 4).unbind(1)
    if flip[0]:
        x0, x1 = size[1] - x1, size[1] - x0
    if flip[1]:
        y0, y1 = size[0] - y1, size[0] - y0
    return torch.stack([x0, y0, x1, y1], 1).reshape(boxes.shape)
