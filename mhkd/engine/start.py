"""The weights that a training starts from: a checkpoint's of its own, a given teacher's, or others'."""

from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode

from ..errors import InputError
from ..modeling.pair import Pair
from ..tasks import get_task
from .as_trained import check_as_trained
from .checkpoint import load_file, load_weights, network_weights
from .classes import order_classes, recorded_classes
from .pretrained.start import start_teacher
from .resume import Start


def load_start(cfg: CfgNode, pair: Pair, start: Start) -> None:
    """Load into ``pair`` what training goes on from; its classes get the order that the data has.

    Raises:
        InputError: the weights do not fit, or the order of the classes has changed within a step.
    """
    state, path = start.state, start.path
    if state is None or path is None:
        given = cfg.MODEL.TEACHER.WEIGHTS
        if given:
            checkpoint = load_file(given)
            weights = network_weights(checkpoint, "teacher", given)
            weights = _in_order(cfg, weights, recorded_classes(checkpoint, given), given)
            load_weights(pair.teacher, weights, given)
            check_as_trained(get_task(cfg).network_cfg(cfg, "teacher"), "teacher", checkpoint, given)
        elif cfg.MODEL.WEIGHTS:
            start_teacher(cfg, pair.teacher)
        return
    order_state(cfg, state, path)
    if state["stage"] == 0:
        # The student is still as the seed made it: a teacher can be taken over from any schedule.
        teacher = network_weights({"model": state["model"]}, "teacher", path)
        load_weights(pair.teacher, teacher, path)
    else:
        load_weights(pair, state["model"], path)


def order_state(cfg: CfgNode, state: dict[str, Any], path: str | Path) -> None:
    """Bring a checkpoint's weights into the order of the data's classes, in place.

    The dataset's categories may have got another order since, but not within a step.

    Raises:
        InputError: they have within a step, or are others.
    """
    recorded, classes = recorded_classes(state, path), get_task(cfg).classes(cfg)
    if "optimizer" in state and sorted(recorded) == sorted(classes) and recorded != classes:
        raise InputError(
            f"{path}: this step began with the classes in the order {recorded}, the data has them as "
            f"{classes}: give the dataset its categories' order back, or use another OUTPUT_DIR"
        )
    state["model"] = _in_order(cfg, state["model"], recorded, path)


def _in_order(
    cfg: CfgNode, weights: dict[str, torch.Tensor], recorded: list[str], path: str | Path
) -> dict[str, torch.Tensor]:
    task = get_task(cfg)
    return order_classes(weights, recorded, task.classes(cfg), path, task.rows_per_class)
