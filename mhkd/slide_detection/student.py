"""A trained student as slides need it: LR tiles in, boxes in LR pixels out. What runs it is loaded last."""

import functools
import importlib
import logging
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError
from ..onnx_file import is_onnx
from ..packed_student import is_packed, unpacked
from ..slides.slide import SAME_MPP
from ..slides.views import LARGEST_PX
from ..training_data import TrainingData

logger = logging.getLogger(__name__)
DEFAULT_OVERLAP_UM = 300.0  # the largest glomerulus
OVERLAPS_PER_TILE = 4  # a default tile is at least so many overlaps wide: (4 / 3)² times the work


@dataclass(frozen=True, eq=False, kw_only=True)
class Student(ABC):
    """A student and what it must know of slides.

    Attributes:
        class_names: classes.
        lr_mpp: micrometres per LR pixel, the resolution it was trained at.
        lr_factor: HR pixels per LR pixel.
        tile_px: side of a tile in LR pixels.
        folder: absolute path of the folder, or of the file, that it came from.
        sha256: of its weights.
        checksum: of its weights and of all that was set for it.
        device: where it runs.
        flips: whether it averages over a tile's flips.
        training: what it records of its training data; None: nothing.
        packages: those whose versions may show in its last bits, the first above all.
    """

    class_names: tuple[str, ...]
    lr_mpp: float
    lr_factor: int
    tile_px: int
    folder: str = ""
    sha256: str = ""
    checksum: str = ""
    device: str = "cpu"
    flips: bool = False
    training: TrainingData | None = None
    packages: ClassVar[tuple[str, ...]]

    @abstractmethod
    def prepare(self, tile: np.ndarray) -> Any:
        """What :meth:`detect` takes of a uint8 RGB tile (h, w, 3), made in the thread that reads it."""

    @abstractmethod
    def detect(self, inputs: list[Any]) -> Sequence[tuple[np.ndarray, ...]]:
        """One forward.

        Args:
            inputs: of :meth:`prepare`, of one size.

        Returns:
            For each input float32 boxes (n, 4) XYXY in LR pixels of the tile, float32 scores (n,) and int64
            classes (n,); of a student that finds masks also outlines (n,), as texts (WKT), in LR pixels.

        Raises:
            MemoryError: the device's is too small for so many.
        """


@functools.lru_cache(maxsize=1)
def load_student(
    folder: str,
    device: str = "",
    student_mpp: float | None = None,
    overlap_um: float = DEFAULT_OVERLAP_UM,
    tile_size_px: int | None = None,
    min_score: float | None = None,
    threads: int | None = None,
    flips: bool = False,
) -> Student:
    """Load an exported student, once in a process.

    Args:
        folder: of ``model_final.pth`` and ``config.yaml``, or an ``.onnx`` file, or either one packed.
        device: "cpu", "cuda", ...; empty: CUDA if there is one. An ``.onnx`` file runs on the CPU.
        student_mpp: micrometres per LR pixel, for a student that does not record it.
        overlap_um: overlap that tiles will have.
        tile_size_px: side of a tile in HR pixels; by default that of the images which the student was scored
            on, or more where the overlap would take too much of it.
        min_score: detections below it are not of interest.
        flips: average over a tile's four flips, four times the work; not of an ``.onnx`` file.
        threads: it may use so many; default: as many as there are processors, or OMP_NUM_THREADS says.

    Raises:
        InputError: it is missing, damaged, has no resolution, or a parameter makes no sense.
    """
    with unpacked(folder) as source:
        kind = importlib.import_module(".onnx_student" if is_onnx(source) else ".torch_student", __package__)
        student: Student = kind.load(
            source, device, student_mpp, overlap_um, tile_size_px, min_score, threads, flips
        )
    return replace(student, folder=os.path.abspath(folder)) if is_packed(folder) else student


def tile_side_px(
    source: str,
    lr_factor: int,
    trained_size_px: int,
    lr_mpp: float,
    overlap_um: float,
    tile_size_px: int | None,
) -> int:
    """Side of a tile in LR pixels; see :func:`load_student`.

    Args:
        source: of the student, for messages.
        trained_size_px: side of the HR images that it was scored on.

    Raises:
        InputError: what was asked for makes no sense.
    """
    if not (math.isfinite(overlap_um) and overlap_um >= 0):
        raise InputError(f"--overlap-um {overlap_um}: must be 0 or more")
    overlap_px = overlap_um / lr_mpp
    if tile_size_px is None:
        tile_px = max(trained_size_px // lr_factor, 1)
        if overlap_um > max(DEFAULT_OVERLAP_UM, tile_px * lr_mpp):
            raise InputError(
                f"--overlap-um {overlap_um:g}: is more than a tile of this student, {tile_px * lr_mpp:g} um, "
                "and stands for the largest glomerulus: choose less, or larger tiles with --tile-size-px"
            )
        tile_px = max(tile_px, math.ceil(OVERLAPS_PER_TILE * overlap_px))
    elif tile_size_px < lr_factor or tile_size_px % lr_factor:
        raise InputError(f"--tile-size-px {tile_size_px}: must be a multiple of the LR factor {lr_factor}")
    else:
        tile_px = tile_size_px // lr_factor
    if tile_px * lr_factor > LARGEST_PX:
        raise InputError(
            f"{source}: tiles of {tile_px * lr_factor} px a side are larger than {LARGEST_PX}: choose "
            f"smaller ones with --tile-size-px, or less than {overlap_um:g} um of overlap at {lr_mpp:g} um "
            "per LR pixel"
        )
    if overlap_px > tile_px / 2:
        raise InputError(
            f"--overlap-um {overlap_um:g}: is more than half of a tile ({tile_px * lr_mpp:g} um): choose "
            "larger tiles with --tile-size-px, or less overlap"
        )
    return tile_px


def resolution_of(source: str, recorded: float, given: float | None) -> float:
    """Micrometres per LR pixel, recorded (0: not) or given."""
    if given is None:
        if recorded:
            return recorded
        raise InputError(
            f"{source}: does not record the resolution that the student was trained at, since its data had "
            "none: give it in micrometres per LR pixel with --student-mpp"
        )
    if not (math.isfinite(given) and given > 0):
        raise InputError(f"--student-mpp {given}: must be a positive number")
    if recorded and abs(given / recorded - 1) > SAME_MPP:
        logger.warning(
            f"{source}: was trained at {recorded:g} um per LR pixel, but --student-mpp {given:g} is used"
        )
    return given
