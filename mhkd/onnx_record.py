"""What an ``.onnx`` student records of itself, as JSON in the file's metadata. It may be a stranger's."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from .files import is_text
from .training_data import is_training_data

KEY = "mhkd"  # of the record among the file's metadata


@dataclass(frozen=True, kw_only=True)
class OnnxRecord:
    """What an ``.onnx`` student records, as JSON.

    Attributes:
        classes: names of the classes.
        lr_factor: HR pixels per LR pixel.
        lr_mpp: micrometres per LR pixel of its training data; 0: not known.
        trained_size_px: side of the HR images that it was scored on.
        min_score: detections have a higher score, where no lower one is asked for.
        score_threshold: detections count from this one on; None: none was chosen.
        chosen_on: on what it was chosen, in words.
        precision: "fp32", or "int8" where most layers are.
        compared: how near its detections came to those of PyTorch, and on what.
        weights_sha256: of the ``model_final.pth`` that it was made of.
        mhkd: version that made it.
        training_data: of :meth:`mhkd.training_data.TrainingData.dump`; None: not known, as in older files.
    """

    classes: list[str]
    lr_factor: int
    lr_mpp: float
    trained_size_px: int
    min_score: float
    score_threshold: float | None
    chosen_on: str
    precision: str
    compared: dict[str, Any]
    weights_sha256: str
    mhkd: str
    training_data: dict[str, Any] | None = None

    def dump(self) -> str:
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def parse(cls, text: str) -> "OnnxRecord":
        """Raises ValueError, which names the field, for what :meth:`dump` did not write."""
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("is no JSON object")
        names = [field.name for field in fields(cls)]
        known = {name: content[name] for name in names if name in content}
        for name in names:
            if name not in known:
                if name == "training_data":  # of an older file
                    continue
                raise ValueError(f"has no {name}")
            if not _GOOD[name](known[name]):
                raise ValueError(f"has {name} {str(known[name])[:80]!r}")
        return cls(**known)


def _number(least: float, most: float) -> Callable[[Any], bool]:
    return lambda v: type(v) in (int, float) and math.isfinite(v) and least <= v <= most


def _whole(least: int, most: int) -> Callable[[Any], bool]:
    return lambda v: type(v) is int and least <= v <= most


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _are_classes(value: object) -> bool:
    if not (isinstance(value, list) and 0 < len(value) <= 10_000 and all(map(is_text, value))):
        return False
    return all(value) and len(set(value)) == len(value)


_GOOD: dict[str, Callable[[Any], bool]] = {
    "classes": _are_classes,
    "lr_factor": _whole(1, 1_000),
    "lr_mpp": _number(0, 1e6),
    "trained_size_px": _whole(0, 1_000_000),
    "min_score": _number(0, 1),
    "score_threshold": lambda v: v is None or _number(0, 1)(v),
    "chosen_on": _is_text,
    "precision": lambda v: v in ("fp32", "int8"),
    "compared": lambda v: isinstance(v, dict),
    "weights_sha256": _is_text,
    "mhkd": _is_text,
    "training_data": lambda v: v is None or is_training_data(v),
}  # fmt: skip
