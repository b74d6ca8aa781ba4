"""Classes of weights by name: what a file records, and its rows in the order that is asked for."""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from ..errors import InputError
from ..yaml_files import read_config

logger = logging.getLogger(__name__)

# Parameters with rows of classes: K (A times, for A anchors a cell) or K and one that is no class.
_SCORES = re.compile(
    r"(cls_score|class_embed|class_heads\.\d+|noised_class|mask_head\.predictor)\.(weight|bias)$"
)
# And with four rows a class, unless all classes share their boxes.
_BOXES = re.compile(r"box_predictor(\.\d+)?\.bbox_pred\.(weight|bias)$")


def recorded_classes(checkpoint: dict, path: str | os.PathLike) -> list[str]:
    """Class names of a checkpoint in the order of its weights: its own record or config.yaml beside it.

    Args:
        checkpoint: content of the file at ``path``.

    Returns:
        Empty where nothing is recorded.

    Raises:
        InputError: config.yaml cannot be read.
    """
    if "classes" in checkpoint:
        return [str(name) for name in checkpoint["classes"]]
    beside = Path(path).with_name("config.yaml")
    own = read_config(beside)[0] if beside.is_file() else {}
    node = own.get("MHKD")
    classes = node.get("CLASSES") if isinstance(node, dict) else None
    return [str(name) for name in classes] if isinstance(classes, list) else []


def order_classes(
    weights: dict[str, torch.Tensor], recorded: Sequence[str], wanted: Sequence[str], path: str | os.PathLike
) -> dict[str, torch.Tensor]:
    """``weights`` of the classes ``recorded`` with their rows in the order of ``wanted``.

    Where either is empty, the weights are taken as they are.

    Raises:
        InputError: other classes, or weights whose classifier is not known.
    """
    recorded, wanted = list(recorded), list(wanted)
    if not recorded and len(wanted) > 1:
        logger.warning(f"{path}: records no classes; they are taken to be {wanted}, in this order")
    if not recorded or not wanted or recorded == wanted:
        return weights
    if sorted(recorded) != sorted(wanted):
        merge = f", which NAME_split@{recorded[0]} makes of any" if len(recorded) == 1 else ""
        raise InputError(
            f"{path}: is of the classes {recorded}, but {wanted} are asked for: use weights of these, or a "
            f"dataset of those{merge}"
        )
    order = torch.tensor([recorded.index(name) for name in wanted])
    ordered = {
        name: value[_rows(order, len(value), 4 if _BOXES.search(name) else 1)]
        for name, value in weights.items()
        if _SCORES.search(name) or _BOXES.search(name)
    }
    if not ordered:
        raise InputError(
            f"{path}: is of the classes {recorded}, {wanted} are asked for, and the rows of its classifier "
            "are not known: give the dataset's categories the order of the weights"
        )
    logger.info(f"{path}: classes {recorded} are put in the order {wanted}")
    return {**weights, **ordered}


def _rows(order: torch.Tensor, rows: int, rows_per_class: int) -> torch.Tensor:
    """Which of ``rows`` rows come first, second, ..."""
    size = len(order) * rows_per_class
    block = (order[:, None] * rows_per_class + torch.arange(rows_per_class)).flatten()
    if rows % size == 0:
        return (torch.arange(rows // size)[:, None] * size + block).flatten()
    if rows == size + rows_per_class:  # the last one is no class
        return torch.cat([block, torch.arange(size, rows)])
    return torch.arange(rows)  # shared by all classes
