"""Intervals by drawing patients anew, else slides, else images: what is alike is drawn together."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .pooled import Pooled, average_precision

LEVEL = 95  # percent, of every interval
FEW, TOO_FEW = 10, 3  # groups; fewer make intervals too narrow, or say next to nothing


class Interval(NamedTuple):
    """The lower and the upper end."""

    low: float
    high: float


@dataclass(frozen=True)
class Groups:
    """What is drawn together.

    Attributes:
        of: the group of each image or slide.
        unit: what a group is: "patients", "slides" or "images", or several of these joined by "or".
    """

    of: Sequence[str]
    unit: str

    def __len__(self) -> int:
        return len(set(self.of))

    @property
    def by(self) -> str:
        """The unit in the singular, as in "by patient"."""
        return " or ".join(u.removesuffix("s") for u in self.unit.split(" or "))

    def remark(self) -> str | None:
        """How far to trust intervals by so few; None where they are enough."""
        if len(self) < 2:
            return f"without intervals: they need two {self.unit} or more"
        if len(self) < TOO_FEW:
            return f"{len(self)} {self.unit} are few: an interval from so few means little"
        return f"{len(self)} {self.unit} are few: the true intervals are wider" if len(self) < FEW else None


def groups_of(entries: Iterable[dict[str, Any]], fewest_patients: int = 1) -> Groups:
    """The patient of each image of a dataset, else its slide, else the image itself.

    Args:
        entries: dataset dicts, with "image_id" and, where they are known, "patient" and "slide".
        fewest_patients: with fewer of them, slides or images are the groups.
    """
    entries, found = list(entries), []
    patients = {e.get("patient") for e in entries} - {None, ""}
    keys = ("patient", "slide") if len(patients) >= fewest_patients else ("slide",)
    for entry in entries:
        key = next((k for k in keys if entry.get(k) not in (None, "")), "image_id")
        found.append((key.removesuffix("_id") + "s", entry[key]))
    units = [u for u in ("patients", "slides", "images") if u in {unit for unit, _ in found}]
    return Groups([f"{unit} {value}" for unit, value in found], " or ".join(units))


def sample_blocks(
    groups: Sequence[str], num_samples: int, seed: int = 0, block_numbers: int = 2**22
) -> Iterator[np.ndarray]:
    """As many groups as there are, drawn with replacement, again and again; some samples at a time.

    Args:
        groups: the group of each of S images.
        num_samples: samples.
        seed: the same seed gives the same samples, however many come at a time.
        block_numbers: how many numbers a block has at most, or one sample.

    Yields:
        How often each image is in each sample, int, shape (samples of the block, S).
    """
    names, group_of = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    size = max(1, block_numbers // max(1, len(group_of)))
    for start in range(0, num_samples, size):
        count = min(size, num_samples - start)
        yield rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)[:, group_of]


def group_samples(groups: Sequence[str], num_samples: int, seed: int = 0) -> np.ndarray:
    """All samples of :func:`sample_blocks`, int, shape (num_samples, S)."""
    blocks = list(sample_blocks(groups, num_samples, seed))
    return np.concatenate(blocks) if blocks else np.empty((0, len(groups)), int)


def bootstrap_ap(
    rows: dict[str, list[list[Pooled]]], groups: Sequence[str], num_samples: int = 1000, seed: int = 0
) -> dict[str, np.ndarray]:
    """AP of every row on the same resampled images, in percent, shape (num_samples,) each.

    Args:
        rows: name -> matches of each class, once a training seed; a row's AP is the mean over its seeds.
        groups: the group of each image.
        num_samples: samples; one group alone gives none, as all would be the same.
        seed: of the samples.
    """
    samples = group_samples(groups, num_samples if len(set(groups)) > 1 else 0, seed)
    found = {name: np.empty(len(samples)) for name in rows}
    for k, weights in enumerate(samples):
        for name, seeds in rows.items():
            found[name][k] = np.mean([average_precision(classes, weights)["AP"] for classes in seeds])
    return found


def interval(values: npt.ArrayLike) -> Interval | None:
    """The percentile interval at 95 %.

    Args:
        values: of a statistic, one for each sample; nan where it does not exist.

    Returns:
        None if it exists in no sample.
    """
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    if not len(known):
        return None
    tail = (100 - LEVEL) / 2
    low, high = np.percentile(known, [tail, 100 - tail])
    return Interval(float(low), float(high))


def verdict(difference: tuple[float, float] | None) -> str:
    """Say "higher", "lower", or "undecided" where the interval of a difference includes 0 or is unknown."""
    if difference is None:
        return "undecided"
    low, high = difference
    return "undecided" if low <= 0 <= high else "higher" if low > 0 else "lower"
