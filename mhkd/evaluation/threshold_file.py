"""The working threshold: the score from which on a detection counts. It may be recorded beside a student.

It has a file of its own. In config.yaml it would be part of the student's identity, and a new threshold would
make finished slides another student's. An ``.onnx`` student brings one along, which such a file
replaces.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..files import read_json, sha256, write_json
from ..onnx_file import is_onnx, load_onnx
from ..packed_student import unpacked

if TYPE_CHECKING:
    from .best_threshold import Choice

logger = logging.getLogger(__name__)
FILE = "threshold.json"
DEFAULT = 0.5
COUNTING = ("score_threshold", "score_threshold_from")  # options that do not decide what is found
WEIGHTS = "model_final.pth"


@dataclass(frozen=True)
class WorkingThreshold:
    """A working threshold and its origin.

    Attributes:
        score: detections count from this one on.
        source: who says so, in words.
        is_chosen: it was chosen for the student.
    """

    score: float
    source: str
    is_chosen: bool = False


def weights_of(student: str | os.PathLike[str]) -> Path:
    """The file with an exported student's weights: of a folder, or the ``.onnx`` file itself."""
    return Path(student) if is_onnx(student) else Path(student) / WEIGHTS


def threshold_path(student: str | os.PathLike[str]) -> Path:
    """The file that records the threshold of an exported student, whether it is there or not."""
    return Path(student).with_suffix(f".{FILE}") if is_onnx(student) else Path(student) / FILE


def working_threshold(student: str | os.PathLike[str], given: float | None = None) -> WorkingThreshold:
    """The given threshold, or the one that is recorded, or 0.5.

    Args:
        student: folder of the exported student, or ``.onnx`` file, or either one packed.
        given: by the user, which decides.

    Raises:
        InputError: the file that records it is damaged.
    """
    if given is not None:
        return WorkingThreshold(given, "--score-threshold")
    with unpacked(student) as source:
        return _recorded(source)


def _recorded(student: str) -> WorkingThreshold:
    path = threshold_path(student)
    if not os.path.lexists(path):
        return _brought_by(student)
    again = (
        "give --score-threshold, choose one anew with mhkd score --choose-threshold, or move the file away"
    )
    content = read_json(path, dict, again)
    try:
        score, weights = content["score_threshold"], content["weights_sha256"]
        if isinstance(score, bool) or not 0 <= score <= 1:
            raise ValueError(f"score_threshold {score}")
    except (ValueError, TypeError, KeyError) as e:
        raise InputError(f"{path}: records no score threshold ({e}): {again}") from e
    if weights != sha256(weights_of(student)):
        logger.warning(f"{path}: was chosen for other weights than those beside it, so it is not used")
        return WorkingThreshold(DEFAULT, f"default: {path.name} of the student is of other weights")
    source = f"{path.name} of the student: best F1 on {content.get('chosen_on')}"
    return WorkingThreshold(float(score), source, is_chosen=True)


def _brought_by(student: str) -> WorkingThreshold:
    record = load_onnx(os.path.abspath(student)).record if is_onnx(student) else None
    if record is None or record.score_threshold is None:
        return WorkingThreshold(DEFAULT, "default: none was chosen for the student")
    source = f"recorded in the student: best F1 on {record.chosen_on}"
    return WorkingThreshold(record.score_threshold, source, is_chosen=True)


def record_threshold(student: str | os.PathLike[str], choice: "Choice", chosen_on: str) -> Path:
    """Write the file that :func:`working_threshold` reads.

    Args:
        student: folder of the exported student, or ``.onnx`` file.
        choice: of :func:`mhkd.evaluation.best_threshold.best_f1`.
        chosen_on: on what, in words.

    Returns:
        The file.

    Raises:
        InputError: no student there, or it cannot be written.
    """
    path = threshold_path(student)
    content = {
        "score_threshold": choice.score_threshold,
        "chosen_on": chosen_on,
        "f1": round(choice.f1, 4),
        "precision": round(choice.precision, 4),
        "sensitivity": round(choice.sensitivity, 4),
        "annotated": choice.annotated,
        "how": "the highest F1 over all classes; right is a detection of the right class with an IoU of 0.5",
        "weights_sha256": sha256(weights_of(student)),
    }
    write_json(content, path)
    return path


def chosen_on(student_folder: str | os.PathLike[str]) -> str | None:
    """What the folder's threshold was chosen on; None where it records none."""
    try:
        known = read_json(Path(student_folder) / FILE, dict, "").get("chosen_on")
    except InputError:
        return None
    return known if isinstance(known, str) else None


def forget_threshold(student_folder: str | os.PathLike[str]) -> None:
    """Remove the file that records one: other weights are about to be written to the folder."""
    try:
        os.remove(Path(student_folder) / FILE)
    except FileNotFoundError:
        pass
