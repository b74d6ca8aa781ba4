"""Classes of weights by name: what a file records, and its rows in the order that is asked for."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..yaml_files import read_config

logger = logging.getLogger(__name__)


def recorded_classes(checkpoint: Mapping[str, Any], path: str | os.PathLike[str]) -> list[str]:
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
    weights: dict[str, torch.Tensor],
    recorded: Sequence[str],
    wanted: Sequence[str],
    path: str | os.PathLike[str],
    rows_per_class: Callable[[str], int | None],
) -> dict[str, torch.Tensor]:
    """``weights`` of the classes ``recorded`` with their rows in the order of ``wanted``.

    Where either is empty, the weights are taken as they are.

    Args:
        path: that they are of, for messages.
        rows_per_class: see :meth:`mhkd.tasks.Task.rows_per_class`.

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
        name: value[_rows(order, len(value), rows)]
        for name, value in weights.items()
        if (rows := rows_per_class(name))
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
