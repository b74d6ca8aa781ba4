"""ResNetClassifier: torchvision's ResNet with GroupNorm, for images of any size."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, conv1x1

from ..errors import InputError

DEPTHS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
}


@META_ARCH_REGISTRY.register()
class ResNetClassifier(nn.Module):
    """A classifier alone, teacher or student, as it is scored and handed out: ``DefaultPredictor`` runs it.

    Its pixels are standardised by what it was trained with, which is part of its weights.
    """

    pixel_mean: torch.Tensor
    pixel_std: torch.Tensor

    @configurable
    def __init__(
        self,
        *,
        num_classes: int,
        depth: int = 18,
        width: int = 64,
        strides: Sequence[int] = (2, 2, 2, 2, 2),
        pixel_mean: Sequence[float] = (0.0, 0.0, 0.0),
        pixel_std: Sequence[float] = (1.0, 1.0, 1.0),
    ):
        """
        Args:
            depth: 18, 34 or 50.
            width: channels of the first convolution.
            strides: of the first convolution, the pooling behind it, and stages 2, 3 and 4; their product is
                the width of a cell of the last map in pixels.
            pixel_mean, pixel_std: of each channel.
        """
        super().__init__()
        self.backbone = resnet(depth, width, strides)
        self.channels = width * 8 * DEPTHS[depth][0].expansion
        self.head = nn.Linear(self.channels, num_classes)
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(3, 1, 1))
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(3, 1, 1))

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        return {
            "num_classes": len(cfg.MHKD.CLASSES),
            "depth": cfg.MODEL.RESNETS.DEPTH,
            "width": cfg.MODEL.RESNETS.STEM_OUT_CHANNELS,
            "strides": cfg.MODEL.RESNETS.STRIDES,
            "pixel_mean": [float(v) for v in cfg.MODEL.PIXEL_MEAN],
            "pixel_std": [float(v) for v in cfg.MODEL.PIXEL_STD],
        }

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    def look(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The last map and the logits, both in float32, whatever the convolutions were computed in.

        Args:
            images: (N, 3, H, W), values from 0 to 255.

        Returns:
            (N, C, h, w) and (N, K).
        """
        pixels = (images.to(self.device) - self.pixel_mean) / self.pixel_std
        conv = self.backbone(pixels).float()
        with torch.autocast(self.device.type, enabled=False):
            return conv, self.head(conv.mean((2, 3)))

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, torch.Tensor]]:
        """
        Args:
            batched_inputs: Detectron2's format; ``image`` (3, h, w), values from 0 to 255, of any size.

        Returns:
            Of each image ``probabilities``, of the classes in the order of MHKD.CLASSES; (K,).
        """
        if self.training:
            raise RuntimeError("ResNetClassifier is for use; DistilledClassifier trains it")
        logits = (self.look(x["image"][None])[1] for x in batched_inputs)
        return [{"probabilities": found[0].softmax(0)} for found in logits]


def resnet(depth: int, width: int, strides: Sequence[int]) -> nn.Sequential:
    """torchvision's ResNet up to its last map, GroupNorm in place of BatchNorm; He initialisation.

    Raises:
        InputError: another depth.
    """
    if depth not in DEPTHS:
        raise InputError(
            f"MODEL.RESNETS.DEPTH {depth}: a classifier's is one of {', '.join(map(str, DEPTHS))}"
        )
    block, counts = DEPTHS[depth]
    stem = nn.Conv2d(3, width, 7, strides[0], 3, bias=False)
    layers = [stem, _norm(width), nn.ReLU(inplace=True), nn.MaxPool2d(3, strides[1], 1)]
    channels = width
    for stage, (count, first_stride) in enumerate(zip(counts, (1, *strides[2:]), strict=True)):
        planes = width * 2**stage
        for stride in (first_stride, *[1] * (count - 1)):
            out, shortcut = planes * block.expansion, None
            if stride != 1 or channels != out:
                shortcut = nn.Sequential(conv1x1(channels, out, stride), _norm(out))
            layers.append(block(channels, planes, stride, shortcut, norm_layer=_norm))
            channels = out
    network = nn.Sequential(*layers)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


def _norm(channels: int) -> nn.GroupNorm:
    """32 groups, as its paper has them; fewer where a group would be of one channel."""
    return nn.GroupNorm(min(32, channels // 2), channels)
