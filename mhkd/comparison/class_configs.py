"""The config of a row of classification."""

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog

from ..config import load_cfg
from ..config_files import configs_folder
from ..data.folds import Fold
from ..engine.evaluation import prepare_datasets
from ..engine.settled import settled
from ..engine.unread import merge_options, settle_unread
from ..errors import InputError
from .class_rows import ClassRow

FOLDERS = {"lymphoma": "Lymphoma", "glas": "GlaS", "kidney_grade": "KidneyGrade"}
FILE = "resnet18_cpu.yaml"

# What the table sets itself.
RESERVED = (
    "OUTPUT_DIR", "DATASETS.TRAIN", "DATASETS.TEST", "INPUT.LR_FACTOR", "MHKD.SCHEDULE", "MHKD.STAGE",
    "MHKD.UNLABELED", "MHKD.TEACHER_EPOCHS", "MHKD.STUDENT_EPOCHS", "MODEL.WEIGHTS", "MODEL.TEACHER.WEIGHTS",
)  # fmt: skip

CELLS = 4  # along the shorter side of a student's last map, at least
# Which strides become 1, one after the other, until there are so many: of stage 2, the pooling, stages 3 and
# 4 and the first convolution. The earlier a stride, the dearer it is to do without.
_LOWERED = (2, 1, 3, 4, 0)


class ClassConfigs:
    """Of the rows of one table, whose training sets are looked at once each."""

    def __init__(self, epochs: int, options: Sequence[str] = ()) -> None:
        """Begin.

        Args:
            epochs: of every row.
            options: config overrides of all rows, KEY VALUE ...

        Raises:
            InputError: an option that the table sets.
        """
        for key in options[::2]:
            if key in RESERVED:
                raise InputError(
                    f"{key} is set by the table itself, for each row: leave it out of the options"
                )
        self.epochs, self.options = epochs, list(options)
        self._known: dict[tuple[Any, ...], Any] = {}

    def of(self, row: ClassRow, factor: int, fold: tuple[str, str], folder: Path) -> CfgNode:
        """The config that trains ``row`` at ``factor``.

        Args:
            fold: names of training and test images.
            folder: OUTPUT_DIR.

        Raises:
            InputError: a dataset is missing or at fault, or an option does not exist.
        """
        train, test = fold
        found = Fold.parse(train)
        cfg = load_cfg(configs_folder() / FOLDERS.get(found.dataset if found else "", "Lymphoma") / FILE)
        merge_options(cfg, [*self.options, *row.options], f"{row.key}, options")
        settle_unread(cfg, self.options[::2], "options")
        cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (train + row.labelled,), (test,)
        cfg.MHKD.UNLABELED = tuple(train + part for part in row.unlabelled)
        cfg.INPUT.LR_FACTOR, cfg.MHKD.SCHEDULE, cfg.OUTPUT_DIR = factor, row.schedule, str(folder)
        cfg.MHKD.TEACHER_EPOCHS = cfg.MHKD.STUDENT_EPOCHS = self.epochs
        prepare = functools.partial(prepare_datasets, cfg)
        self._once(("checked", row.labelled, row.unlabelled, fold), prepare)
        if not cfg.MODEL.STUDENT.STRIDES:
            side = self._once(("side", train), lambda: _shorter_side_px(train))
            cfg.MODEL.STUDENT.STRIDES = student_strides(side, factor, cfg.MODEL.RESNETS.STRIDES)
        self._settle(cfg)
        cfg.freeze()
        return cfg

    def _settle(self, cfg: CfgNode) -> None:
        """As :func:`mhkd.engine.settled.settled`, in place: a training finds nothing to settle."""
        of_pixels = ("pixels", cfg.INPUT.PIXEL_STATISTICS, cfg.DATASETS.TRAIN)
        pixels = self._once(of_pixels, lambda: _pixels(settled(cfg)))
        cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = pixels
        cfg.INPUT.PIXEL_STATISTICS = "config"
        of_draws = ("draws", cfg.DATASETS.TRAIN, cfg.MHKD.UNLABELED, cfg.MHKD.SCHEDULE)
        counted = self._once(of_draws, lambda: settled(cfg))
        for key in ("CLASSES", "TEACHER_ITERS", "STUDENT_ITERS"):
            cfg.MHKD[key] = counted.MHKD[key]
        cfg.MHKD.TEACHER_EPOCHS = cfg.MHKD.STUDENT_EPOCHS = 0

    def _once(self, key: tuple[Any, ...], value: Callable[[], Any]) -> Any:
        if key not in self._known:
            self._known[key] = value()
        return self._known[key]


def _pixels(cfg: CfgNode) -> tuple[list[float], list[float]]:
    return list(cfg.MODEL.PIXEL_MEAN), list(cfg.MODEL.PIXEL_STD)


def _shorter_side_px(dataset: str) -> int:
    """Median over the images."""
    return int(np.median([min(e["width"], e["height"]) for e in DatasetCatalog.get(dataset)]))


def student_strides(side_px: int, factor: int, strides: list[int]) -> list[int]:
    """The teacher's strides, lowered until the last map of a student has 4 cells along its shorter side, or
    as many as its teacher's.

    Args:
        side_px: the shorter side of an HR image.
        factor: HR pixels per LR pixel.
        strides: of the first convolution, the pooling, stages 2, 3 and 4.
    """
    enough = min(CELLS, cells(side_px, strides))
    strides = list(strides)
    for k in _LOWERED:
        if cells(side_px // factor, strides) >= enough:
            break
        strides[k] = 1
    return strides


def cells(side_px: int, strides: list[int]) -> int:
    """Of the last map, along a side: every layer rounds up."""
    return functools.reduce(lambda side, stride: math.ceil(side / stride), strides, side_px)
