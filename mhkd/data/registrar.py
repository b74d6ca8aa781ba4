"""Registers folders of COCO files, and of images with a class each, as Detectron2 datasets.

``<root>/<name>/annotations_<split>.json``, with its images relative to ``<root>/<name>/``, becomes
``<name>_<split>``; ``<name>_<split>@<class>`` is the same with all categories merged into one
class. ``labels_<split>.csv`` becomes ``<name>_<split>`` too (:mod:`mhkd.data.labels`), and the train and val
of either the folds ``<name>_fold1of5_train``, ``<name>_fold1of5_val`` ... (:mod:`mhkd.data.folds`).
Registering reads no file: checks run when a dataset is used, or through :func:`check_dataset`.
"""

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from ..coco.read import coco_to_dicts, read_coco, slide_of, sorted_categories, source_file
from ..errors import InputError
from .dataset_files import (
    all_datasets,
    check_only_form,
    datasets_root,
    find_file,
    is_labels,
    splits_in,
)
from .fitness import count_objects, file_of
from .folds import Fold, load_fold
from .labels import classes_of_dataset, labelled, read_labels
from .parts import Part, load_part
from .read_regions import read_regions
from .region_columns import RegionEntries

logger = logging.getLogger(__name__)

MERGED_CLASS = "glomerulus"  # the merged name that is registered beside each plain one
CLASSIFICATION = "classification"  # evaluator_type of images with a class each
_held: dict[tuple[str, str], Sequence[dict[str, Any]]] | None = None  # by name and file


def register_folders(root: str | os.PathLike[str] | None = None) -> list[str]:
    """Register the file of every split in every ``<root>/<name>/``; may be called again at any time.

    Args:
        root: folder of the datasets; by default the environment variable
            DETECTRON2_DATASETS, or ``datasets/``.

    Returns:
        The names, sorted: ``<name>_<split>`` and, of COCO files, ``<name>_<split>@glomerulus``.
    """
    names = []
    for plain, path in all_datasets(root).items():
        for name in (plain,) if is_labels(path) else (plain, f"{plain}@{MERGED_CLASS}"):
            if _register(name, path):
                names.append(name)
    return sorted(names)


def ensure_registered(names: Iterable[str], root: str | os.PathLike[str] | None = None) -> None:
    """Register the named datasets, whatever class they merge into, folds and parts, or say what is missing.

    Args:
        names: as in ``cfg.DATASETS``. Names registered by others are left alone.
        root: as for :func:`register_folders`.

    Raises:
        InputError: there is no annotation file for a name.
    """
    registered = register_folders(root)
    for name in names:
        if name in DatasetCatalog:
            continue
        plain, at, merged = name.partition("@")
        path = find_file(plain, root)
        fold, part = Fold.parse(name), Part.parse(name)
        if path is None and fold is not None:
            halves = [h for h in fold.halves if find_file(h.partition("@")[0], root)] or fold.halves[:1]
            ensure_registered(halves, root)
            _register_derived(name, halves, functools.partial(load_fold, fold))
            continue
        if path is None and part is not None:
            ensure_registered([part.whole], root)
            _register_derived(name, [part.whole], functools.partial(load_part, part))
            continue
        if path is None or (at and not merged):
            folder, _, split = plain.rpartition("_")
            wanted = os.path.join(datasets_root(root), folder or "NAME", f"annotations_{split}.json")
            raise InputError(
                f"dataset {name!r}: there is no annotation file {wanted} or labels_{split}.csv: put it "
                "there, or point the environment variable DETECTRON2_DATASETS at the folder that holds it. "
                "Datasets found: " + (", ".join(registered) or "none")
            )
        if at and is_labels(path):
            raise InputError(f"dataset {name!r}: its images have one class each, which @ cannot merge: leave "
                             f"out @{merged}")  # fmt: skip
        _register(name, path)


@contextlib.contextmanager
def datasets_held() -> Iterator[None]:
    """Within it a dataset is read, and its images checked, when it is first asked for and never again: an
    image that is damaged later is noticed where it is decoded."""
    global _held
    before, _held = _held, {}
    try:
        yield
    finally:
        _held = before


def annotation_files(name: str) -> list[str]:
    """What a registered dataset is read from: one file, or those of both halves of a fold; none where others
    registered it."""
    meta = MetadataCatalog.get(name)
    file = meta.get("annotation_file")
    return meta.get("annotation_files") or ([file] if file else [])


def check_dataset(name: str) -> Sequence[dict[str, Any]]:
    """Load a registered dataset with every check.

    Args:
        name: a registered name.

    Returns:
        Its dataset dicts.

    Raises:
        InputError: the first fault found, with its file and remedy; or there is no annotated
            object.
    """
    dicts = DatasetCatalog.get(name)
    if not count_objects(dicts):
        raise no_objects(file_of(name), "to train on or to score")
    return dicts


def no_objects(where: str, what_for: str) -> InputError:
    """The error of a dataset, or several, in which every image is empty."""
    return InputError(f"{where}: no image has an annotation that counts: there is nothing {what_for}")


def check_split_disjoint(
    train_dicts: Sequence[dict[str, Any]],
    val_dicts: Sequence[dict[str, Any]],
    names: tuple[str, str] = ("the training data", "the validation data"),
    key: str = "slide",
) -> None:
    """Make sure that no slide is on both sides of a split, or no patient.

    Args:
        train_dicts, val_dicts: dataset dicts; an image without the key ``slide``
            counts as a slide of its own.
        names: what to call the two in the message.
        key: "slide" or "patient".

    Raises:
        InputError: one is in both.
    """
    both = sorted((values_of(train_dicts, key) & values_of(val_dicts, key)) - {None})
    if both:
        raise InputError(
            f"{both[0]}: this {key} is in both {names[0]} and {names[1]} (as are {len(both) - 1} others): "
            f"split by {key}, or the scores mean nothing"
        )


def values_of(dicts: Sequence[dict[str, Any]], key: str) -> set[Any]:
    """Of a dataset's entries; key is "slide" (see :func:`slide_of`), "patient" or "mpp" (None: unknown)."""
    if isinstance(dicts, RegionEntries):
        return dicts.values(key)
    return {slide_of(d) if key == "slide" else d.get(key) for d in dicts}


def has_ignored(dicts: Sequence[dict[str, Any]]) -> bool:
    """Whether a dataset's entries have annotations to be ignored (``iscrowd``)."""
    if isinstance(dicts, RegionEntries):
        return dicts.has_ignored()
    return any(a.get("iscrowd", 0) for d in dicts for a in d.get("annotations", ()))


def image_files(dicts: Sequence[dict[str, Any]], view: str = "HR") -> set[str]:
    """The files that a dataset's "HR" images, or the "LR" images that it brings, are read from."""
    if isinstance(dicts, RegionEntries):
        return dicts.values("file") if view == "HR" else set()
    if view == "LR":
        return {d["lr_file_name"] for d in dicts if d.get("lr_file_name")}
    return set(map(source_file, dicts))


def _register(name: str, path: str) -> bool:
    """Whether the name now stands for this file."""
    if name in DatasetCatalog:
        ours = getattr(MetadataCatalog.get(name), "annotation_file", None)
        if ours == path:
            return True
        if ours is None:
            logger.warning("%s: the name %s is taken by another dataset", path, name)
            return False
        DatasetCatalog.remove(name)  # the root has changed
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, lambda: _read(name, path))
    meta = MetadataCatalog.get(name)
    kind = CLASSIFICATION if is_labels(path) else "coco"
    meta.set(annotation_file=path, image_root=os.path.dirname(path), evaluator_type=kind)
    # No json_file: evaluators then make the ground truth from the dataset dicts, where classes are
    # merged and the keys that an annotation file may lack (area, iscrowd) are filled in.
    return True


def _register_derived(
    name: str, sources: Sequence[str], load: Callable[[], Sequence[dict[str, Any]]]
) -> None:
    """A fold or a part, over the datasets ``sources``, which are registered."""
    DatasetCatalog.register(name, load)
    first, meta = MetadataCatalog.get(sources[0]), MetadataCatalog.get(name)
    meta.set(**{k: first.get(k) for k in ("annotation_file", "image_root", "evaluator_type")})
    meta.set(annotation_files=[file for source in sources for file in annotation_files(source)])


def _read(name: str, path: str) -> Sequence[dict[str, Any]]:
    load = _load_labels if is_labels(path) else _load
    if _held is None:
        return load(name, path)
    if (name, path) not in _held:
        _held[name, path] = load(name, path)
    found = _held[name, path]
    return list(found) if isinstance(found, list) else found


def _load_labels(name: str, csv_file: str) -> list[dict[str, Any]]:
    check_only_form(csv_file)
    entries = read_labels(csv_file)
    classes = classes_of_dataset(csv_file) if labelled(entries) else []
    MetadataCatalog.get(name).set(thing_classes=classes)
    logger.info("%s: %d images, %d classes", name, len(entries), len(classes))
    return entries


def _load(name: str, json_file: str) -> Sequence[dict[str, Any]]:
    check_only_form(json_file)
    regions = read_regions(json_file)
    content = {} if regions else read_coco(json_file)
    categories = regions.categories if regions else sorted_categories(content, json_file)
    _check_siblings(json_file, categories)
    merged = categories and name.partition("@")[2]  # without categories there is nothing to merge
    if merged:
        classes, id_map = [merged], {i: 0 for i, _ in categories}
    else:
        classes = [c for _, c in categories]
        id_map = {i: k for k, (i, _) in enumerate(categories)}
    dicts: Sequence[dict[str, Any]]
    if regions:
        dicts, num_objects = regions, regions.num_annotations
        regions.id_map = id_map
    else:
        dicts = coco_to_dicts(content, json_file, os.path.dirname(json_file), id_map)
        num_objects = len(content["annotations"])
    meta = MetadataCatalog.get(name)
    meta.set(thing_classes=classes)
    # The merged class has an id of its own in the ground truth that Detectron2 makes of it.
    meta.set(thing_dataset_id_to_contiguous_id={1: 0} if merged else id_map)
    logger.info("%s: %d images, %d objects", name, len(dicts), num_objects)
    return dicts


def _categories_of(json_file: str) -> tuple[tuple[int, str], ...]:
    """((id, name), ...), remembered until the file changes."""
    stat = os.stat(json_file)
    return _read_categories(json_file, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=256)
def _read_categories(json_file: str, _mtime_ns: int, _size: int) -> tuple[tuple[int, str], ...]:
    regions = read_regions(json_file)
    return regions.categories if regions else sorted_categories(read_coco(json_file), json_file)


def _check_siblings(json_file: str, categories: tuple[tuple[int, str], ...]) -> None:
    """All splits of a dataset must have the same categories under the same ids."""
    for other in splits_in(os.path.dirname(json_file)):
        if is_labels(other) or os.path.samefile(other, json_file):
            continue
        theirs = _categories_of(other)
        if theirs != categories:
            raise InputError(
                f"{json_file}: its categories {dict(categories)} differ from those of {other} "
                f"{dict(theirs)}: give all splits of a dataset the same categories and ids"
            )
