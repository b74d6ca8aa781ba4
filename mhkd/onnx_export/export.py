"""``mhkd export --format onnx``: an exported folder as one file, compared with PyTorch before it is there."""

import os
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import torch
from detectron2.config import CfgNode
from torch import nn

from ..engine.exported import exported_cfg
from ..errors import InputError
from ..evaluation.threshold_file import DEFAULT, chosen_on, working_threshold
from ..files import replacing
from ..onnx_file import INPUTS, MASKS, OUTPUTS, SUFFIX, OnnxNetwork
from ..onnx_record import KEY, OnnxRecord
from ..slide_detection.onnx_student import detect
from ..slide_detection.student import load_student
from ..slide_detection.torch_student import TorchStudent
from ..version import __version__
from .compare import Comparison, compare, found_again, look
from .inference import PlainInference
from .tiles import drawn_tiles, tiles_of

OPSET = 17
TILES = 16  # to compare on and to calibrate with
LEAST_SHARE = 0.999  # of the boxes that are the same


def export_onnx(
    folder: str | os.PathLike[str],
    path: str | os.PathLike[str],
    sources: Sequence[str] = (),
    int8: bool = False,
) -> list[str]:
    """Write an exported student as one ``.onnx`` file, for :class:`mhkd.onnx_file.OnnxNetwork`.

    Args:
        folder: of ``model_final.pth`` and ``config.yaml``.
        path: the file; what is there is replaced once the new one was found to give what PyTorch gives.
        sources: datasets and slides whose tiles are compared, and calibrate int8; none: those of a drawn
            slide.
        int8: most layers in whole numbers; see :mod:`mhkd.onnx_export.int8`.

    Returns:
        What was compared, in lines.

    Raises:
        InputError: no student, one with parts that cannot be exported, or one of which ONNX gives other
            detections.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise InputError(f"--out {path}: the name of an ONNX student must end with {SUFFIX}")
    if int8 and not sources:
        raise InputError(
            "--int8: must be calibrated on what the student is to see: name it in --calibrate-on"
        )
    cfg = exported_cfg(folder, "cpu")
    mpp = None if cfg.MHKD.LR_MPP else 1.0  # not known, and of no matter here
    student = load_student(os.path.abspath(folder), "cpu", mpp, min_score=0.0)
    assert isinstance(student, TorchStudent)
    record = _record(student, cfg, folder)
    model = trace(student.network, student.image_format)
    tiles = tiles_of(sources, cfg, student, TILES) if sources else drawn_tiles(cfg)
    expected = look(lambda tile: student.detect([student.prepare(tile)])[0], tiles)
    with replacing(path) as temporary:
        found = _saved_and_run(model, record, temporary, tiles)
        comparison = compare(expected, found, record.lr_factor, record.min_score)
        lines = [_in_words(comparison)]
        if comparison.share < LEAST_SHARE:
            raise InputError(
                f"{folder}: is not exported, for ONNX finds other things than PyTorch: {lines[0]}"
            )
        record = replace(record, compared=asdict(comparison))
        if int8:
            from .int8 import to_int8

            model, record = to_int8(model, tiles), replace(record, precision="int8")
            found = _saved_and_run(model, record, temporary, tiles)
            counted = DEFAULT if record.score_threshold is None else record.score_threshold
            for (boxes, again, iou), ours, theirs in (
                (found_again(expected, found, counted), "PyTorch", "int8"),
                (found_again(found, expected, counted), "int8", "PyTorch"),
            ):
                lines.append(f"of {boxes} detections of {ours} above {counted:g}, {theirs} has {again} too")
                lines[-1] += "" if iou is None else f", outlines with an IoU of {iou:.3f} on average"
        _save(model, record, temporary)
    return lines


def trace(network: nn.Module, image_format: str) -> onnx.ModelProto:
    """A student's network as a graph for one image of any size.

    Args:
        network: a :class:`mhkd.modeling.LowResolutionRCNN`.
        image_format: "RGB" or "BGR", its channel order.

    Raises:
        InputError: a part of it cannot be exported.
    """
    inference = PlainInference(network, image_format).eval()
    outputs = [*OUTPUTS, MASKS] if inference.network.roi_heads.mask_on else OUTPUTS
    image = torch.randint(0, 256, (37, 53, 3), dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad(), warnings.catch_warnings():
        path = Path(folder) / "student.onnx"
        warnings.simplefilter("ignore")  # of branches that the trace fixes: the comparison tells
        torch.onnx.export(
            inference,
            (image, torch.tensor(0.05)),
            path,
            input_names=INPUTS,
            output_names=outputs,
            dynamic_axes={"image": {0: "height", 1: "width"}, **{name: {0: "found"} for name in outputs}},
            opset_version=OPSET,
            dynamo=False,
        )
        return onnx.load(path)


def _record(student: TorchStudent, cfg: CfgNode, folder: str | os.PathLike[str]) -> OnnxRecord:
    chosen = chosen_on(folder)
    threshold = working_threshold(folder)
    return OnnxRecord(
        classes=list(student.class_names),
        lr_factor=student.lr_factor,
        lr_mpp=cfg.MHKD.LR_MPP,
        trained_size_px=cfg.INPUT.TRAINED_SIZE_PX,
        min_score=cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST,
        score_threshold=threshold.score if threshold.is_chosen else None,
        chosen_on=chosen or "",
        precision="fp32",
        compared={},
        weights_sha256=student.sha256,
        mhkd=__version__,
        training_data=student.training.dump() if student.training else None,
    )


def _saved_and_run(
    model: onnx.ModelProto, record: OnnxRecord, path: Path, tiles: Sequence[np.ndarray]
) -> list[Sequence[np.ndarray]]:
    _save(model, record, path)
    network = OnnxNetwork(path)
    return look(lambda tile: detect(network, tile, 0.0), tiles)


def _save(model: onnx.ModelProto, record: OnnxRecord, path: Path) -> None:
    onnx.helper.set_model_props(model, {KEY: record.dump()})
    path.write_bytes(model.SerializeToString())


def _in_words(c: Comparison) -> str:
    outlines = "" if c.least_outline_iou is None else f", outlines to an IoU of {c.least_outline_iou:.4f}"
    return (
        f"{c.matched} of {c.boxes} boxes on {c.tiles} tiles, with scores above {c.from_score:g}, are the "
        f"same in PyTorch and ONNX: sides to {c.largest_shift_hr_px:.2g} HR px, scores to "
        f"{c.largest_score_difference:.2g}{outlines}"
    )
