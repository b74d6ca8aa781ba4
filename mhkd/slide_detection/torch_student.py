"""Exported folders: a student that PyTorch runs."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from ..engine.devices import check_device_option
from ..engine.exported import exported_cfg, load_deployed
from ..enlarge import enlarge, to_tensor
from ..errors import InputError
from ..files import sha256
from ..modeling import FlipAveraged, is_student
from ..training_data import read_training_data
from .outlines import outlines_as_text
from .student import Student, resolution_of, tile_side_px


@dataclass(frozen=True, eq=False, kw_only=True)
class TorchStudent(Student):
    """
    Attributes:
        network: a :class:`mhkd.modeling.LowResolutionRCNN` in evaluation mode, or whatever takes its inputs
            and gives its outputs.
        image_format: "RGB" or "BGR", the network's channel order.
        input_factor: HR pixels per pixel that the network sees: 1 where LR is brought to the HR size.
        masks: whether it finds masks too.
    """

    network: nn.Module
    image_format: str = "RGB"
    input_factor: int = 1
    masks: bool = False
    packages: ClassVar[tuple[str, ...]] = ("torch", "torchvision")

    def prepare(self, tile: np.ndarray) -> dict[str, torch.Tensor]:
        image = to_tensor(tile if self.image_format == "RGB" else tile[:, :, ::-1])
        return {"image": image, "enlarged": enlarge(image, self.lr_factor // self.input_factor)}

    @torch.inference_mode()
    def detect(self, inputs: list[dict[str, torch.Tensor]]) -> Sequence[tuple[np.ndarray, ...]]:
        found = []
        try:
            if self.masks:  # as the mask head gives them, finer than LR pixels
                network: Any = self.network
                outputs = network.inference(inputs, do_postprocess=False)
            else:
                outputs = [output["instances"] for output in self.network(inputs)]
        except torch.OutOfMemoryError as e:
            raise MemoryError(str(e)) from e
        for output in outputs:
            instances = output.to("cpu")
            columns = [instances.pred_boxes.tensor, instances.scores, instances.pred_classes]
            found.append(tuple(column.numpy() for column in columns))
            if self.masks:
                masks = instances.pred_masks[:, 0].numpy()
                found[-1] += (outlines_as_text(found[-1][0], masks, self.lr_factor),)
        return found


def load(
    folder: str,
    device: str,
    student_mpp: float | None,
    overlap_um: float,
    tile_size_px: int | None,
    min_score: float | None,
    threads: int | None,
    flips: bool = False,
) -> TorchStudent:
    """See :func:`mhkd.slide_detection.student.load_student`."""
    if threads:
        torch.set_num_threads(threads)
    check_device_option(device)
    cfg = exported_cfg(folder, device)
    if cfg.MHKD.TASK == "classification":
        raise InputError(
            f"{folder}: tells classes of images and finds nothing: give it to mhkd classify --student, or to "
            "--grade beside a student that detects"
        )
    if not is_student(cfg):
        raise InputError(
            f"{folder}: holds no student but a {cfg.MODEL.META_ARCHITECTURE} for HR: a trained student is "
            "OUTPUT_DIR/student/ or OUTPUT_DIR/<step>/student/"
        )
    factor = cfg.INPUT.LR_FACTOR
    lr_mpp = resolution_of(folder, cfg.MHKD.LR_MPP, student_mpp)
    tile_px = tile_side_px(folder, factor, cfg.INPUT.TRAINED_SIZE_PX, lr_mpp, overlap_um, tile_size_px)
    if min_score is not None:
        cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = min(cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST, min_score)
    network = load_deployed(cfg)
    cfg.TEST.AUG.ENABLED = flips  # results depend on it, and on no default of it that the folder may have
    if flips:
        network = FlipAveraged(network)
    classes = tuple(cfg.MHKD.CLASSES) or tuple(
        f"class {k + 1}" for k in range(cfg.MODEL.ROI_HEADS.NUM_CLASSES)
    )
    weights = sha256(cfg.MODEL.WEIGHTS)
    path, cfg.MODEL.WEIGHTS, cfg.OUTPUT_DIR = cfg.MODEL.WEIGHTS, "", ""
    del cfg.MHKD["TASK"]  # there is one with slides, and students are older than the key
    return TorchStudent(
        network=network,
        class_names=classes,
        lr_mpp=lr_mpp,
        lr_factor=factor,
        tile_px=tile_px,
        image_format=cfg.INPUT.FORMAT,
        input_factor=factor if cfg.MODEL.STUDENT.INPUT == "native" else 1,
        masks=cfg.MODEL.MASK_ON,
        folder=os.path.dirname(os.path.abspath(path)),
        sha256=weights,
        checksum=hashlib.sha256((weights + cfg.dump()).encode()).hexdigest(),
        device=cfg.MODEL.DEVICE,
        flips=flips,
        training=read_training_data(folder),
    )
