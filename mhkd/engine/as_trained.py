"""Whether a config makes of weights the network that they were trained as: with other strides or anchors all
shapes are the same, and it only scores badly."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from ..config import load_cfg, parse_cfg
from ..errors import InputError
from ..tasks import get_task
from .keys import flat

_NODES = ("MODEL.ANCHOR_GENERATOR.", "MODEL.FPN.", "MODEL.RESNETS.")
_ENDS = (".IN_FEATURES", ".BBOX_REG_WEIGHTS", ".POOLER_RESOLUTION", ".POOLER_SAMPLING_RATIO", ".POOLER_TYPE")
_PIXELS = ("MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD")  # of networks that do not keep them with their weights


def check_as_trained(
    cfg: CfgNode, network: str, checkpoint: Mapping[str, Any], path: str | os.PathLike[str]
) -> None:
    """Compare the config that ``network`` is built with and the one that its weights record.

    Args:
        cfg: of the network alone, from :meth:`mhkd.tasks.Task.network_cfg`.
        network: "teacher" or "student".
        checkpoint: content of the file at ``path``; its config is in it or, of an exported network, beside
            it. Weights without one pass.

    Raises:
        InputError: a setting that decides what the weights compute is another one.
    """
    beside, where = Path(path).with_name("config.yaml"), ""
    if "cfg" in checkpoint:
        trained = get_task(cfg).network_cfg(parse_cfg(checkpoint["cfg"], path), network)
    elif "classes" in checkpoint and beside.is_file():
        trained, where = load_cfg(beside, allow_base=False), f", {beside}"
    else:
        return
    given, recorded = flat(cfg), flat(trained)
    for key in sorted(given.keys() & recorded.keys()):
        if _decides(key, network, checkpoint["model"]) and given[key] != recorded[key]:
            raise InputError(
                f"{path}: was trained with {key} {recorded[key]}, and is built with {given[key]} here: use "
                f"the config that it was trained with{where}"
            )


def _decides(key: str, network: str, weights: Mapping[str, Any]) -> bool:
    if key in _PIXELS:
        return not any(name.endswith("pixel_mean") for name in weights)
    if key == "MODEL.STUDENT.INPUT":
        return network == "student"
    return key == "INPUT.FORMAT" or key.startswith(_NODES) or key.endswith(_ENDS)
