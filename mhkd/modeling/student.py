"""The student's backbone: any FPN, an optional entrance at LR size, and BFA.

With it the student is a stock ``GeneralizedRCNN``, which Detectron2's own tools load and run.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone

from ..errors import InputError
from .bfa import adapt_pyramid, bfa_of_levels, resize_features


@BACKBONE_REGISTRY.register()
class StudentBackbone(Backbone):
    """Wraps a feature pyramid; its output lies on the teacher's grid (strides in HR pixels).

    Shape shorthand:
        N, C: images, feature channels
        H, W: size of the HR image, which is also the size of this module's input
        s: stride of a level in HR pixels, the same as the teacher's
        f: LR factor if the input is "native", else 1
    """

    @configurable
    def __init__(self, *, fpn: Backbone, native_factor: int = 1, bfa: Mapping[str, Any] | None = None):
        """
        Args:
            fpn: the backbone to wrap; all its levels have the same number of channels.
            native_factor: 1 feeds the upsampled LR image to ``fpn`` as it is (the paper); f > 1 first
                averages it over f x f pixels. Of a bilinear enlargement these are not the LR pixels again:
                at 4 one keeps 0.56 of its value, the rest comes from its neighbours.
            bfa: arguments of :func:`mhkd.modeling.bfa.bfa_of_levels` (``levels``, ``channels``,
                ``num_blocks``, ``scale``, ``norm``); None builds none. ``bfa_enabled`` then switches it on
                and off.
        """
        super().__init__()
        self.fpn = fpn
        self.native_factor = native_factor
        levels = {} if bfa is None else fpn.output_shape()
        self.bfa = bfa_of_levels(levels, grid_factor=native_factor, **(bfa or {}))
        self.bfa_enabled = bfa is not None

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        if cfg.MODEL.STUDENT.INPUT not in ("upsampled", "native"):
            raise InputError(f"MODEL.STUDENT.INPUT {cfg.MODEL.STUDENT.INPUT!r}: choose upsampled or native")
        build_fpn = BACKBONE_REGISTRY.get(cfg.MODEL.STUDENT.BACKBONE)
        return {
            "fpn": build_fpn(cfg, input_shape),
            "native_factor": cfg.INPUT.LR_FACTOR if cfg.MODEL.STUDENT.INPUT == "native" else 1,
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
        """(N, 3, H, W) to level -> (N, C, H / (s f), W / (s f)): the pyramid's own output."""
        return self.fpn(F.avg_pool2d(x, self.native_factor) if self.native_factor > 1 else x)

    def basic(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """f_L: what :meth:`extract` gave, on the teacher's grid; level -> (N, C, H / s, W / s)."""
        return {k: resize_features(x, self.native_factor) for k, x in features.items()}

    def adapt(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """f'_L = BFA(f_L) from what :meth:`extract` gave; level -> (N, C, H / s, W / s)."""
        return adapt_pyramid(self.bfa, features, self.native_factor)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """(N, 3, H, W) to level -> (N, C, H / s, W / s), adapted if BFA is enabled."""
        return (self.adapt if self.bfa_enabled else self.basic)(self.extract(x))

    @property
    def size_divisibility(self) -> int:
        if self.native_factor == 1:
            return self.fpn.size_divisibility
        # FPN pads for its last convolutional level only, and its extra level then rounds up: on the
        # teacher's grid both must come out the same.
        return self.native_factor * max(s.stride for s in self.output_shape().values())

    def output_shape(self) -> dict[str, ShapeSpec]:
        return self.fpn.output_shape()


def behind_student_backbone(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A plain network's weights under the names that they have where its backbone is wrapped."""
    return {
        name.replace("backbone.", "backbone.fpn.", 1) if name.startswith("backbone.") else name: value
        for name, value in weights.items()
    }
