"""``.onnx`` files: a student that onnxruntime runs, without torch and Detectron2."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import InputError
from ..files import sha256
from ..onnx_file import OnnxNetwork, load_onnx
from ..training_data import TrainingData
from .outlines import outlines_as_text
from .student import Student, resolution_of, tile_side_px


@dataclass(frozen=True, eq=False, kw_only=True)
class OnnxStudent(Student):
    """
    Attributes:
        network: runs it.
        min_score: detections have a higher score.
    """

    network: OnnxNetwork
    min_score: float
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    def prepare(self, tile: np.ndarray) -> np.ndarray:
        return tile

    def detect(self, inputs: list[np.ndarray]) -> Sequence[tuple[np.ndarray, ...]]:
        return [detect(self.network, tile, self.min_score) for tile in inputs]


def detect(network: OnnxNetwork, tile: np.ndarray, min_score: float) -> tuple[np.ndarray, ...]:
    """What :meth:`Student.detect` gives of an image."""
    boxes, scores, classes, *masks = network(tile, min_score)
    return boxes, scores, classes, *(outlines_as_text(boxes, m, network.record.lr_factor) for m in masks)


def load(
    folder: str,
    device: str,
    student_mpp: float | None,
    overlap_um: float,
    tile_size_px: int | None,
    min_score: float | None,
    threads: int | None,
    flips: bool = False,
) -> OnnxStudent:
    """See :func:`mhkd.slide_detection.student.load_student`; ``folder`` is the file."""
    if device not in ("", "cpu"):
        raise InputError(f"--device {device}: an .onnx student runs on the cpu")
    if flips:
        raise InputError(
            "--flips: an .onnx student looks at each tile once; give the folder it was made from"
        )
    network = load_onnx(os.path.abspath(folder), threads)
    record = network.record
    lr_mpp = resolution_of(folder, record.lr_mpp, student_mpp)
    lowest = record.min_score if min_score is None else min(min_score, record.min_score)
    weights = sha256(folder)
    return OnnxStudent(
        network=network,
        min_score=lowest,
        class_names=tuple(record.classes),
        lr_mpp=lr_mpp,
        lr_factor=record.lr_factor,
        tile_px=tile_side_px(
            folder, record.lr_factor, record.trained_size_px, lr_mpp, overlap_um, tile_size_px
        ),
        folder=os.path.abspath(folder),
        sha256=weights,
        checksum=hashlib.sha256(json.dumps([weights, lowest]).encode()).hexdigest(),
        training=TrainingData.parse(record.training_data) if record.training_data else None,
    )
