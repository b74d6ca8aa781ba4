"""The native student's pyramid: of LR pixels, with its levels where the teacher's lie.

Detectron2's ResNet begins with a stride of 4, which at LR is too much: its stem is given another, so that
res2 of an LR image has a stride of 8 HR pixels, as the teacher's res3, and all behind it follows.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.layers import CNNBlockBase, Conv2d, ShapeSpec, get_norm
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone.fpn import FPN
from detectron2.modeling.backbone.resnet import BasicBlock, BottleneckBlock, ResNet
from fvcore.nn import weight_init
from torch import nn

from ..errors import InputError

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
FINEST = 8  # HR pixels: the stride of res2 wherever LR allows it
MOST = 4  # LR pixels: the stride of Detectron2's stem


def stem_strides(lr_factor: int) -> tuple[int, int]:
    """What a stem makes of LR pixels, and where in the teacher's pyramid that is.

    =========  ==  ==  ==  ==  ==  ==  ==
    LR factor   2   3   4   6   8  12  16
    LR pixels   4   2   2   1   1   1   1
    HR pixels   8   8   8   8   8  16  16
    =========  ==  ==  ==  ==  ==  ==  ==

    Returns:
        The stride of the stem's layers, in LR pixels, and that of its output, in HR pixels. At a power of two
        the first times the factor is the second; otherwise the second is the teacher's nearest stride.
    """
    pixels = min(max(2 ** round(math.log2(FINEST / lr_factor)), 1), MOST)
    return pixels, 2 ** round(math.log2(lr_factor * pixels))


class ShiftedStem(CNNBlockBase):
    """The 7 x 7 convolution and the pool of a ResNet, with the strides that LR wants.

    As all strides of the network that of the stem, ``stride``, is in HR pixels.
    At a factor that is no power of two its features, never the pixels, are resized to the teacher's grid.
    """

    def __init__(self, in_channels: int, out_channels: int, *, lr_factor: int, norm: str = ""):
        """
        Args:
            lr_factor: HR pixels per pixel of the input.
            norm: Detectron2's name of a normalisation, "" for none.
        """
        pixels, stride = stem_strides(lr_factor)
        super().__init__(in_channels, out_channels, stride)
        self.pools = pixels > 1
        self.scale = lr_factor * pixels / stride
        self.conv1 = Conv2d(
            in_channels,
            out_channels,
            kernel_size=7,
            stride=2 if pixels == MOST else 1,
            padding=3,
            bias=False,
            norm=get_norm(_norm(norm), out_channels),
        )
        weight_init.c2_msra_fill(self.conv1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, h, w) to (N, C, h * lr_factor / stride, w * lr_factor / stride)."""
        x = F.relu_(self.conv1(x))
        if self.pools:
            x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
        if self.scale != 1:
            x = F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
        return x


class PooledLevels(nn.Module):
    """Levels beyond the last stage, each of every second cell of the one before, as Detectron2's p6."""

    def __init__(self, in_feature: str, num_levels: int):
        super().__init__()
        self.in_feature = in_feature
        self.num_levels = num_levels

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        levels = [x]
        for _ in range(self.num_levels):
            levels.append(F.max_pool2d(levels[-1], kernel_size=1, stride=2))
        return levels[1:]


@BACKBONE_REGISTRY.register()
def build_shifted_resnet_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> FPN:
    """An FPN that takes LR pixels; its strides are in HR pixels.

    :func:`mhkd.modeling.student_cfg` makes its config of the teacher's.
    Unlike Detectron2's ResNets those of basic blocks (18, 34) have the widths that are asked for.

    Raises:
        InputError: stages of deformable or dilated convolutions.
    """
    resnets = cfg.MODEL.RESNETS
    if any(resnets.DEFORM_ON_PER_STAGE) or resnets.RES5_DILATION != 1:
        raise InputError(
            "MODEL.STUDENT.INPUT native: its stages have no deformable or dilated convolutions: set "
            "MODEL.RESNETS.DEFORM_ON_PER_STAGE and RES5_DILATION back, or choose upsampled"
        )
    stem = ShiftedStem(
        input_shape.channels, resnets.STEM_OUT_CHANNELS, lr_factor=cfg.INPUT.LR_FACTOR, norm=resnets.NORM
    )
    used = list(cfg.MODEL.FPN.IN_FEATURES)
    num_stages = max(int(name[3:]) for name in used) - 1  # the first is res2
    stages, in_channels, out_channels = [], stem.out_channels, resnets.RES2_OUT_CHANNELS
    for k, num_blocks in enumerate(BLOCKS[resnets.DEPTH][:num_stages]):
        kind: type[CNNBlockBase] = BasicBlock
        settings: dict[str, Any] = {}
        if resnets.DEPTH >= 50:
            kind, settings = BottleneckBlock, {
                "bottleneck_channels": resnets.NUM_GROUPS * resnets.WIDTH_PER_GROUP * 2**k,
                "num_groups": resnets.NUM_GROUPS,
                "stride_in_1x1": resnets.STRIDE_IN_1X1,
            }  # fmt: skip
        strides = [1 if k == 0 else 2] + [1] * (num_blocks - 1)
        stages.append(
            ResNet.make_stage(
                kind,
                num_blocks,
                stride_per_block=strides,
                in_channels=in_channels,
                out_channels=out_channels,
                norm=_norm(resnets.NORM),
                **settings,
            )
        )
        in_channels, out_channels = out_channels, out_channels * 2
    bottom_up = ResNet(stem, stages, out_features=used)  # no FREEZE_AT: weights of HR are no good as they are
    last = round(math.log2(bottom_up.output_shape()[used[-1]].stride))
    wanted = max(int(name[1:]) for name in (*cfg.MODEL.RPN.IN_FEATURES, *cfg.MODEL.ROI_HEADS.IN_FEATURES))
    return FPN(
        bottom_up=bottom_up,
        in_features=used,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=_norm(cfg.MODEL.FPN.NORM),
        top_block=PooledLevels(f"p{last}", wanted - last) if wanted > last else None,
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )


def _norm(name: str) -> str | Callable[[int], nn.Module]:
    """Detectron2's norm of this name, whose GN has 32 groups, for a narrow network too."""
    return _group_norm if name == "GN" else name


def _group_norm(channels: int) -> nn.GroupNorm:
    """Of 32 groups where the channels are a multiple of 64; otherwise of fewer, two channels each or more."""
    return nn.GroupNorm(math.gcd(32, channels // 2, channels), channels)
