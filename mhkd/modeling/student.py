"""The student: a ``GeneralizedRCNN`` whose backbone is any FPN with BFA behind it.

Students differ at the backbone's door alone: an upsampled one takes LR brought to the HR size (the paper), a
native one takes the LR pixels themselves. Strides, anchors, proposals and boxes are in HR pixels for both.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, Backbone
from detectron2.modeling.meta_arch import GeneralizedRCNN
from detectron2.structures import ImageList

from .bfa import adapt_pyramid, bfa_of_levels
from .shifted import stem_strides


@BACKBONE_REGISTRY.register()
class StudentBackbone(Backbone):
    """Wraps a feature pyramid; its output lies on the teacher's grid (strides in HR pixels).

    Shape shorthand:
        N, C: images, feature channels
        H, W: size of the HR image
        f: HR pixels per pixel of the input, 1 for an upsampled student
        s: stride of a level in HR pixels, the same as the teacher's
    """

    @configurable
    def __init__(self, *, fpn: Backbone, input_factor: int = 1, bfa: Mapping[str, Any] | None = None):
        """
        Args:
            fpn: the backbone to wrap; all its levels have the same number of channels.
            input_factor: HR pixels per pixel of the input: 1, or of a native student the LR factor.
            bfa: arguments of :func:`mhkd.modeling.bfa.bfa_of_levels` (``levels``, ``channels``,
                ``num_blocks``, ``scale``, ``norm``); None builds none. ``bfa_enabled`` then switches it on
                and off.
        """
        super().__init__()
        self.fpn = fpn
        self.input_factor = input_factor
        levels = {} if bfa is None else fpn.output_shape()
        self.bfa = bfa_of_levels(levels, **(bfa or {}))
        self.bfa_enabled = bfa is not None

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        build_fpn = BACKBONE_REGISTRY.get(cfg.MODEL.STUDENT.BACKBONE)
        return {
            "fpn": build_fpn(cfg, input_shape),
            "input_factor": cfg.INPUT.LR_FACTOR if cfg.MODEL.STUDENT.INPUT == "native" else 1,
            "bfa": {
                "levels": cfg.MODEL.BFA.LEVELS,
                "channels": cfg.MODEL.BFA.CHANNELS,
                "num_blocks": cfg.MODEL.BFA.NUM_BLOCKS,
                "scale": cfg.MODEL.BFA.SCALE,
                "norm": cfg.MODEL.BFA.NORM,
            }
            if cfg.MODEL.BFA.ENABLED
            else None,
        }

    def extract(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """f_L: (N, 3, H / f, W / f) to level -> (N, C, H / s, W / s)."""
        return self.fpn(x)

    def adapt(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """f'_L = BFA(f_L); level -> (N, C, H / s, W / s) to the same."""
        return adapt_pyramid(self.bfa, features)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """(N, 3, H / f, W / f) to level -> (N, C, H / s, W / s), adapted if BFA is enabled."""
        features = self.extract(x)
        return self.adapt(features) if self.bfa_enabled else features

    @property
    def size_divisibility(self) -> int:
        """What H and W must be multiples of, in HR pixels."""
        if self.input_factor == 1:
            return self.fpn.size_divisibility
        stride, _ = stem_strides(self.input_factor)
        return math.lcm(self.fpn.size_divisibility, self.input_factor * stride)

    def output_shape(self) -> dict[str, ShapeSpec]:
        return self.fpn.output_shape()


@META_ARCH_REGISTRY.register()
class StudentRCNN(GeneralizedRCNN):
    """A student as it trains and is scored: takes what its backbone takes, gives boxes in HR pixels.

    Of ``batched_inputs``, Detectron2's, ``image`` has the size that the backbone wants; ``instances``,
    ``height`` and ``width`` are in HR pixels.
    """

    def preprocess_image(self, batched_inputs: list[dict[str, Any]]) -> ImageList:
        """Normalise, pad and batch."""
        return batch_images(self, [x["image"] for x in batched_inputs], self.backbone.size_divisibility)


def batch_images(
    network: GeneralizedRCNN, images: Sequence[torch.Tensor], size_divisibility: int
) -> ImageList:
    """Normalise as ``network`` does, pad and batch.

    Args:
        images: each (3, h, w), of the size that its backbone takes.
        size_divisibility: what height and width are padded to a multiple of, in HR pixels.

    Returns:
        The tensor is what the backbone takes; the sizes are in HR pixels, as anchors and boxes are.
    """
    factor = getattr(network.backbone, "input_factor", 1)  # a teacher's backbone is Detectron2's
    mean, std = network.pixel_mean, network.pixel_std
    batch = ImageList.from_tensors(
        [(x.to(network.device) - mean) / std for x in images], size_divisibility // factor
    )
    return ImageList(batch.tensor, [(h * factor, w * factor) for h, w in batch.image_sizes])
