"""What a student records of its training data, so that a slide which is not like it is noticed.

It has a file of its own beside the weights. In config.yaml it would be part of the student's identity, and
finished slides would become another student's. An ``.onnx`` student has it in its record.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError
from .files import read_json, write_json

FILE = "training_data.json"
# What is measured of an image's colour (mhkd.slides.colour), in words, and the least width of a range: where
# all images are of one slide the next slide still differs.
COLOUR = {
    "density": ("mean optical density", 0.1),
    "contrast": ("spread of optical density", 0.05),
    "red": ("red's share of it", 0.05),
    "green": ("green's share of it", 0.05),
    "blue": ("blue's share of it", 0.05),
}
PERCENTILES = (5, 95)
FAR = 1.0  # widths of the range that a value is outside of it
LEAST_IMAGES = 4
UNSURE = (0.2, 0.8)  # a score from the first up to the second; lower ones are not taken for glomeruli
FAR_UNSURE = 0.2  # that the share of unsure ones is above that of the validation images
LEAST_SCORES = 20  # fewer tell no share
_LARGEST = 10.0  # that a density can have: 8 bits end at 2.4


@dataclass(frozen=True)
class TrainingData:
    """
    Attributes:
        images: how many were measured.
        colour: of each measure of :data:`COLOUR`, the range of the middle 90 % of the images.
        unsure: of what the student finds on validation images, see :func:`unsure_share`; None: not known.
    """

    images: int
    colour: Mapping[str, tuple[float, float]]
    unsure: float | None = None

    @classmethod
    def of(cls, colours: Sequence[Mapping[str, float]]) -> "TrainingData | None":
        """From measures of images; None for fewer than 4, which tell no range."""
        if len(colours) < LEAST_IMAGES:
            return None
        ranges = {}
        for name in COLOUR:
            low, high = np.percentile([c[name] for c in colours], PERCENTILES).round(5).tolist()
            ranges[name] = (low, high)
        return cls(len(colours), ranges)

    @classmethod
    def parse(cls, content: Any) -> "TrainingData":
        """Raises ValueError for what :meth:`dump` did not write."""
        try:
            images, colour, unsure = content["images"], content["colour"], content.get("unsure")
            if type(images) is not int or images < 1:
                raise ValueError("images is no number of images")
            ranges = {}
            for name in COLOUR:
                low, high = colour[name]
                if not (_is_number(low) and _is_number(high) and low <= high):
                    raise ValueError(f"colour: {name} is no range")
                ranges[name] = (low, high)
        except (KeyError, TypeError) as e:
            raise ValueError(f"lacks images or colour ({e})") from e
        if unsure is not None and not (_is_number(unsure) and unsure <= 1):
            raise ValueError("unsure is no share")
        return cls(images, ranges, unsure)

    def dump(self) -> dict[str, Any]:
        """For JSON, from which it comes back equal."""
        colour = {name: list(ends) for name, ends in self.colour.items()}
        return {"images": self.images, "colour": colour, "unsure": self.unsure}

    def far_in_colour(self, colour: Mapping[str, float]) -> list[str]:
        """In words, the measures that lie outside their range by more than its width."""
        found = []
        for name, (words, least_width) in COLOUR.items():
            low, high = self.colour[name]
            outside = max(low - colour[name], colour[name] - high)
            if outside > FAR * max(high - low, least_width):
                found.append(f"{words} {colour[name]:.2f}, there {low:.2f} to {high:.2f}")
        return found

    def far_in_scores(self, scores: np.ndarray) -> str:
        """In words, that far more scores are unsure than there; "" where they are not, or too few to say."""
        share = unsure_share(scores)
        if share is None or self.unsure is None or share <= self.unsure + FAR_UNSURE:
            return ""
        low, high = UNSURE
        there = f"{100 * self.unsure:.0f} %"
        return f"{100 * share:.0f} % of its scores lie between {low:g} and {high:g}, there {there}"


def unsure_share(scores: np.ndarray) -> float | None:
    """The share of scores from 0.2 to 0.8 among those of 0.2 or more; None of fewer than 20."""
    low, high = UNSURE
    taken = scores[scores >= low]
    return float((taken < high).mean()) if len(taken) >= LEAST_SCORES else None


def read_training_data(folder: str | os.PathLike[str]) -> TrainingData | None:
    """What an exported student's folder records; None where it records nothing.

    Raises:
        InputError: the file is damaged.
    """
    path = Path(folder) / FILE
    if not os.path.lexists(path):
        return None
    again = "export the student anew, or move the file away"
    content = read_json(path, dict, again)
    try:
        return TrainingData.parse(content)
    except ValueError as e:
        raise InputError(f"{path}: records no training data, it {e}: {again}") from e


def write_training_data(data: TrainingData | None, folder: str | os.PathLike[str]) -> None:
    """Write the file that :func:`read_training_data` reads; None removes it."""
    path = Path(folder) / FILE
    if data is None:
        path.unlink(missing_ok=True)
    else:
        write_json(data.dump(), path)


def record_scores(scores: np.ndarray, folder: str | os.PathLike[str]) -> float | None:
    """Add to a folder that records its training data how sure the student is of validation images.

    Args:
        scores: of all that it finds on them.
        folder: see :func:`read_training_data`.

    Returns:
        The share of :func:`unsure_share`; None, and nothing is recorded, for too few, or where nothing is
        recorded of the images.
    """
    known, share = read_training_data(folder), unsure_share(scores)
    if known is None or share is None:
        return None
    write_training_data(replace(known, unsure=round(share, 4)), folder)
    return share


def is_training_data(content: Any) -> bool:
    """Whether :meth:`TrainingData.parse` takes it."""
    try:
        TrainingData.parse(content)
    except ValueError:
        return False
    return True


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= _LARGEST
