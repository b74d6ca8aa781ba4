"""Parts of a dataset by patient, of a fold by slide by slide, as datasets: ``lymphoma_train_part1of3``.

They divide what has labels from what is used without: DiPalma et al.'s auxiliary sets, of which the smaller
lies in the larger, are two parts of three, and one of them. A fold's training images have parts too.
"""

import re
from dataclasses import dataclass
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from ..errors import InputError
from .folds import Fold, numbers_in, split_folds

_NAME = re.compile(r"(?P<whole>.+)_part(?P<number>\d+)of(?P<count>\d+)")


@dataclass(frozen=True)
class Part:
    """The first (1) of three (3) of ``whole``; every patient is in one of them, see :func:`split_folds`."""

    whole: str
    number: int
    count: int

    @classmethod
    def parse(cls, name: str) -> "Part | None":
        """The part that a dataset's name stands for; None where it is no such name.

        Raises:
            InputError: there is no part of this number.
        """
        found = _NAME.fullmatch(name)
        if not found:
            return None
        return cls(found["whole"], *numbers_in(found, "part", "1of3"))

    @property
    def name(self) -> str:
        """As in ``cfg.DATASETS``."""
        return f"{self.whole}_part{self.number}of{self.count}"


def load_part(part: Part) -> list[dict[str, Any]]:
    """The entries of a part, as they are in the whole.

    Raises:
        InputError: the whole is at fault, or has fewer patients than parts.
    """
    entries = DatasetCatalog.get(part.whole)
    whole, fold = MetadataCatalog.get(part.whole), Fold.parse(part.whole)
    known = ("thing_classes", "thing_dataset_id_to_contiguous_id")
    MetadataCatalog.get(part.name).set(**{k: whole.get(k) for k in known if whole.get(k) is not None})
    try:
        chosen = split_folds(entries, part.count, fold.by if fold else "patient")[part.number - 1]
    except InputError as e:
        raise InputError(f"dataset {part.name!r}: {e}") from e
    return [entries[k] for k in chosen]
