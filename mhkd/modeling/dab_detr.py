"""DAB-DETR (Liu et al. 2022), from `transformers`, on Detectron2's backbone."""

from typing import Any

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY, Backbone
from torch import nn

from .detection_transformer import (
    DetectionTransformer,
    Target,
    at_size_of,
    build_criterion,
    import_transformers,
    initialize,
    initialize_heads,
    weighted,
)


@META_ARCH_REGISTRY.register()
class DABDETR(DetectionTransformer):
    """``DabDetrForObjectDetection`` as a Detectron2 meta-architecture; config in MODEL.DETR."""

    @configurable
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        transformers = import_transformers()
        backbone, self.backbone = self.backbone, None  # it lives in the network
        channels = backbone.output_shape()["res5"].channels
        # The package's own ResNet is only built to be replaced: Detectron2's has the normalisation that
        # training from scratch needs.
        resnet = transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 8, 8, channels], depths=[1] * 4, out_features=["stage4"]
        )
        self.network = transformers.DabDetrForObjectDetection(
            transformers.DabDetrConfig(
                backbone_config=resnet,
                num_labels=self.num_classes,
                hidden_size=self.sizes.hidden_dim,
                num_queries=self.sizes.num_queries,
                auxiliary_loss=True,
                **self.sizes.of_layers(),
            )
        )
        self.network.model.backbone.conv_encoder = _Features(backbone)
        config = self.network.config
        costs = {k: getattr(config, k) for k in ("class_cost", "bbox_cost", "giou_cost")}
        self.criterion = build_criterion(self.num_classes, config.focal_alpha, **costs)
        self.network.loss_function = self._loss_function
        self._initialize()

    def losses(
        self, images: torch.Tensor, mask: torch.Tensor, targets: list[Target]
    ) -> dict[str, torch.Tensor]:
        return weighted(self.network(images, pixel_mask=mask, labels=targets).loss_dict)

    def _loss_function(
        self,
        logits: torch.Tensor,
        targets: list[Target],
        device: torch.device,
        boxes: torch.Tensor,
        config: Any,
        layer_logits: torch.Tensor,
        layer_boxes: torch.Tensor,
    ) -> tuple[None, dict[str, torch.Tensor], list[dict[str, torch.Tensor]]]:
        """What the network calls, as the package's own but with :func:`build_criterion`'s criterion."""
        layers = [{"logits": x, "pred_boxes": b} for x, b in zip(layer_logits[:-1], layer_boxes[:-1])]
        outputs = {"logits": logits, "pred_boxes": boxes, "auxiliary_outputs": layers}
        return None, self.criterion(outputs, targets), layers

    def predict(self, images: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = self.network(images, pixel_mask=mask)
        return found.logits, found.pred_boxes

    def _initialize(self) -> None:
        """From its own initialisation all queries are nearly the same, which costs hundreds of steps."""
        initialize(self.network, but=("model.backbone",))
        nn.init.normal_(self.network.model.query_refpoint_embeddings.weight)
        boxes = (self.network.bbox_predictor, self.network.model.decoder.bbox_embed)
        initialize_heads([self.network.class_embed], [mlp.layers[-1] for mlp in boxes])


class _Features(nn.Module):
    """Detectron2's backbone where the package expects its own."""

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, images: torch.Tensor, mask: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        features = self.backbone(images)["res5"]
        return [(features, at_size_of(mask, features))]
