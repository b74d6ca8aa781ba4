"""DINO (Zhang et al. 2023): deformable layers from `transformers`, what makes it DINO from here.

Contrastive denoising, mixed query selection, look forward twice. Known differences from the authors' code:
the sine embedding of the encoder is shifted by half a cell, losses are divided by the boxes of this process
alone, and with one class the label noise has nothing to change.
"""

import math
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import META_ARCH_REGISTRY
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

NUM_LEVELS = 4  # the backbone's and strided convolutions of its last

Size = tuple[int, int]  # height and width of a level, in cells
Found = dict[str, torch.Tensor]  # "logits" (N, Q, classes), "pred_boxes" (N, Q, 4)


@META_ARCH_REGISTRY.register()
class DINO(DetectionTransformer):
    """Config in MODEL.DETR.

    Shape shorthand: N images, T tokens (cells of all levels), Q queries, D hidden channels, L layers.
    """

    criterion: Any  # of an untyped package
    class_heads: Any  # nn.ModuleList, which does not know of what
    box_heads: Any

    @configurable
    def __init__(self, *, denoising_queries: int = 100, **arguments: Any) -> None:
        super().__init__(**arguments)
        transformers = import_transformers()
        from transformers.models.deformable_detr import modeling_deformable_detr as deformable

        config = transformers.DeformableDetrConfig(
            backbone_config=transformers.ResNetConfig(),  # not built
            d_model=self.sizes.hidden_dim,
            num_feature_levels=NUM_LEVELS,
            attn_implementation="eager",
            **self.sizes.of_layers(),
        )
        hidden_dim, predictions = self.sizes.hidden_dim, self.sizes.decoder_layers + 1
        self.num_queries, self.denoising_queries = self.sizes.num_queries, denoising_queries
        self.projections = _projections(self.backbone.output_shape(), hidden_dim)
        self.position = deformable.DeformableDetrSinePositionEmbedding(hidden_dim // 2, normalize=True)
        self.level_embedding = nn.Parameter(torch.empty(NUM_LEVELS, hidden_dim))
        self.encoder = deformable.DeformableDetrEncoder(config)
        self.decoder = deformable.DeformableDetrDecoder(config).layers
        self.decoder_norm = nn.LayerNorm(hidden_dim)
        self.memory_projection = nn.Sequential(nn.Linear(hidden_dim, hidden_dim), nn.LayerNorm(hidden_dim))
        # Of the encoder first, then of each decoder layer.
        self.class_heads = nn.ModuleList(nn.Linear(hidden_dim, self.num_classes) for _ in range(predictions))
        self.box_heads = nn.ModuleList(_mlp(hidden_dim, hidden_dim, 4, 3) for _ in range(predictions))
        self.content = nn.Embedding(self.num_queries, hidden_dim)
        self.noised_class = nn.Embedding(self.num_classes + 1, hidden_dim)
        self.query_position = _mlp(2 * hidden_dim, hidden_dim, hidden_dim, 2)
        self.criterion = build_criterion(self.num_classes, 0.25, class_cost=2, bbox_cost=5, giou_cost=2)
        self._initialize()

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        return {**super().from_config(cfg), "denoising_queries": cfg.MODEL.DETR.DENOISING_QUERIES}

    def predict(self, images: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        layers, _ = self._detect(*self._encode(images, mask))
        return layers[-1]["logits"], layers[-1]["pred_boxes"]

    def losses(
        self, images: torch.Tensor, mask: torch.Tensor, targets: list[Target]
    ) -> dict[str, torch.Tensor]:
        from transformers.loss.loss_rt_detr import RTDetrLoss
        from transformers.models.rt_detr.modeling_rt_detr import get_contrastive_denoising_training_group

        content, noised, attention, meta = get_contrastive_denoising_training_group(
            targets, self.num_classes, self.num_queries, self.noised_class, self.denoising_queries
        )
        layers, encoder = self._detect(*self._encode(images, mask), content, noised, attention)
        denoised = meta["dn_num_split"][0] if meta else 0
        matched = [{k: v[:, denoised:] for k, v in layer.items()} for layer in layers]
        losses = weighted(self.criterion({**matched[-1], "auxiliary_outputs": matched[:-1]}, targets))
        losses |= weighted(self.criterion(encoder, targets), "encoder_")
        found: dict[str, torch.Tensor] = {}
        if meta:
            indices = RTDetrLoss.get_cdn_matched_indices(meta, targets)
            count = max(sum(len(t["boxes"]) for t in targets) * meta["dn_num_group"], 1)
            for k, layer in enumerate(layers):
                outputs = {name: v[:, :denoised] for name, v in layer.items()}
                for kind in self.criterion.losses:
                    parts = self.criterion.get_loss(kind, outputs, targets, indices, count)
                    found |= {f"{name}_{k}": v for name, v in parts.items()}
            losses |= weighted(found, "denoising_")
        else:  # every parameter takes part in every step, as DDP requires
            losses["denoising_loss_ce"] = 0.0 * self.noised_class.weight.sum()
        return losses

    def _encode(
        self, images: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[Size]]:
        """Memory (N, T, D), mask (N, T), valid shares (N, levels, 2), sizes of the levels."""
        features = list(self.backbone(images).values())
        levels: list[torch.Tensor] = []
        masks, positions = [], []
        for k, projection in enumerate(self.projections):
            # The first level beyond the backbone's is made from its last one as it is.
            level = projection(levels[-1] if k > len(features) else features[min(k, len(features) - 1)])
            levels.append(level)
            masks.append(at_size_of(mask, level))
            position = self.position(level.shape, level.device, level.dtype, masks[-1])
            positions.append(position.flatten(2).transpose(1, 2) + self.level_embedding[k])
        sizes = [(x.shape[-2], x.shape[-1]) for x in levels]
        shapes = torch.tensor(sizes, device=images.device)
        valid = torch.stack(
            [torch.stack([m[:, 0].float().mean(1), m[:, :, 0].float().mean(1)], 1) for m in masks], 1
        )
        tokens = torch.cat([x.flatten(2).transpose(1, 2) for x in levels], 1)
        mask = torch.cat([m.flatten(1) for m in masks], 1)
        memory = self.encoder(
            inputs_embeds=tokens,
            attention_mask=mask,
            spatial_position_embeddings=torch.cat(positions, 1),
            spatial_shapes=shapes,
            spatial_shapes_list=sizes,
            level_start_index=None,
            valid_ratios=valid,
        ).last_hidden_state
        return memory, mask, valid, sizes

    def _detect(
        self,
        memory: torch.Tensor,
        mask: torch.Tensor,
        valid: torch.Tensor,
        sizes: list[Size],
        content: torch.Tensor | None = None,
        noised: torch.Tensor | None = None,
        attention: torch.Tensor | None = None,
    ) -> tuple[list[Found], Found]:
        """Predictions of every decoder layer and of the encoder, {"logits", "pred_boxes"} each.

        Args:
            content, noised: (N, denoising queries, D) and (N, denoising queries, 4), before the sigmoid.
            attention: (Q, Q) additive, keeps the denoising queries apart.
        """
        encoder, start = self._select_queries(memory, mask, sizes, valid)
        queries = self.content.weight[None, : start.shape[1]].expand(len(memory), -1, -1)
        if content is not None and noised is not None and attention is not None:
            queries, start = torch.cat([content, queries], 1), torch.cat([noised, start], 1)
            attention = attention[: queries.shape[1], : queries.shape[1]]
        reference = live = start.detach().sigmoid()
        shapes = torch.tensor(sizes, device=memory.device)
        layers = []
        for k, layer in enumerate(self.decoder):
            scaled = reference[:, :, None] * torch.cat([valid, valid], -1)[:, None]
            position = self.query_position(sine_embedding(scaled[:, :, 0], queries))
            queries = layer(
                queries,
                object_queries_position_embeddings=position,
                reference_points=scaled,
                spatial_shapes=shapes,
                spatial_shapes_list=sizes,
                encoder_hidden_states=memory,
                encoder_attention_mask=mask,
                attention_mask=None if attention is None else attention[None, None],
            )
            hidden = self.decoder_norm(queries)
            change = self.box_heads[k + 1](hidden)
            # Look forward twice: a box's gradient reaches the layer before it as well.
            boxes = (change + _inverse_sigmoid(live)).sigmoid()
            layers.append({"logits": self.class_heads[k + 1](hidden), "pred_boxes": boxes})
            live = (change + _inverse_sigmoid(reference)).sigmoid()
            reference = live.detach()
        return layers, encoder

    def _select_queries(
        self, memory: torch.Tensor, mask: torch.Tensor, sizes: list[Size], valid: torch.Tensor
    ) -> tuple[Found, torch.Tensor]:
        """Mixed query selection: positions from the encoder's best tokens, contents learned."""
        anchors, usable = _anchors(sizes, valid)
        usable = (usable & mask)[..., None]
        hidden = self.memory_projection(memory * usable)
        logits = self.class_heads[0](hidden)
        best = logits.max(-1).values.masked_fill(~usable[..., 0], -math.inf)
        best = best.topk(min(self.num_queries, best.shape[1]), 1).indices[..., None]
        start = (self.box_heads[0](hidden) + anchors).gather(1, best.expand(-1, -1, 4))
        logits = logits.gather(1, best.expand(-1, -1, self.num_classes))
        return {"logits": logits, "pred_boxes": start.sigmoid()}, start

    def _initialize(self) -> None:
        deformable = ("backbone.", "encoder.", "decoder.")  # have their own
        initialize(self, but=deformable)
        nn.init.normal_(self.level_embedding)
        nn.init.normal_(self.content.weight)
        nn.init.normal_(self.noised_class.weight)
        initialize_heads(self.class_heads, [head[-1] for head in self.box_heads])


def sine_embedding(boxes: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """(N, Q, 4) boxes to (N, Q, 2 D), for ``like`` of D channels."""
    channels = like.shape[-1] // 2
    frequency = torch.arange(channels, device=boxes.device) // 2 * 2 / channels
    angles = boxes[..., [1, 0, 2, 3], None] * 2 * math.pi / 10000**frequency
    return torch.stack([angles[..., 0::2].sin(), angles[..., 1::2].cos()], -1).flatten(-3)


def _anchors(sizes: list[Size], valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A box around each cell, before the sigmoid: (N, T, 4); which of them lie inside the image (N, T)."""
    of_levels = []
    for k, (h, w) in enumerate(sizes):
        y, x = (torch.arange(n, device=valid.device) + 0.5 for n in (h, w))
        y, x = torch.meshgrid(y, x, indexing="ij")
        centre = torch.stack([x / w, y / h], -1).flatten(0, 1) / valid[:, None, k]
        of_levels.append(torch.cat([centre, torch.full_like(centre, 0.05 * 2**k)], -1))
    boxes = torch.cat(of_levels, 1)
    usable = ((boxes > 0.01) & (boxes < 0.99)).all(-1)
    return _inverse_sigmoid(boxes), usable


def _inverse_sigmoid(x: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    x = x.clamp(eps, 1 - eps)
    return torch.log(x / (1 - x))


def _projections(shapes: dict[str, ShapeSpec], hidden_dim: int) -> nn.ModuleList:
    """To D channels: one a level of the backbone, then strided ones for the levels beyond."""
    channels = [s.channels for s in shapes.values()]
    convs = [nn.Conv2d(c, hidden_dim, 1) for c in channels]
    for k in range(NUM_LEVELS - len(channels)):
        convs.append(nn.Conv2d(hidden_dim if k else channels[-1], hidden_dim, 3, stride=2, padding=1))
    return nn.ModuleList(nn.Sequential(c, nn.GroupNorm(min(32, hidden_dim // 4), hidden_dim)) for c in convs)


def _mlp(inputs: int, hidden: int, outputs: int, layers: int) -> nn.Sequential:
    sizes = [inputs] + [hidden] * (layers - 1)
    modules = [m for i, o in zip(sizes, sizes[1:]) for m in (nn.Linear(i, o), nn.ReLU())]
    return nn.Sequential(*modules, nn.Linear(sizes[-1], outputs))
