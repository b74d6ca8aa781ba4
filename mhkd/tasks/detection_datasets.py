"""Checks of detection's datasets before training: that they go with each other and with a config."""

import itertools
import logging

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from ..data.copies import warn_of_copies
from ..data.fitness import check_fitness, count_objects, file_of
from ..data.loader import training_entries
from ..data.registrar import (
    CLASSIFICATION,
    check_split_disjoint,
    ensure_registered,
    image_files,
    no_objects,
    values_of,
)
from ..data.semi_supervised import split_by_label
from ..errors import InputError

logger = logging.getLogger(__name__)


def check_datasets(cfg: CfgNode, training: bool) -> None:
    """Register and check the datasets that ``cfg`` names.

    Args:
        training: False where trained weights are only scored: they get the order of the test set's classes.

    Raises:
        InputError: a dataset is missing or at fault, or has no classes, or no boxes; classes differ between
            training and test, slides are in both, MODEL.ROI_HEADS.NUM_CLASSES is not their number of classes;
            an image is too small for INPUT.LR_FACTOR, or there is no object to learn or to score.
    """
    choose_on = [cfg.MHKD.CHOOSE_ON] if training and cfg.MHKD.CHOOSE_ON else []
    names = [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST, *choose_on]
    every = [*names, *cfg.MHKD.UNLABELED]
    ensure_registered(every)
    for name in names:
        if MetadataCatalog.get(name).get("evaluator_type") == CLASSIFICATION:
            raise InputError(
                f"{name} is a dataset of images with a class each: for boxes write annotations_<split>.json, "
                "or train a classifier of it, MHKD.TASK classification"
            )
    dicts = {name: DatasetCatalog.get(name) for name in every}  # reads and checks the files
    classes = {name: list(MetadataCatalog.get(name).thing_classes) for name in names}
    if cfg.MHKD.CLASSES:
        classes = {"MHKD.CLASSES": list(cfg.MHKD.CLASSES), **classes}
    first: str = next(iter(classes if training else cfg.DATASETS.TEST), "")
    for name in classes:
        if not classes[name]:
            raise InputError(
                f"{name} has no categories, so there is nothing to train on or to score: name it in "
                "MHKD.UNLABELED instead of DATASETS"
            )
        in_order = training or name in cfg.DATASETS.TEST
        asked, found = (c if in_order else sorted(c) for c in (classes[first], classes[name]))
        if asked != found:
            raise _other_classes({n: classes[n] for n in (name, first)})
    if first and len(classes[first]) != cfg.MODEL.ROI_HEADS.NUM_CLASSES:
        raise InputError(
            f"{first} has {len(classes[first])} classes ({', '.join(classes[first])}): set "
            f"MODEL.ROI_HEADS.NUM_CLASSES to {len(classes[first])}, not {cfg.MODEL.ROI_HEADS.NUM_CLASSES}"
        )
    for name in every:
        learned = training and name in cfg.DATASETS.TRAIN
        check_fitness(name, dicts[name], cfg.INPUT.LR_FACTOR, learned and cfg.MODEL.MASK_ON)
    _check_objects(cfg, dicts, training)
    for train, test in itertools.product([*cfg.DATASETS.TRAIN, *cfg.MHKD.UNLABELED], cfg.DATASETS.TEST):
        check_split_disjoint(dicts[train], dicts[test], (train, test))
        warn_of_copies(image_files(dicts[train]), image_files(dicts[test]), (train, test))
    for name in choose_on:
        _check_choose_on(name, cfg, dicts)


def _other_classes(classes: dict[str, list[str]]) -> InputError:
    """Of two that should have the same."""
    told = ", ".join(f"{name} has classes {found}" for name, found in classes.items())
    remedy = "make the categories of all splits the same"
    for one, other in itertools.permutations(classes):
        if len(classes[one]) == 1 < len(classes[other]) and other in DatasetCatalog:
            remedy += f", or name {other.partition('@')[0]}@{classes[one][0]}, which has all of them as one"
    return InputError(f"{told}: {remedy}")


def _check_choose_on(name: str, cfg: CfgNode, dicts: dict) -> None:
    """Choices are made on one split, figures come from another."""
    remedy = "choices are made on one split, figures come from another; make a split of its own for it"
    for test in cfg.DATASETS.TEST:
        if test.split("@")[0] == name.split("@")[0]:
            raise InputError(f"MHKD.CHOOSE_ON {name}: is scored too, in DATASETS.TEST: {remedy}")
        names = f"{name} (MHKD.CHOOSE_ON)", test
        check_split_disjoint(dicts[name], dicts[test], names)
        warn_of_copies(image_files(dicts[name]), image_files(dicts[test]), names)
    if not dicts[name]:
        raise InputError(f"MHKD.CHOOSE_ON {name}: has no images to choose on")
    for train in cfg.DATASETS.TRAIN:
        if values_of(dicts[name], "slide") & values_of(dicts[train], "slide"):
            logger.warning(
                f"MHKD.CHOOSE_ON {name}: has slides of {train}, on which scores are higher than on others, "
                "so the threshold will be too high"
            )


def _check_objects(cfg: CfgNode, dicts: dict, training: bool) -> None:
    """Labels that are learned or scored must be of objects."""
    for name in cfg.DATASETS.TEST:
        if not count_objects(dicts[name]):
            raise no_objects(file_of(name), "to score")
    if not (training and cfg.DATASETS.TRAIN):
        return
    own_teacher = not cfg.MODEL.TEACHER.WEIGHTS and cfg.MHKD.TEACHER_ITERS > 0
    learn = {"LABELED_SHARE": cfg.MHKD.UNLABELED_RATIO < 1, "TEACHER_LABELED_SHARE": own_teacher}
    if any(learn.values()) and not any(count_objects(dicts[name]) for name in cfg.DATASETS.TRAIN):
        raise no_objects(", ".join(map(file_of, cfg.DATASETS.TRAIN)), "to learn")
    for key, is_learned in learn.items():
        if not is_learned or cfg.MHKD[key] == 1:
            continue
        labeled, _ = split_by_label(cfg, training_entries(cfg), for_student=key == "LABELED_SHARE")
        if not any(count_objects([labeled[k]]) for k in range(len(labeled))):
            raise no_objects(
                f"MHKD.{key} {cfg.MHKD[key]} of {', '.join(cfg.DATASETS.TRAIN)}, {len(labeled)} images",
                "to learn, so raise it",
            )
