"""A trained student as slides need it: LR tiles in, boxes in LR pixels out."""

import functools
import hashlib
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..engine.exported import exported_cfg, load_deployed
from ..engine.settings import LARGEST, check_device
from ..enlarge import enlarge, to_tensor
from ..errors import InputError
from ..files import sha256
from ..modeling import is_student
from ..slides.slide import SAME_MPP

logger = logging.getLogger(__name__)
DEFAULT_OVERLAP_UM = 300.0  # the largest glomerulus
OVERLAPS_PER_TILE = 4  # a default tile is at least so many overlaps wide: (4 / 3)² times the work


@dataclass(frozen=True, eq=False)
class Student:
    """A student and what it must know of slides.

    Attributes:
        network: a :class:`mhkd.modeling.LowResolutionRCNN` in evaluation mode, or whatever takes its inputs
            and gives its outputs.
        class_names: classes.
        lr_mpp: micrometres per LR pixel, the resolution it was trained at.
        lr_factor: the network's input is the LR tile brought to this many times its size.
        tile_px: side of a tile in LR pixels.
        image_format: "RGB" or "BGR", the network's channel order.
        folder: absolute path of where it came from.
        sha256: of its weights.
        checksum: of its weights and of all that was set for it.
        device: where it runs.
    """

    network: nn.Module
    class_names: tuple[str, ...]
    lr_mpp: float
    lr_factor: int
    tile_px: int
    image_format: str = "RGB"
    folder: str = ""
    sha256: str = ""
    checksum: str = ""
    device: str = "cpu"

    def prepare(self, tile: np.ndarray) -> dict[str, torch.Tensor]:
        """The network's input of a uint8 RGB tile (h, w, 3), enlarged in the thread that reads it."""
        image = to_tensor(tile if self.image_format == "RGB" else tile[:, :, ::-1])
        return {"image": image, "enlarged": enlarge(image, self.lr_factor)}

    @torch.inference_mode()
    def detect(self, inputs: list[dict[str, torch.Tensor]]) -> Sequence[tuple[np.ndarray, ...]]:
        """One forward.

        Args:
            inputs: of :meth:`prepare`, of one size.

        Returns:
            For each input float32 boxes (n, 4) XYXY in LR pixels of the tile, float32 scores (n,) and int64
            classes (n,).
        """
        found = []
        for output in self.network(inputs):
            instances = output["instances"].to("cpu")
            boxes = instances.pred_boxes.tensor
            found.append((boxes.numpy(), instances.scores.numpy(), instances.pred_classes.numpy()))
        return found


@functools.lru_cache(maxsize=1)
def load_student(
    folder: str,
    device: str = "",
    student_mpp: float | None = None,
    overlap_um: float = DEFAULT_OVERLAP_UM,
    tile_size_px: int | None = None,
    min_score: float | None = None,
) -> Student:
    """Load an exported student, once in a process.

    Args:
        folder: of ``model_final.pth`` and ``config.yaml``.
        device: "cpu", "cuda", ...; empty: CUDA if there is one.
        student_mpp: micrometres per LR pixel, for a student that does not record it.
        overlap_um: overlap that tiles will have.
        tile_size_px: side of a tile in HR pixels; by default that of the images which the student was scored
            on, or more where the overlap would take too much of it.
        min_score: detections below it are not of interest.

    Raises:
        InputError: it is missing, damaged, has no resolution, or a parameter makes no sense.
    """
    if device:
        try:
            check_device(device)
        except InputError as e:
            raise InputError(f"--device {device}: cannot be used ({e})") from e
    cfg = exported_cfg(folder, device)
    if not is_student(cfg):
        raise InputError(
            f"{folder}: holds no student but a {cfg.MODEL.META_ARCHITECTURE} for HR: a trained student is "
            "OUTPUT_DIR/student/ or OUTPUT_DIR/<step>/student/"
        )
    factor = cfg.INPUT.LR_FACTOR
    lr_mpp = _lr_mpp(folder, cfg.MHKD.LR_MPP, student_mpp)
    if not (math.isfinite(overlap_um) and overlap_um >= 0):
        raise InputError(f"--overlap-um {overlap_um}: must be 0 or more")
    overlap_px = overlap_um / lr_mpp
    if tile_size_px is None:
        tile_px = max(cfg.INPUT.TRAINED_SIZE_PX // factor, 1)
        if overlap_um > max(DEFAULT_OVERLAP_UM, tile_px * lr_mpp):
            raise InputError(
                f"--overlap-um {overlap_um:g}: is more than a tile of this student, {tile_px * lr_mpp:g} um, "
                "and stands for the largest glomerulus: choose less, or larger tiles with --tile-size-px"
            )
        tile_px = max(tile_px, math.ceil(OVERLAPS_PER_TILE * overlap_px))
    elif tile_size_px < factor or tile_size_px % factor:
        raise InputError(f"--tile-size-px {tile_size_px}: must be a multiple of the LR factor {factor}")
    else:
        tile_px = tile_size_px // factor
    if tile_px * factor > LARGEST:
        raise InputError(
            f"{folder}: tiles of {tile_px * factor} px a side are larger than {LARGEST}: choose smaller ones "
            f"with --tile-size-px, or less than {overlap_um:g} um of overlap at {lr_mpp:g} um per LR pixel"
        )
    if overlap_px > tile_px / 2:
        raise InputError(
            f"--overlap-um {overlap_um:g}: is more than half of a tile ({tile_px * lr_mpp:g} um): choose "
            "larger tiles with --tile-size-px, or less overlap"
        )
    if min_score is not None:
        cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = min(cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST, min_score)
    network = load_deployed(cfg)
    if cfg.MODEL.DEVICE == "cpu":
        network.to(memory_format=torch.channels_last)  # the same numbers, and convolutions are quicker
    classes = tuple(cfg.MHKD.CLASSES) or tuple(
        f"class {k + 1}" for k in range(cfg.MODEL.ROI_HEADS.NUM_CLASSES)
    )
    weights = sha256(cfg.MODEL.WEIGHTS)
    path, cfg.MODEL.WEIGHTS, cfg.OUTPUT_DIR = cfg.MODEL.WEIGHTS, "", ""
    del cfg.MHKD["TASK"]  # there is one with slides, and students are older than the key
    return Student(
        network=network,
        class_names=classes,
        lr_mpp=lr_mpp,
        lr_factor=factor,
        tile_px=tile_px,
        image_format=cfg.INPUT.FORMAT,
        folder=os.path.dirname(os.path.abspath(path)),
        sha256=weights,
        checksum=hashlib.sha256((weights + cfg.dump()).encode()).hexdigest(),
        device=cfg.MODEL.DEVICE,
    )


def _lr_mpp(folder: str, recorded: float, given: float | None) -> float:
    """Micrometres per LR pixel, recorded or given."""
    if given is None:
        if recorded:
            return recorded
        raise InputError(
            f"{folder}: does not record the resolution that the student was trained at, since its data had "
            "none: give it in micrometres per LR pixel with --student-mpp"
        )
    if not (math.isfinite(given) and given > 0):
        raise InputError(f"--student-mpp {given}: must be a positive number")
    if recorded and abs(given / recorded - 1) > SAME_MPP:
        logger.warning(
            f"{folder}: was trained at {recorded:g} um per LR pixel, but --student-mpp {given:g} is used"
        )
    return given
