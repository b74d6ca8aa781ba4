"""Networks as they leave: a folder of weights and config, which a training writes and all else loads."""

import atexit
import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import nn

from ..config import load_cfg, parse_cfg
from ..errors import InputError, about
from ..evaluation.threshold_file import forget_threshold
from ..files import replacing
from ..modeling.build import build_network
from ..onnx_file import is_onnx
from ..packed_student import unpacked
from ..tasks import get_task
from ..training_data import TrainingData, write_training_data
from ..yaml_files import one_line
from .as_trained import check_as_trained
from .checkpoint import load_file, load_weights, network_weights, save_atomically, size
from .classes import order_classes, recorded_classes
from .devices import check_device
from .ranges import check_ranges

_unpacked = contextlib.ExitStack()  # folders of packed students, whose weights are read after load_student
atexit.register(_unpacked.close)


def export_cfg(cfg: CfgNode, network: str, bfa: bool = False) -> CfgNode:
    """The config that ``network`` ("teacher" or "student") is handed out with: for images of any size, and
    with what it is for recorded.

    Args:
        cfg: of the training, or exported before.
    """
    task = get_task(cfg)
    out = task.deployed_form(task.network_cfg(cfg, network, bfa))
    out.MHKD.CLASSES = task.classes(cfg)
    return out


def export_network(
    weights: Mapping[str, torch.Tensor],
    cfg: CfgNode,
    folder: str | os.PathLike[str],
    training: TrainingData | None = None,
) -> Path:
    """Write ``model_final.pth`` and ``config.yaml``, which work wherever the folder is put.

    The config has the bare name of the weights; :func:`exported_cfg` makes it a path.

    Args:
        weights: the network's state dict; a student's BFA is left out where ``cfg`` has it disabled.
        cfg: from :func:`export_cfg`.
        training: of the data that it learned from, for a student that detects.

    Raises:
        InputError: it cannot be written; what was there stays.
    """
    folder = Path(folder)
    path = folder / "model_final.pth"
    if not cfg.MODEL.BFA.ENABLED:
        weights = {k: v for k, v in weights.items() if not _is_bfa(k)}
    classes = list(cfg.MHKD.CLASSES)
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.WEIGHTS = path.name
    cfg.MODEL.TEACHER.WEIGHTS = ""
    cfg.MHKD.CHOOSE_ON, cfg.MHKD.KEEP_BEST = "", False  # files of their own record what was chosen
    with replacing(folder / "config.yaml") as temporary:  # both are written before the first is renamed
        temporary.write_text(cfg.dump(), encoding="utf-8")
        save_atomically({"model": weights, "classes": classes}, path)
        forget_threshold(folder)  # of the weights that were there
    write_training_data(training, folder)
    return path


def exported_cfg(folder: str | os.PathLike[str], device: str = "") -> CfgNode:
    """The config of an exported network, its weights' path set to where the folder is now.

    Folders of any age come out in today's form, see :meth:`mhkd.tasks.Task.deployed_form`.

    Args:
        folder: holds ``config.yaml`` and ``model_final.pth``.
        device: "cpu", "cuda", ...; empty: CUDA if there is one.
    """
    folder = Path(folder)
    if is_onnx(folder):
        raise InputError(
            f"{folder}: an .onnx file is what mhkd detect, eval and pack take: give the folder it was made of"
        )
    for name in ("config.yaml", "model_final.pth"):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder / name}: missing; a trained student is OUTPUT_DIR/student/ or "
                "OUTPUT_DIR/<step>/student/"
            )
    cfg = load_cfg(folder / "config.yaml", allow_base=False)
    cfg.MODEL.WEIGHTS = str((folder / "model_final.pth").absolute())
    cfg.MODEL.DEVICE = device or ("cuda" if torch.cuda.is_available() else "cpu")
    check_device(cfg.MODEL.DEVICE)
    with about(folder / "config.yaml"):
        check_ranges(cfg)
        task = get_task(cfg)
        task.check_exported(cfg)
    return task.deployed_form(cfg)


def load_network(
    cfg: CfgNode, network: str, path: str | os.PathLike[str], classes: Sequence[str] = ()
) -> nn.Module:
    """Build the ``network`` ("teacher" or "student") of ``cfg`` alone and load its weights, to be scored: a
    student takes LR as MODEL.STUDENT.INPUT says.

    Args:
        path: an exported ``model_final.pth`` or any training checkpoint, which both know whether the
            student has BFA.
        classes: the order that its classes are brought into; empty: as they are.

    Raises:
        InputError: missing, cut short, not trained yet, of other classes, of another architecture, or trained
            with other strides, anchors and the like.
    """
    task, checkpoint = get_task(cfg), load_file(path)
    weights, recorded = network_weights(checkpoint, network, path), recorded_classes(checkpoint, path)
    weights = order_classes(weights, recorded, classes, path, task.rows_per_class)
    bfa = checkpoint.get("bfa", any(map(_is_bfa, weights)))
    weights = {k: v for k, v in weights.items() if bfa or not _is_bfa(k)}
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MHKD.CLASSES = list(classes or recorded)  # the training data need not be at hand
    cfg = task.network_cfg(cfg, network, bfa)
    module = build_network(cfg)
    load_weights(module, weights, path)
    check_as_trained(cfg, network, checkpoint, path)
    return module.eval()


def load_exported(cfg: CfgNode, classes: Sequence[str] = ()) -> nn.Module:
    """The network of an exported folder, student, teacher or other detector, ready to be scored: all take
    what :meth:`mhkd.tasks.Task.mapper` of ``cfg`` gives, and give boxes in HR pixels.

    Args:
        cfg: from :func:`exported_cfg`.
        classes: the order that its classes are brought into; empty: that of ``cfg``.
    """
    return _load(get_task(cfg).scored_form(cfg), load_file(cfg.MODEL.WEIGHTS), classes)


def load_deployed(cfg: CfgNode) -> nn.Module:
    """The network of an exported folder as ``DefaultPredictor`` has it: a student takes LR of any size.

    It has looked at a picture when it is returned, so that what is wrong with it is said here.

    Args:
        cfg: from :func:`exported_cfg`.
    """
    network = _load(cfg, load_file(cfg.MODEL.WEIGHTS))
    try:
        with torch.inference_mode():
            network([{"image": torch.zeros(3, 32, 32), "height": 32, "width": 32}])
    except Exception as e:  # whatever the parts make of settings that do not go together
        raise InputError(f"{_config_of(cfg)}: its network cannot be used: {one_line(e)}") from e
    return network


def load_student(folder: str | os.PathLike[str], device: str = "") -> CfgNode:
    """The config of an exported student, for ``DefaultPredictor``, which then takes LR pixels of any size.

    Its network is built once and its weights are read, so that what is wrong with the folder is said here.
    Nothing in it is executed: Detectron2's own ways take unsafe YAML and pickles.

    Args:
        folder: holds ``config.yaml`` and ``model_final.pth``; an exported teacher's works too, on HR. Or a
            file of ``mhkd pack``, which is unpacked into a private folder until Python ends.
        device: "cpu", "cuda", ...; empty: CUDA if there is one.

    Returns:
        Its MHKD.CLASSES are in the order of the weights.

    Raises:
        InputError: a file is missing, damaged, or does not fit the other.
    """
    with contextlib.ExitStack() as stack:
        cfg = exported_cfg(stack.enter_context(unpacked(folder)), device)
        load_deployed(cfg)
        recorded = recorded_classes(load_file(cfg.MODEL.WEIGHTS), cfg.MODEL.WEIGHTS)
        _unpacked.push(stack.pop_all())
    cfg.MHKD.CLASSES = recorded or cfg.MHKD.CLASSES
    return cfg


def _load(cfg: CfgNode, checkpoint: Mapping[str, Any], classes: Sequence[str] = ()) -> nn.Module:
    path, weights = cfg.MODEL.WEIGHTS, checkpoint["model"]
    numbers, tensors = size(weights)
    with about(_config_of(cfg)):  # which may be a stranger's; some parts are built twice
        module = build_network(cfg, 2 * numbers + 10_000, 2 * tensors + 100)
    recorded, classes = recorded_classes(checkpoint, path), classes or cfg.MHKD.CLASSES
    load_weights(module, order_classes(weights, recorded, classes, path, get_task(cfg).rows_per_class), path)
    return module.eval()


def _config_of(cfg: CfgNode) -> Path:
    """Of an exported network: where its config was read from."""
    return Path(cfg.MODEL.WEIGHTS).with_name("config.yaml")


def export_checkpoint(path: str | os.PathLike[str], folder: str | os.PathLike[str], network: str) -> Path:
    """Take ``network`` ("teacher" or "student") out of a training checkpoint, which has its config.

    Returns:
        The path of the weights, see :func:`export_network`.

    Raises:
        InputError: not a training checkpoint, or that network was not trained yet.
    """
    checkpoint = load_file(path)
    if not {"cfg", "plan", "stage", "bfa", "classes", "lr_mpp"} <= checkpoint.keys():
        raise InputError(f"{path}: not a training checkpoint (OUTPUT_DIR/<step>/model_final.pth)")
    weights = network_weights(checkpoint, network, path)
    cfg = export_cfg(parse_cfg(checkpoint["cfg"], path), network, checkpoint["bfa"])
    cfg.MHKD.CLASSES, cfg.MHKD.LR_MPP = checkpoint["classes"], checkpoint["lr_mpp"]
    known = checkpoint.get("training_data")  # older ones have none
    try:
        training = TrainingData.parse(known) if known is not None and network == "student" else None
    except ValueError as e:
        raise InputError(f"{path}: what it records of its training data {e}: train it anew") from e
    return export_network(weights, cfg, folder, training)


def _is_bfa(parameter_name: str) -> bool:
    return parameter_name.startswith("backbone.bfa.")
