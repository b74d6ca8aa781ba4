"""Classes of weights by name: what a file records, and its rows in the order that is asked for."""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml

from ..errors import InputError

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
        InputError: an exported network and its config.yaml name different classes, or that file cannot be
            read.
    """
    own = list(checkpoint.get("classes", ()))
    if "cfg" in checkpoint:  # a training checkpoint, which is complete by itself
        return own
    beside = Path(path).with_name("config.yaml")
    classes = _classes_of(beside) if beside.is_file() else []
    if own and classes and own != classes:
        raise InputError(
            f"{path}: is of the classes {own}, but {beside} names {classes}: put the files together that "
            "were exported together"
        )
    return own or classes


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
        remedy = f" (NAME_split@{recorded[0]} makes all of a dataset one class)" if len(recorded) == 1 else ""
        raise InputError(
            f"{path}: was trained for the classes {recorded}, the data has {wanted}: use weights of these "
            f"classes, or a dataset of those{remedy}"
        )
    order = torch.tensor([recorded.index(name) for name in wanted])
    ordered = {
        name: value[_rows(order, len(value), 4 if _BOXES.search(name) else 1)]
        for name, value in weights.items()
        if _SCORES.search(name) or _BOXES.search(name)
    }
    if not ordered:
        raise InputError(
            f"{path}: was trained for the classes {recorded}, the data has {wanted}, and the rows of its "
            "classifier are not known: give the dataset's categories the order of the weights"
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


def _classes_of(config_file: Path) -> list[str]:
    try:
        content = yaml.safe_load(config_file.read_text(encoding="utf-8"))
        return [str(name) for name in content["MHKD"]["CLASSES"]]
    except (KeyError, TypeError):
        return []  # of another program
    except (OSError, ValueError, yaml.YAMLError) as e:
        raise InputError(f"{config_file}: cannot be read ({str(e).splitlines()[0]})") from e
