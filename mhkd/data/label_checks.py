"""Whether datasets of images with a class each go with each other, before anything is trained on them."""

import itertools
import logging
from collections.abc import Sequence
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from ..errors import InputError
from .copies import warn_of_copies
from .fitness import check_fitness, file_of
from .folds import Fold
from .labels import identity, labelled
from .registrar import CLASSIFICATION, check_split_disjoint, ensure_registered, image_files

logger = logging.getLogger(__name__)


def check_labelled_datasets(
    train: Sequence[str], test: Sequence[str], unlabeled: Sequence[str] = (), lr_factor: int = 1
) -> list[str]:
    """Register and check the datasets that a classifier is trained on and scored on.

    Args:
        train, test, unlabeled: as in DATASETS.TRAIN, DATASETS.TEST and MHKD.UNLABELED; any may be empty.
        lr_factor: HR pixels per LR pixel.

    Returns:
        The classes, in the order of ``label``.

    Raises:
        InputError: a dataset is missing, at fault or one of boxes; images have no class, training images
            only one, or test images one that training does not see; datasets have other classes; a slide,
            patient or image is on both sides; an image is too small for ``lr_factor``.
    """
    every = [*train, *test, *unlabeled]
    ensure_registered(every)
    dicts: dict[str, Sequence[dict[str, Any]]] = {}
    for name in every:
        dicts[name] = DatasetCatalog.get(name)
        if MetadataCatalog.get(name).get("evaluator_type") != CLASSIFICATION:
            raise InputError(
                f"{name} is a dataset of boxes: for images with a class each write labels_<split>.csv, as "
                "mhkd tile --task classification does"
            )
        check_fitness(name, dicts[name], lr_factor)
    classes = {name: list(MetadataCatalog.get(name).thing_classes) for name in (*train, *test)}
    for name, found in classes.items():
        if not labelled(dicts[name]):
            raise InputError(
                f"{file_of(name)}: its images have no class: name {name} in MHKD.UNLABELED instead"
            )
        first = next(iter(classes))
        if found != classes[first]:
            raise InputError(
                f"{name} has classes {found}, {first} has {classes[first]}: make them the same in all"
            )
    all_classes = next(iter(classes.values()), [])
    if train:
        _check_seen(train, test, dicts, all_classes)
    for learned, scored in itertools.product([*train, *unlabeled], test):
        for key in ("slide", "patient"):
            by = getattr(Fold.parse(scored), "by", "patient")
            if key == by or by == "patient":
                check_split_disjoint(dicts[learned], dicts[scored], (learned, scored), key)
        ours, theirs = ({identity(e): e["file_name"] for e in dicts[name]} for name in (learned, scored))
        if both := sorted(theirs[key] for key in ours.keys() & theirs.keys()):
            raise InputError(f"{both[0]}: this image is in both {learned} and {scored}: remove one")
        warn_of_copies(image_files(dicts[learned]), image_files(dicts[scored]), (learned, scored))
    return all_classes


def _check_seen(
    train: Sequence[str], test: Sequence[str], dicts: dict[str, Sequence[dict[str, Any]]], classes: list[str]
) -> None:
    """What is scored has been learned, and there is something to tell apart."""
    learned = {e["label"] for name in train for e in dicts[name]}
    if len(learned) < 2:
        raise InputError(
            f"{', '.join(map(file_of, train))}: has only the class {classes[learned.pop()]!r}: there is "
            "nothing to tell apart, so add images of another"
        )
    for name in test:
        scored = {e["label"] for e in dicts[name]}
        if unseen := [classes[k] for k in sorted(scored - learned)]:
            raise InputError(
                f"{file_of(name)}: {name} has images of {', '.join(map(repr, unseen))}, of which training "
                f"has none ({', '.join(train)}): add some there, or remove them here"
            )
        if unscored := [classes[k] for k in sorted(learned - scored)]:
            logger.warning(f"{name} has no image of {', '.join(map(repr, unscored))}, which training has")
