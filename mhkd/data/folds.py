"""Folds by patient, as datasets of their own: ``<name>_fold2of5_train`` and ``<name>_fold2of5_val``.

Train and val of ``<name>`` are divided together; ``_val`` is the second of five parts, ``_train`` the others.
``<name>_slidefold2of5_val`` is by slide, for where there are fewer patients than folds: then a patient is on
both sides, and scores are of slides of known patients. Both exist for COCO files and for images with a class
each, and take ``@class`` as other names do.

By hand, since scikit-learn's StratifiedGroupKFold knows one class an image, while here an image has objects
of several, or none; and the same folds must come of every version of a library.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog

from ..errors import InputError

_TRIES = 5000  # at dividing one group, so that many take as long as few
_EQUAL = 1e-9  # sums of shares in another order differ by less
LEVELS = ("patient", "slide", "image")
_NAME = re.compile(r"(?P<dataset>.+)_(?P<by>|slide|image)fold(?P<number>\d+)of(?P<count>\d+)"
                   r"_(?P<part>train|val)(?P<merged>@.+)?")  # fmt: skip


def numbers_in(found: re.Match[str], kind: str, example: str) -> tuple[int, int]:
    """The number and the count of a fold or part in a dataset's name.

    Raises:
        InputError: there is none of this number.
    """
    number, count = int(found["number"]), int(found["count"])
    if not (2 <= count and 1 <= number <= count):
        raise InputError(
            f"dataset {found.string!r}: {kind}s are 1 to N of N, at least 2, e.g. {kind}{example}"
        )
    return number, count


@dataclass(frozen=True)
class Fold:
    """One side of one fold.

    Attributes:
        dataset: whose train and val are divided.
        number, count: the second (2) of five (5).
        part: "train" or "val".
        by: what stays together: "patient", "slide" or "image".
        merged: "@class", or nothing.
    """

    dataset: str
    number: int
    count: int
    part: str
    by: str = "patient"
    merged: str = ""

    @classmethod
    def parse(cls, name: str) -> "Fold | None":
        """The fold that a dataset's name stands for; None where it is no such name.

        Raises:
            InputError: there is no fold of this number.
        """
        found = _NAME.fullmatch(name)
        if not found:
            return None
        number, count = numbers_in(found, "fold", "1of5")
        by, merged = found["by"] or "patient", found["merged"] or ""
        return cls(found["dataset"], number, count, found["part"], by, merged)

    @property
    def name(self) -> str:
        """As in ``cfg.DATASETS``."""
        by = "" if self.by == "patient" else self.by
        return f"{self.dataset}_{by}fold{self.number}of{self.count}_{self.part}{self.merged}"

    @property
    def halves(self) -> tuple[str, str]:
        """The datasets that are divided together."""
        return f"{self.dataset}_train{self.merged}", f"{self.dataset}_val{self.merged}"


def fold_names(dataset: str, count: int, by: str = "patient", merged: str = "") -> list[tuple[str, str]]:
    """Train and val of every fold of a dataset, as in ``cfg.DATASETS``."""
    folds = [Fold(dataset, k + 1, count, "train", by, merged) for k in range(count)]
    return [(fold.name, replace(fold, part="val").name) for fold in folds]


def load_fold(fold: Fold) -> list[dict[str, Any]]:
    """The entries of a fold; those of train and val are numbered anew, together, so that ``image_id`` is the
    same in every fold and no two images have one.

    Raises:
        InputError: a half is at fault, or there are fewer patients (slides, images) than folds.
    """
    halves = [name for name in fold.halves if name in DatasetCatalog]
    entries = [entry for name in halves for entry in DatasetCatalog.get(name)]
    entries = [{**entry, "image_id": k + 1} for k, entry in enumerate(entries)]
    first = MetadataCatalog.get(halves[0])
    known = ("thing_classes", "thing_dataset_id_to_contiguous_id")
    MetadataCatalog.get(fold.name).set(**{k: first.get(k) for k in known if first.get(k) is not None})
    try:
        parts = split_folds(entries, fold.count, fold.by)
    except InputError as e:
        finer = {"patient": "slide", "slide": "image"}.get(fold.by)
        other = f", or go by {finer} (--folds-by {finer}, {finer}fold1of{fold.count} ...)" if finer else ""
        raise InputError(f"dataset {fold.name!r}: {e}{other}") from e
    inside = set(parts[fold.number - 1])
    return [entry for k, entry in enumerate(entries) if (k in inside) == (fold.part == "val")]


def split_folds(
    entries: Sequence[Mapping[str, Any]], count: int, by: str = "patient", seed: int = 0
) -> list[list[int]]:
    """Divide images so that no patient is in two folds and each fold has its share of every class.

    What is shared out evenly are images, and images (``label``) or objects (``annotations`` that are not
    ignored) of each class, each as shares of what there is; by slide, also each patient's images of objects.

    Args:
        entries: Detectron2 dataset dicts, of one dataset or several.
        count: of folds.
        by: what stays together: "patient" (an image without one counts by its slide, without that by itself),
            "slide" or "image".
        seed: decides between patients, and between folds, that are equal.

    Returns:
        Indices into ``entries`` of each fold, ascending; every image is in exactly one.

    Raises:
        InputError: fewer patients (slides, images) than folds.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for k, key in enumerate(group_keys(entries, by)):
        groups.setdefault(key, []).append(k)
    if not 2 <= count <= len(groups):
        few = f"ask for 2 to {len(groups)}" if len(groups) > 1 else "there must be two or more"
        raise InputError(f"{len(groups)} {by}(s) cannot be divided into {count} folds: {few}")
    contents = [_content(entry) for entry in entries]
    if by == "slide":
        for content, entry in zip(contents, entries):
            content.update(_person(entry))
    total = sum(contents, Counter())
    kinds = sorted(total, key=str)
    members = [groups[key] for key in sorted(groups)]
    amounts = np.array([[sum(contents[k][c] for k in m) / total[c] for c in kinds] for m in members])
    chosen = _divide(amounts, count, np.random.default_rng(seed))
    return [sorted(k for m, fold in zip(members, chosen) if fold == f for k in m) for f in range(count)]


def _divide(amounts: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """The fold of each group, from its shares of what there is (groups, kinds): the evenest of some tries.

    A try deals the groups out in a drawn order, each to the fold that then holds least of what the group has,
    and moves single ones for as long as the sum of the squares of what folds hold becomes less.
    """
    best, least = np.empty(0, int), np.inf
    for _ in range(max(1, _TRIES // len(amounts))):
        chosen = np.full(len(amounts), -1)
        held = np.zeros((count, amounts.shape[1]))
        order, moved = random.permutation(len(amounts)), True
        while moved:
            moved = False
            for group in order:
                own = chosen[group]
                if own >= 0:
                    held[own] -= amounts[group]
                growth = held @ amounts[group]  # 0 of an empty fold, which so gets the next
                to = growth.argmin()
                if own < 0 or growth[to] < growth[own] - _EQUAL:
                    chosen[group], moved = to, True
                held[chosen[group]] += amounts[group]
        if (held**2).sum() < least - _EQUAL:
            best, least = chosen, (held**2).sum()
    return best


def group_keys(entries: Sequence[Mapping[str, Any]], by: str = "patient") -> list[tuple[str, str]]:
    """What stays together, of every entry: ("patient", name), ("slide", name) or ("image", path and place).

    A slide whose patient one entry names is that patient's in every entry.
    """
    if by not in LEVELS:
        raise InputError(f"folds by {by!r}: use one of {', '.join(LEVELS)}")
    patients = {e["slide"]: e["patient"] for e in entries if e.get("slide") and e.get("patient")}
    keys = []
    for number, entry in enumerate(entries):
        slide = entry.get("slide")
        patient = entry.get("patient") or patients.get(slide)
        if by == "patient" and patient:
            keys.append(("patient", str(patient)))
        elif by != "image" and slide:
            keys.append(("slide", str(slide)))
        else:
            keys.append(
                ("image", f"{os.path.realpath(entry['file_name'])}" if by != "image" else f"{number:09}")
            )
    return keys


def _person(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Folds of images with a class each are as they were before patients were shared out."""
    known = "label" not in entry and entry.get("patient")
    return [("patient", str(entry["patient"]))] if known else []


def _content(entry: Mapping[str, Any]) -> Counter[Any]:
    """One image, and what is in it by class."""
    labels = [entry["label"]] if "label" in entry else []
    objects = [a["category_id"] for a in entry.get("annotations", ()) if not a.get("iscrowd", 0)]
    return Counter(["image", *labels, *objects])
