"""A teacher that starts from others' weights: what of them fits, and whether its config is one for them."""

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from detectron2.config import CfgNode
from torch import nn

from ...errors import InputError
from .files import local_file, read_foreign
from .names import Convention, as_detectron2

logger = logging.getLogger(__name__)

Weights = Mapping[str, torch.Tensor]
STEM = "stem.conv1.weight"
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
STAGES = ("stem", "res2", "res3", "res4", "res5")
PREDICTOR = "roi_heads.box_predictor"


def start_teacher(cfg: CfgNode, teacher: nn.Module) -> None:
    """Load into ``teacher`` what MODEL.WEIGHTS has of it: its whole ResNet and, from a detector, the pyramid,
    the RPN and the box head where all of one fits. What scores classes and places their boxes stays as it is.

    Raises:
        InputError: no such file, one that holds more than arrays, of another network, or of one that is fed
            or built otherwise than ``cfg`` says.
    """
    path = local_file(cfg.MODEL.WEIGHTS, download=True)
    foreign = read_foreign(path)
    try:
        weights, convention = as_detectron2(*foreign)
    except (AssertionError, ValueError, IndexError) as e:  # of names that only begin like Caffe2's
        raise InputError(
            f"{path}: its weights have names that are not known: {_some(foreign.weights)}"
        ) from e
    taken, notes = fitting(weights, teacher.state_dict(), path)
    check_convention(cfg, _recorded(convention, weights), path)
    teacher.load_state_dict(dict(taken), strict=False)
    logger.info(f"The teacher starts from {path} ({convention.kind} weights): {'; '.join(notes)}")


def fitting(weights: Weights, own: Weights, path: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """What of ``weights`` fits a network.

    Args:
        weights: under names that are the end of the network's.
        own: the network's state dict.

    Returns:
        Weights under the network's names, and what was taken and what was not, in words.

    Raises:
        InputError: the ResNet does not fit whole.
    """
    start = next((k.removesuffix(STEM) for k in own if k.endswith(STEM)), None)
    if start is None:
        raise InputError(
            f"{path}: the teacher has no ResNet to start from it: choose one, or leave MODEL.WEIGHTS"
        )
    ends = {k: own_name for k in weights for own_name in _ending(k, own)}
    by_name = {own_name: weights[k] for k, own_name in ends.items()}
    fits = {k for k, v in by_name.items() if v.shape == own[k].shape}
    _check_resnet(weights, own, start, by_name, fits, path)
    groups: dict[str, list[str]] = {}
    for k in own:
        groups.setdefault("ResNet" if k.startswith(start) else _part(k), []).append(k)
    taken, notes = {}, []
    for group, names in groups.items():
        found, fit = sum(k in by_name for k in names), sum(k in fits for k in names)
        if group == PREDICTOR:
            notes += [f"{group} is left out, whose rows are of other classes"] if found else []
        elif group == "ResNet" or fit == len(names):
            taken.update({k: by_name[k] for k in names if k in fits})
            notes.append(f"{group} taken")
        elif found:
            notes.append(f"{group} is left out, of which {fit} of {len(names)} fit")
    unused = [k for k in weights if k not in ends and not k.endswith(STATISTICS)]
    return taken, notes + ([f"not used: {_some(unused)}"] if unused else [])


def check_convention(cfg: CfgNode, convention: Convention, path: Path) -> None:
    """Compare ``cfg`` with how the network was built and fed; where the file's kind does not tell its pixels,
    unusual statistics are logged.

    Raises:
        InputError: it was otherwise; the error says what to set.
    """
    model, wrong = cfg.MODEL, []
    if model.RESNETS.NORM not in convention.norms:
        wrong.append(f"MODEL.RESNETS.NORM {convention.norms[0] or repr('')}")
    if convention.format not in (None, cfg.INPUT.FORMAT):
        wrong.append(f"INPUT.FORMAT {convention.format}")
    stride = convention.stride_in_1x1
    if stride is not None and model.RESNETS.DEPTH >= 50 and stride != model.RESNETS.STRIDE_IN_1X1:
        wrong.append(f"MODEL.RESNETS.STRIDE_IN_1X1 {stride}")
    for key, usual in (("PIXEL_MEAN", convention.pixel_mean), ("PIXEL_STD", convention.pixel_std)):
        value = model[key]
        if usual is None or max(abs(a - b) for a, b in zip(value, usual)) <= 1:
            continue
        set_it = f"MODEL.{key} {str(list(usual)).replace(' ', '')}"
        ratios = [a / b for a, b in zip(value, usual)]
        if convention.exact or (key == "PIXEL_STD" and not all(0.5 < r < 2 for r in ratios)):
            wrong.append(set_it)
        else:
            logger.warning(
                f"{path}: {convention.kind} weights are mostly of {set_it}; the config has {list(value)}"
            )
    if wrong:
        raise InputError(
            f"{path}: are {convention.kind} weights, of a network that is built or fed otherwise than this "
            f"config says: set {' '.join(wrong)}"
        )


def _recorded(convention: Convention, weights: Weights) -> Convention:
    """With the statistics that older files of Detectron2 have among their weights."""
    if not {"pixel_mean", "pixel_std"} <= weights.keys():
        return convention
    mean, std = (tuple(weights[k].flatten().tolist()) for k in ("pixel_mean", "pixel_std"))
    return convention._replace(pixel_mean=mean, pixel_std=std, exact=True)


def _check_resnet(
    weights: Weights, own: Weights, start: str, by_name: Weights, fits: set[str], path: Path
) -> None:
    needed = [k for k in own if k.startswith(start)]
    if not any(k.endswith("running_mean") for k in weights):  # folded into factor and offset
        needed = [k for k in needed if not k.endswith(STATISTICS)]
    needed = [k for k in needed if k in by_name or not k.endswith("num_batches_tracked")]
    missing = [k for k in needed if k not in by_name]
    others = [k for k in needed if k in by_name and k not in fits]
    stages = {k.removeprefix(start).split(".")[0] for k in needed}
    ends = tuple(f"{s}." for s in stages & set(STAGES))
    deeper = [k for k in weights if k.removeprefix(start).startswith(ends) and not _ending(k, own)]
    deeper = [k for k in deeper if not k.endswith(STATISTICS)]
    if missing or others or deeper:
        raise InputError(
            f"{path}: is of another network: of the {len(needed)} weights of the teacher's ResNet "
            f"{len(needed) - len(missing) - len(others)} fit"
            + (f", {len(missing)} are missing ({_some(missing)})" if missing else "")
            + (f", {len(others)} have another shape ({_some(others)})" if others else "")
            + (f", and it has {len(deeper)} more ({_some(deeper)})" if deeper else "")
            + "; set MODEL.RESNETS.DEPTH and NORM to those of the file, or take another file"
        )


def _ending(name: str, own: Weights) -> list[str]:
    """The network's parameter of this name or, if it is the only one, whose name ends so."""
    if name in own:
        return [name]
    found = [k for k in own if k.endswith("." + name)]
    return found if len(found) == 1 else []


def _part(name: str) -> str:
    """The pyramid, the RPN, each of the heads."""
    first, _, rest = name.partition(".")
    return f"{first}.{rest.split('.')[0]}" if first == "roi_heads" else first


def _some(names: Mapping[str, torch.Tensor] | list[str]) -> str:
    listed = [str(n)[:80] for n in names]
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
