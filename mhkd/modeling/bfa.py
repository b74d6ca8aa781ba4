"""Basic Feature Adaptive module (paper section III-C2), after SRResNet (Ledig et al. 2017)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d, ShapeSpec, get_norm
from fvcore.nn import weight_init
from torch import nn

from ..errors import InputError


def _conv3x3(in_channels: int, out_channels: int, norm: str = "", stride: int = 1) -> Conv2d:
    conv = Conv2d(
        in_channels,
        out_channels,
        kernel_size=3,
        stride=stride,
        padding=1,
        bias=not norm,
        norm=get_norm(norm, out_channels),
    )
    weight_init.c2_msra_fill(conv)
    return conv


class ResidualBlock(nn.Module):
    """conv, norm, PReLU, conv, norm, plus its input; (N, C, H, W) to the same shape."""

    def __init__(self, channels: int, norm: str):
        super().__init__()
        self.conv1 = _conv3x3(channels, channels, norm)
        self.act = nn.PReLU()
        self.conv2 = _conv3x3(channels, channels, norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(self.act(self.conv1(x)))


class BFA(nn.Module):
    """f'_L = f_L + residual(f_L), on the teacher's grid.

    Head convolution, residual blocks with a long skip, sub-pixel convolution, output convolution. The
    output convolution starts at zero: switched on, the module leaves the student's output unchanged.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        channels: int = 64,
        num_blocks: int = 4,
        scale: int = 1,
        norm: str = "",
    ):
        """
        Args:
            in_channels: C of the features.
            channels, num_blocks: width and depth of the residual trunk.
            scale: sub-pixel scale between trunk and output, undone by the output convolution's stride.
            norm: Detectron2's name of a normalisation, "" for none.
        """
        super().__init__()
        self.head = nn.Sequential(_conv3x3(in_channels, channels), nn.PReLU())
        self.blocks = nn.Sequential(*(ResidualBlock(channels, norm) for _ in range(num_blocks)))
        self.trunk = _conv3x3(channels, channels, norm)
        self.subpixel = nn.Sequential(
            _conv3x3(channels, channels * scale**2), nn.PixelShuffle(scale), nn.PReLU()
        )
        self.output = _conv3x3(channels, in_channels, stride=scale)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the same shape."""
        head = self.head(x)
        trunk = head + self.trunk(self.blocks(head))
        return x + self.output(self.subpixel(trunk))


def bfa_of_levels(shapes: Mapping[str, ShapeSpec], levels: Sequence[str] = (), **sizes: Any) -> nn.ModuleDict:
    """One :class:`BFA` for each of ``levels``, or for every level where there are none.

    Args:
        shapes: of the pyramid, from fine to coarse.
        sizes: arguments of :class:`BFA`.

    Raises:
        InputError: the pyramid has no such level.
    """
    unknown = sorted(set(levels) - set(shapes))
    if unknown:
        raise InputError(
            f"MODEL.BFA.LEVELS {list(levels)}: the backbone has {', '.join(shapes)}, no {', '.join(unknown)}"
        )
    return nn.ModuleDict(
        {k: BFA(s.channels, **sizes) for k, s in shapes.items() if k in levels or not levels}
    )


def adapt_pyramid(bfa: nn.ModuleDict, features: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """f'_L of a pyramid; level -> (N, C, H, W).

    A level without a BFA of its own gets the gain of the next coarser one that has, enlarged: the paper has
    one map, behind which everything sees f'_L. Levels coarser than all of those stay f_L.

    Args:
        bfa: from :func:`bfa_of_levels`.
        features: f_L; level -> (N, C, H, W), from fine to coarse.
    """
    adapted = {level: bfa[level](x) for level, x in features.items() if level in bfa}
    if len(adapted) == len(features):
        return adapted
    gain = None
    for level in reversed(list(features)):
        if level in bfa:
            gain = adapted[level] - features[level]
        elif gain is not None:
            size = features[level].shape[-2:]
            adapted[level] = features[level] + F.interpolate(gain, size, mode="bilinear", align_corners=False)
    return {level: adapted.get(level, x) for level, x in features.items()}
