"""What a student's training data are like, recorded in a student that was exported without it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog
from tqdm import tqdm

from ..data.registrar import ensure_registered
from ..data.training_colour import training_data_of
from ..engine.exported import exported_cfg
from ..errors import InputError
from ..modeling import is_student
from ..slides.views import read_view
from ..tasks import get_task
from ..training_data import (
    LEAST_IMAGES,
    LEAST_SCORES,
    UNSURE,
    read_training_data,
    record_scores,
    write_training_data,
)
from .student import Student, load_student


def record_training_data(folder: Path, train: str | None, val: str | None, device: str = "") -> list[str]:
    """Write ``training_data.json`` of a student, as a training does; nothing else of it is changed.

    Args:
        folder: of an exported student.
        train: dataset that it learned from, for its colour; None: the colour stays.
        val: dataset that it has not seen, for its scores; None: they stay.
        device: "cpu", "cuda", ...; empty: CUDA if there is one.

    Returns:
        In words, what is recorded.

    Raises:
        InputError: no student that detects, no such dataset, too few images or detections, or scores without
            a colour.
    """
    cfg = exported_cfg(folder, device)
    if not (get_task(cfg).counts and is_student(cfg)):
        raise InputError(f"{folder}: is no student that finds glomeruli: give OUTPUT_DIR/student")
    ensure_registered([name for name in (train, val) if name])
    factor, lr_filter = cfg.INPUT.LR_FACTOR, cfg.INPUT.LR_FILTER
    known, said = read_training_data(folder), []
    if train:
        measured = training_data_of(DatasetCatalog.get(train), factor, lr_filter)
        if measured is None:
            raise InputError(f"{train}: has fewer than {LEAST_IMAGES} images with stained tissue")
        known = replace(measured, unsure=known.unsure if known else None)
        said.append(f"colour of {known.images} images of {train}")
    if known is None:
        raise InputError(f"{folder}: does not record its colour yet: give --train too")
    if val:
        student = load_student(str(folder), device, student_mpp=cfg.MHKD.LR_MPP or 1.0, overlap_um=0.0)
        scores = _scores(student, DatasetCatalog.get(val), factor, lr_filter)
    write_training_data(known, folder)
    if val:
        share = record_scores(scores, folder)
        if share is None:
            raise InputError(
                f"{val}: {folder} finds fewer than {LEAST_SCORES} objects there with a score of "
                f"{UNSURE[0]:g} or more, so its scores are not recorded"
            )
        said.append(f"{100 * share:.0f} % of its scores on {val} are unsure, {UNSURE[0]:g} to {UNSURE[1]:g}")
    return said


def _scores(
    student: Student, entries: Sequence[dict[str, Any]], lr_factor: int, lr_filter: str
) -> np.ndarray:
    found = [np.empty(0)]
    for entry in tqdm(entries, "scores of the images", unit="image", leave=False):
        image = read_view(entry, "lr", lr_factor, lr_filter)
        found.append(student.detect([student.prepare(image)])[0][1])
    return np.concatenate(found)
