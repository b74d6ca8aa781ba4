"""What DETR-like detectors share as Detectron2 meta-architectures; the networks come from `transformers`."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.modeling import Backbone, build_backbone, detector_postprocess
from detectron2.structures import Boxes, ImageList, Instances
from torch import nn

from ..errors import InputError
from .ignore import NO_LOSS, IgnoresRegions, boxes_on

# The weights of all of them; `transformers` names the losses so.
LOSS_WEIGHTS = {"loss_ce": 1.0, "loss_bbox": 5.0, "loss_giou": 2.0}
CLASS_PRIOR = 0.01
SIZE_DIVISIBILITY = 32

Target = dict[str, torch.Tensor]  # of an image: "class_labels", "boxes" and, where any has some, "ignored"


@dataclass(frozen=True)
class Sizes:
    """Of a transformer, MODEL.DETR; the papers' by default."""

    hidden_dim: int = 256
    num_queries: int = 300
    encoder_layers: int = 6
    decoder_layers: int = 6
    feedforward_dim: int = 2048
    num_heads: int = 8
    dropout: float = 0.1

    def of_layers(self) -> dict[str, int | float]:
        """Under the names of the package's configurations; each has its own for ``hidden_dim``."""
        return {
            "encoder_layers": self.encoder_layers,
            "decoder_layers": self.decoder_layers,
            "encoder_ffn_dim": self.feedforward_dim,
            "decoder_ffn_dim": self.feedforward_dim,
            "encoder_attention_heads": self.num_heads,
            "decoder_attention_heads": self.num_heads,
            "dropout": self.dropout,
        }


class DetectionTransformer(IgnoresRegions, nn.Module):
    """Images to features, targets to theirs, predictions to ``Instances``.

    A query that is matched to no object and whose box lies on a region to be ignored has no loss. A subclass
    builds its network and has :meth:`losses` and :meth:`predict`.

    Shape shorthand: N images of H x W pixels with padding, Q queries. Boxes are (centre x, centre y, width,
    height) as shares of an image's own size, without its padding. Masks are True for real pixels.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        num_classes: int,
        pixel_mean: list[float],
        pixel_std: list[float],
        sizes: Sizes,
        score_thresh: float = 0.05,
        max_detections: int = 100,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.sizes = sizes
        self.num_classes = num_classes
        self.score_thresh = score_thresh
        self.max_detections = max_detections
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), False)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        detr = cfg.MODEL.DETR
        sizes = Sizes(
            hidden_dim=detr.HIDDEN_DIM,
            num_queries=detr.NUM_QUERIES,
            encoder_layers=detr.ENCODER_LAYERS,
            decoder_layers=detr.DECODER_LAYERS,
            feedforward_dim=detr.FEEDFORWARD_DIM,
            num_heads=detr.NUM_HEADS,
            dropout=detr.DROPOUT,
        )
        return {
            "backbone": build_backbone(cfg),
            "num_classes": cfg.MODEL.ROI_HEADS.NUM_CLASSES,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "score_thresh": cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST,
            "sizes": sizes,
            "max_detections": cfg.TEST.DETECTIONS_PER_IMAGE,
        }

    def losses(
        self, images: torch.Tensor, mask: torch.Tensor, targets: list[Target]
    ) -> dict[str, torch.Tensor]:
        """Weighted losses by name, of images (N, 3, H, W) and their mask (N, H, W)."""
        raise NotImplementedError

    def predict(self, images: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (N, Q, classes) and boxes (N, Q, 4)."""
        raise NotImplementedError

    pixel_mean: torch.Tensor
    pixel_std: torch.Tensor

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """Detectron2's batched inputs; a dict of losses in training, ``instances`` in evaluation."""
        normalized = [(x["image"].to(self.device) - self.pixel_mean) / self.pixel_std for x in batched_inputs]
        images = ImageList.from_tensors(normalized, SIZE_DIVISIBILITY)
        mask = torch.zeros_like(images.tensor[:, 0], dtype=torch.bool)
        for k, (h, w) in enumerate(images.image_sizes):
            mask[k, :h, :w] = True
        if self.training:
            targets = [self._target(x["instances"]) for x in batched_inputs]
            for target, regions, (h, w) in zip(targets, self.ignored, images.image_sizes):
                size = torch.tensor([w, h, w, h], device=self.device)
                target["ignored"] = regions.tensor.to(self.device) / size
            return self.losses(images.tensor, mask, targets)
        logits, boxes = self.predict(images.tensor, mask)
        return [
            {"instances": detector_postprocess(self._instances(*found), x.get("height", found[2][0]),
                                               x.get("width", found[2][1]))}
            for x, *found in zip(batched_inputs, logits, boxes, images.image_sizes)
        ]  # fmt: skip

    def _target(self, instances: Instances) -> Target:
        h, w = instances.image_size
        x0, y0, x1, y1 = instances.gt_boxes.tensor.to(self.device).unbind(1)
        boxes = torch.stack([(x0 + x1) / 2 / w, (y0 + y1) / 2 / h, (x1 - x0) / w, (y1 - y0) / h], 1)
        return {"class_labels": instances.gt_classes.to(self.device), "boxes": boxes}

    def _instances(self, logits: torch.Tensor, boxes: torch.Tensor, image_size: tuple[int, int]) -> Instances:
        """The best pairs of query and class; no NMS."""
        h, w = image_size
        scores = logits.sigmoid().flatten()
        scores, index = scores.topk(min(self.max_detections, len(scores)))
        index = index[scores > self.score_thresh]
        cx, cy, bw, bh = boxes[index // self.num_classes].unbind(1)
        corners = [(cx - bw / 2) * w, (cy - bh / 2) * h, (cx + bw / 2) * w, (cy + bh / 2) * h]
        return Instances(
            image_size,
            pred_boxes=Boxes(torch.stack(corners, 1)),
            scores=scores[: len(index)],
            pred_classes=index % self.num_classes,
        )


def at_size_of(mask: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """A mask (N, H, W) of pixels as one of ``features`` (N, C, h, w): (N, h, w)."""
    return F.interpolate(mask[None].float(), size=features.shape[-2:])[0].bool()


def build_criterion(num_classes: int, alpha: float, **costs: float) -> nn.Module:
    """`transformers`' set criterion: focal loss, L1 and GIoU of the queries that Hungarian matching chooses.

    Args:
        alpha: of the focal loss.
        costs: of the matching: class_cost, bbox_cost, giou_cost.
    """
    import_transformers()
    from transformers.loss import loss_deformable_detr as loss

    class Criterion(loss.DeformableDetrImageLoss):
        def loss_labels(self, outputs: Any, targets: Any, indices: Any, num_boxes: Any) -> Any:
            return super().loss_labels(of_labelled(outputs, targets, indices), targets, indices, num_boxes)

    matcher = loss.DeformableDetrHungarianMatcher(**costs)
    return Criterion(matcher, num_classes, alpha, ["labels", "boxes"])


def of_labelled(
    outputs: dict[str, Any], targets: list[Target], indices: list[tuple[torch.Tensor, torch.Tensor]]
) -> dict[str, Any]:
    """``outputs`` with queries that have no label as certain of nothing, which costs nothing.

    Args:
        outputs: "logits" (N, Q, classes), "pred_boxes" (N, Q, 4).
        targets: of each image; "ignored" (K, 4) are XYXY shares of its size, where any image has regions.
        indices: of each image, the queries that are matched to an object and those objects.
    """
    if "ignored" not in targets[0]:
        return outputs
    left_out = []
    for boxes, target, (matched, _) in zip(outputs["pred_boxes"].detach(), targets, indices):
        centre, half = boxes[:, :2], boxes[:, 2:] / 2
        on_region = boxes_on(Boxes(torch.cat([centre - half, centre + half], 1)), Boxes(target["ignored"]))
        on_region[matched] = False
        left_out.append(on_region)
    logits = outputs["logits"].masked_fill(torch.stack(left_out)[..., None], NO_LOSS)
    return outputs | {"logits": logits}


def weighted(losses: dict[str, torch.Tensor], prefix: str = "") -> dict[str, torch.Tensor]:
    """Sum over the decoder's layers ("loss_ce_0", ...), weighted; what is only a figure is left out."""
    sums: dict[str, torch.Tensor] = {}
    for name, value in losses.items():
        kind = next((k for k in LOSS_WEIGHTS if name.startswith(k)), None)
        if kind:
            part = LOSS_WEIGHTS[kind] * value
            sums[prefix + kind] = sums[prefix + kind] + part if prefix + kind in sums else part
    return sums


def initialize(module: nn.Module, *, but: tuple[str, ...]) -> None:
    """Xavier for every matrix of ``module`` but those whose names start so."""
    for name, parameter in module.named_parameters():
        if parameter.dim() > 1 and not name.startswith(but):
            nn.init.xavier_uniform_(parameter)


def initialize_heads(classifiers: Iterable[nn.Linear], last_box_layers: Iterable[nn.Linear]) -> None:
    """Start from rare classes and from boxes that stay where they are."""
    for head in classifiers:
        nn.init.constant_(head.bias, -math.log((1 - CLASS_PRIOR) / CLASS_PRIOR))
    for layer in last_box_layers:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


def import_transformers() -> ModuleType:
    """The optional package.

    Raises:
        InputError: it is not installed.
    """
    try:
        import transformers
    except ImportError as e:
        raise InputError(
            "DAB-DETR and DINO need the package transformers: pip install 'transformers>=5.23,<6' (the "
            "project's extra detr)"
        ) from e
    return transformers
