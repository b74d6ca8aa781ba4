"""Few labels and unlabelled tissue: which images a step knows the annotations of."""

from fractions import Fraction
from typing import Any, Protocol

import numpy as np
import torch.utils.data as torchdata
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog

from ..errors import InputError


class Entries(Protocol):
    """Dataset dicts by their number: a list, or one of torch's datasets that has a length."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class Unlabeled(torchdata.Dataset[dict[str, Any]]):
    """Dataset dicts without annotations or class, marked ``"unlabeled": True`` as they are asked for."""

    def __init__(self, entries: Entries):
        self.entries = entries

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> dict[str, Any]:
        entry = {k: v for k, v in self.entries[index].items() if k not in ("annotations", "label")}
        return {**entry, "unlabeled": True}


def share_of(n: int, share: float) -> int:
    """``share`` of ``n``, rounded down; exactly as the share is written: 0.29 of 100 is 29."""
    return int(n * Fraction(str(share)))


def check_label_settings(cfg: CfgNode) -> None:
    """Check the shares, MHKD.UNLABELED_RATIO and UNLABELED.

    Raises:
        InputError: they cannot be meant.
    """
    share, ratio = cfg.MHKD.LABELED_SHARE, cfg.MHKD.UNLABELED_RATIO
    for key in ("LABELED_SHARE", "TEACHER_LABELED_SHARE"):
        if not 0 < cfg.MHKD[key] <= 1:
            raise InputError(f"MHKD.{key} {cfg.MHKD[key]}: must be more than 0 and at most 1")
    if not 0 <= ratio <= 1:
        raise InputError(f"MHKD.UNLABELED_RATIO {ratio}: must be at least 0 and at most 1")
    if ratio and share == 1 and not cfg.MHKD.UNLABELED:
        raise nothing_unlabeled(cfg)


def check_train_names(cfg: CfgNode) -> None:
    """Where DATASETS.TRAIN is (), what training needs instead is there.

    Raises:
        InputError: it is not.
    """
    needed = {
        "MHKD.UNLABELED_RATIO 1.0": cfg.MHKD.UNLABELED_RATIO == 1,
        "MHKD.UNLABELED (names of datasets)": cfg.MHKD.UNLABELED,
        "MODEL.TEACHER.WEIGHTS (its file)": cfg.MODEL.TEACHER.WEIGHTS,
        "MHKD.CLASSES (the teacher's, \"['glomerulus']\")": cfg.MHKD.CLASSES,
    }
    missing = [what for what, found in needed.items() if not found]
    if missing and not cfg.DATASETS.TRAIN:
        raise InputError(f"DATASETS.TRAIN is (), so set also {', '.join(missing)}")


def split_by_label(cfg: CfgNode, entries: Entries, for_student: bool = True) -> tuple[Entries, Entries]:
    """What a step draws from.

    Args:
        entries: sequence of the dataset dicts of DATASETS.TRAIN.
        for_student: whether it is one of the student's, or the teacher's own.

    Returns:
        Two sequences of dataset dicts: those whose annotations are known, MHKD.LABELED_SHARE (of the
        teacher MHKD.TEACHER_LABELED_SHARE) of ``entries`` but at least one, chosen by SEED so that a
        smaller share is part of a larger one; and the unlabelled, which are the others and those of
        MHKD.UNLABELED. The latter is empty for the teacher and where MHKD.UNLABELED_RATIO is 0.

    Raises:
        InputError: see :func:`check_label_settings`.
    """
    check_label_settings(cfg)
    others: Entries = []
    share = cfg.MHKD.LABELED_SHARE if for_student else cfg.MHKD.TEACHER_LABELED_SHARE
    count = max(1, share_of(len(entries), share))
    if count < len(entries):
        order = np.random.default_rng((cfg.SEED, 0, 2)).permutation(len(entries))  # no epoch's order
        subset: Any = torchdata.Subset  # which takes a list of dicts too
        others = subset(entries, sorted(order[count:].tolist()))
        entries = subset(entries, sorted(order[:count].tolist()))
    if not for_student or not cfg.MHKD.UNLABELED_RATIO:
        return entries, []
    sources = [s for s in (others, *map(DatasetCatalog.get, cfg.MHKD.UNLABELED)) if len(s)]
    if not sources:
        raise nothing_unlabeled(cfg)
    return entries, Unlabeled(torchdata.ConcatDataset(sources))


def nothing_unlabeled(cfg: CfgNode) -> InputError:
    return InputError(
        f"MHKD.UNLABELED_RATIO {cfg.MHKD.UNLABELED_RATIO}: there is no unlabelled image: name datasets in "
        "MHKD.UNLABELED, lower MHKD.LABELED_SHARE, or set the ratio to 0"
    )
