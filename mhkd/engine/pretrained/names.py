"""Names of others' weights as Detectron2's, and what pixels and strides their networks have."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from detectron2.checkpoint.c2_model_loading import convert_c2_detectron_names

IMAGENET_RGB = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))  # mean and deviation, grey levels of 255
_BLOCK = "layer1.0.conv1.weight"


_BATCH_NORMS = ("FrozenBN", "BN", "SyncBN", "nnSyncBN", "naiveSyncBN", "naiveSyncBN_N")


class Convention(NamedTuple):
    """What the networks of a file's kind are built and fed like; None: the file does not tell.

    Attributes:
        kind: of file, for messages.
        norms: that MODEL.RESNETS.NORM may be.
        format: order of the channels, INPUT.FORMAT.
        stride_in_1x1: MODEL.RESNETS.STRIDE_IN_1X1, which matters where blocks have 1x1 convolutions.
        pixel_mean, pixel_std: MODEL.PIXEL_MEAN and PIXEL_STD, in the order of ``format``.
        exact: that these are what the network was trained with, and not only what is usual.
    """

    kind: str
    norms: tuple[str, ...]
    format: str | None = None
    stride_in_1x1: bool | None = None
    pixel_mean: tuple[float, ...] | None = None
    pixel_std: tuple[float, ...] | None = None
    exact: bool = True


def as_detectron2(
    weights: Mapping[str, torch.Tensor], author: str
) -> tuple[dict[str, torch.Tensor], Convention]:
    """Weights under Detectron2's names, or the end of them: ``res2.0.conv1.weight``.

    Args:
        author: that the file names.
    """
    if any(n.startswith(("conv1_", "res2_0_branch2a")) for n in weights):
        plain = {n: v for n, v in weights.items() if not n.endswith("_momentum")}
        found = convert_c2_detectron_names(plain)[0]
        return found, _facebooks("Caffe2's", found, any("_gn_" in n for n in plain))
    blocks = [n.removesuffix(_BLOCK) for n in weights if n.endswith(_BLOCK)]
    if blocks:
        start = blocks[0]
        found = {_of_torchvision(n[len(start) :]): v for n, v in weights.items() if n.startswith(start)}
        return found, Convention(
            "torchvision's or timm's", _norms(found), "RGB", False, *IMAGENET_RGB, exact=False
        )
    found = dict(weights)
    if author == "torchvision":  # as Detectron2 converts them
        return found, Convention("torchvision's, converted", _norms(found), "RGB", False, *IMAGENET_RGB)
    if author == "Detectron2 Model Zoo":
        return found, _facebooks("Detectron2's model zoo", found, _norms(found) == ("GN",))
    return found, Convention("Detectron2's", _norms(found))


def _norms(weights: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
    if any(n.endswith("running_mean") for n in weights):
        return _BATCH_NORMS
    return ("GN",) if any(n.endswith("stem.conv1.norm.weight") for n in weights) else ("",)


def _facebooks(kind: str, weights: Mapping[str, torch.Tensor], gn: bool) -> Convention:
    """Their batch norms are folded to a factor and an offset. MSRA's ResNets have their stride in the first
    convolution of a block; ResNeXt and those with GN do not, and some have other pixels."""
    norms = ("GN",) if gn else ("FrozenBN",)
    shape = next((v.shape for n, v in weights.items() if n.endswith("res2.0.conv2.weight")), (0, 0))
    if gn or tuple(shape[:1]) != tuple(shape[1:2]):  # groups
        return Convention(kind, norms, "BGR", False)
    return Convention(kind, norms, "BGR", True, IMAGENET_RGB[0][::-1], (1.0, 1.0, 1.0))


def _of_torchvision(name: str) -> str:
    parts = name.split(".")
    if parts[0] in ("conv1", "bn1"):
        parts.insert(0, "stem")
    elif parts[0].startswith("layer") and parts[0][5:].isdigit():
        parts[0] = f"res{int(parts[0][5:]) + 1}"
    renamed = []
    for i, part in enumerate(parts):
        if part == "downsample" and i + 1 < len(parts):
            renamed.append("shortcut")
        elif i and parts[i - 1] == "downsample":
            renamed += ["norm"] if part == "1" else []
        elif part.startswith("bn") and part[2:].isdigit():
            renamed += [f"conv{part[2:]}", "norm"]
        else:
            renamed.append(part)
    return ".".join(renamed)
