"""What a classifier says of images and what they are; the files that keep both."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import read_json, write_json, write_text
from ..tables import csv_text
from .bootstrap import Groups, groups_of

JSON_FILE, CSV_FILE = "predictions.json", "predictions.csv"
DIGITS = 6  # of a probability in the table for people
_KNOWN = ("file_name", "image_id", "patient", "slide")


@dataclass(frozen=True, eq=False)
class Predictions:
    """Of N images in C classes.

    Attributes:
        probabilities: float64, shape (N, C).
        labels: int64, shape (N,), index into ``class_names``.
        class_names: the classes.
        entries: of each image what is known of it: ``file_name``, ``image_id`` and perhaps ``patient``,
            ``slide``.
        ordered: whether the classes are grades, in the order of their names.

    Raises:
        ValueError: columns of different lengths, probabilities that are not finite, or a label without a
            class.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    entries: Sequence[dict[str, Any]]
    ordered: bool = False

    def __post_init__(self) -> None:
        columns = {
            "class_names": tuple(self.class_names),
            "probabilities": np.asarray(self.probabilities, np.float64).reshape(-1, len(self.class_names)),
            "labels": np.asarray(self.labels, np.int64).reshape(-1),
        }
        for name, column in columns.items():
            object.__setattr__(self, name, column)
        if not len(self.probabilities) == len(self.labels) == len(self.entries):
            raise ValueError(
                f"{len(self.probabilities)} predictions, {len(self.labels)} labels, "
                f"{len(self.entries)} images"
            )
        if not np.isfinite(self.probabilities).all():
            raise ValueError("a probability is not finite")
        if len(self) and not (0 <= self.labels.min() and self.labels.max() < len(self.class_names)):
            raise ValueError(
                f"labels {self.labels.min()} to {self.labels.max()} with the classes {self.class_names}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each image, of equal ones the first, int64, shape (N,)."""
        return self.probabilities.argmax(1) if len(self) else np.zeros(0, np.int64)

    @property
    def groups(self) -> Groups:
        """Patients where they are known, else slides, else images."""
        return groups_of(self.entries)

    @classmethod
    def concatenate(cls, parts: Sequence["Predictions"]) -> "Predictions":
        """The images of all parts, which have the same classes, as of the folds of a cross-validation.

        Raises:
            ValueError: no parts, or parts of other classes.
        """
        if len({(p.class_names, p.ordered) for p in parts}) != 1:
            raise ValueError(f"parts of the classes {sorted({p.class_names for p in parts})}")
        return cls(
            np.concatenate([p.probabilities for p in parts]),
            np.concatenate([p.labels for p in parts]),
            parts[0].class_names,
            [e for p in parts for e in p.entries],
            parts[0].ordered,
        )


def vote(predictions: Predictions) -> Predictions | None:
    """One prediction a patient, else a slide: the mean of its images' probabilities.

    Patients whose images are of several classes have no class of their own and are left out.

    Returns:
        Its entries are those of each group's first image. None where no group has two images, or all are left
        out.
    """
    names, group_of = np.unique(predictions.groups.of, return_inverse=True)
    if len(names) == len(predictions):
        return None
    members = [np.flatnonzero(group_of == k) for k in range(len(names))]
    members = [m for m in members if len(set(predictions.labels[m])) == 1]
    if not members:
        return None
    first = [m[0] for m in members]
    return Predictions(
        np.array([predictions.probabilities[m].mean(0) for m in members]),
        predictions.labels[first],
        predictions.class_names,
        [predictions.entries[k] for k in first],
        predictions.ordered,
    )


def write_predictions(predictions: Predictions, folder: Path) -> None:
    """Write ``predictions.json``, for :func:`read_predictions`, and ``predictions.csv``, for people."""
    known = [{k: e[k] for k in _KNOWN if e.get(k) not in (None, "")} for e in predictions.entries]
    names, labels = predictions.class_names, predictions.labels.tolist()
    rows = zip(known, labels, predictions.predicted.tolist(), predictions.probabilities.tolist())
    lines, images = [], []
    for entry, label, predicted, probabilities in rows:
        rounded = [round(p, DIGITS) for p in probabilities]
        about = [entry.get(k) for k in ("patient", "slide")]
        lines.append([entry.get("file_name"), names[label], names[predicted], *rounded, *about])
        images.append({**entry, "label": label, "probabilities": probabilities})
    header = ["file_name", "label", "predicted", *(f"p({name})" for name in names), "patient", "slide"]
    write_text(csv_text(header, lines), folder / CSV_FILE)
    content = {"classes": list(names), "ordered": predictions.ordered, "images": images}
    write_json(content, folder / JSON_FILE, indent=None)


def read_predictions(folder: Path) -> Predictions:
    """Of the folder that :func:`write_predictions` wrote to.

    Raises:
        InputError: missing or damaged.
    """
    path = folder / JSON_FILE
    content = read_json(path, dict, "score the network again")
    try:
        images = content["images"]
        return Predictions(
            np.array([i["probabilities"] for i in images]),
            np.array([i["label"] for i in images]),
            tuple(content["classes"]),
            [{k: i[k] for k in _KNOWN if k in i} for i in images],
            bool(content["ordered"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError) as e:
        raise InputError(f"{path}: cannot be read ({e}): score the network again") from e
