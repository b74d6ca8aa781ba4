"""Registers folders of COCO files as Detectron2 datasets.

``<root>/<name>/annotations_<split>.json``, with its images relative to ``<root>/<name>/``, becomes
``<name>_<split>``; ``<name>_<split>@<class>`` is the same with all categories merged into one
class.
Registering reads no file: checks run when a dataset is used, or through :func:`check_dataset`.
"""

import functools
import glob
import logging
import os
from collections.abc import Iterable, Sequence
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from ..annotations.find import looks_like_coco
from ..coco.read import coco_to_dicts, read_coco, sorted_categories
from ..errors import InputError
from .fitness import count_objects, file_of
from .read_regions import read_regions
from .region_columns import RegionEntries

logger = logging.getLogger(__name__)

MERGED_CLASS = "glomerulus"  # the merged name that is registered beside each plain one
_PREFIX, _SUFFIX = "annotations_", ".json"


def datasets_root(root: str | os.PathLike[str] | None = None) -> str:
    """The folder of the datasets: ``root``, or DETECTRON2_DATASETS, or ``datasets/``."""
    return os.path.expanduser(os.fspath(root or os.environ.get("DETECTRON2_DATASETS") or "datasets"))


def register_folders(root: str | os.PathLike[str] | None = None) -> list[str]:
    """Register every ``<root>/<name>/annotations_<split>.json``; may be called again at any time.

    Args:
        root: folder of the datasets; by default the environment variable
            DETECTRON2_DATASETS, or ``datasets/``.

    Returns:
        The names, sorted: ``<name>_<split>`` and ``<name>_<split>@glomerulus``.
    """
    names = []
    pattern = os.path.join(glob.escape(datasets_root(root)), "*", f"{_PREFIX}*{_SUFFIX}")
    for json_file in sorted(glob.glob(pattern)):
        split = os.path.basename(json_file)[len(_PREFIX) : -len(_SUFFIX)]
        name = f"{os.path.basename(os.path.dirname(json_file))}_{split}"
        if _register(name, json_file):
            names.append(name)
        if _register(f"{name}@{MERGED_CLASS}", json_file):
            names.append(f"{name}@{MERGED_CLASS}")
    return sorted(names)


def ensure_registered(names: Iterable[str], root: str | os.PathLike[str] | None = None) -> None:
    """Register the named datasets, whatever class they merge into, or say what is missing.

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
        json_file = find_json(plain, root)
        if json_file is None or (at and not merged):
            folder, _, split = plain.rpartition("_")
            wanted = os.path.join(datasets_root(root), folder or "NAME", f"annotations_{split}.json")
            raise InputError(
                f"dataset {name!r}: there is no annotation file {wanted}: put it there, or point the "
                "environment variable DETECTRON2_DATASETS at the folder that holds it. Datasets found: "
                + (", ".join(registered) or "none")
            )
        _register(name, json_file)


def dataset_files(name: str, root: str | os.PathLike[str] | None = None) -> dict[str, str]:
    """Annotation files of a dataset or of one of its splits.

    Args:
        name: ``my_kidneys`` for all splits or ``my_kidneys_train`` for one, ``@class`` or not.
        root: as for :func:`register_folders`.

    Returns:
        Name of each split, as in ``cfg.DATASETS``, and its file.

    Raises:
        InputError: there is no such dataset.
    """
    plain, at, merged = name.partition("@")
    folder = os.path.join(datasets_root(root), plain)
    found = sorted(glob.glob(os.path.join(glob.escape(folder), f"{_PREFIX}*{_SUFFIX}")))
    if found:
        prefix = os.path.basename(os.path.normpath(folder))
        splits = [os.path.basename(f)[len(_PREFIX) : -len(_SUFFIX)] for f in found]
        return {f"{prefix}_{s}{at}{merged}": f for s, f in zip(splits, found)}
    json_file = find_json(plain, root)
    if json_file is None:
        known = sorted({n.partition("@")[0] for n in register_folders(root)})
        raise InputError(
            f"dataset {name!r}: there is no {folder}/{_PREFIX}*{_SUFFIX}: put it there, or point the "
            "environment variable DETECTRON2_DATASETS at the folder that holds it. Datasets found: "
            f"{', '.join(known) or 'none'}"
        )
    return {name: json_file}


def stray_files(folder: str) -> list[str]:
    """COCO files of a dataset's folder that no name makes a split."""
    names = sorted(n for n in os.listdir(folder or ".") if n.lower().endswith(_SUFFIX))
    others = [os.path.join(folder, n) for n in names if not n.startswith((_PREFIX, "."))]
    return [path for path in others if looks_like_coco(path)]


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
) -> None:
    """Make sure that no slide is on both sides of a split.

    Args:
        train_dicts, val_dicts: dataset dicts; an image without the key ``slide``
            counts as a slide of its own.
        names: what to call the two in the message.

    Raises:
        InputError: a slide is in both.
    """
    both = sorted(values_of(train_dicts, "slide") & values_of(val_dicts, "slide"))
    if both:
        raise InputError(
            f"{both[0]}: this slide is in both {names[0]} and {names[1]} (as are {len(both) - 1} others): "
            "split by slide, or the scores mean nothing"
        )


def values_of(dicts: Sequence[dict[str, Any]], key: str) -> set[Any]:
    """Of a dataset's entries; key is "slide" (see :func:`slide_of`) or "mpp" (None: unknown)."""
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
    return {d["region"]["slide_file"] if d.get("region") else d["file_name"] for d in dicts}


def slide_of(entry: dict[str, Any]) -> str:
    """The slide of a dataset dict; its file where it does not say."""
    return str(entry.get("slide") or os.path.realpath(entry["file_name"]))


def find_json(plain_name: str, root: str | os.PathLike[str] | None) -> str | None:
    """The annotation file of ``<name>_<split>``; both parts may have underscores of their own."""
    parts = plain_name.split("_")
    for i in range(len(parts) - 1, 0, -1):
        folder, split = "_".join(parts[:i]), "_".join(parts[i:])
        path = os.path.join(datasets_root(root), folder, f"{_PREFIX}{split}{_SUFFIX}")
        if os.path.exists(path):
            return path
    return None


def _register(name: str, json_file: str) -> bool:
    """Whether the name now stands for this file."""
    if name in DatasetCatalog:
        ours = getattr(MetadataCatalog.get(name), "annotation_file", None)
        if ours == json_file:
            return True
        if ours is None:
            logger.warning("%s: the name %s is taken by another dataset", json_file, name)
            return False
        DatasetCatalog.remove(name)  # the root has changed
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, lambda: _load(name, json_file))
    meta = MetadataCatalog.get(name)
    meta.set(annotation_file=json_file, image_root=os.path.dirname(json_file), evaluator_type="coco")
    # No json_file: evaluators then make the ground truth from the dataset dicts, where classes are
    # merged and the keys that an annotation file may lack (area, iscrowd) are filled in.
    return True


def _load(name: str, json_file: str) -> Sequence[dict[str, Any]]:
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
    pattern = os.path.join(glob.escape(os.path.dirname(json_file)), f"{_PREFIX}*{_SUFFIX}")
    for other in sorted(glob.glob(pattern)):
        if os.path.samefile(other, json_file):
            continue
        theirs = _categories_of(other)
        if theirs != categories:
            raise InputError(
                f"{json_file}: its categories {dict(categories)} differ from those of {other} "
                f"{dict(theirs)}: give all splits of a dataset the same categories and ids"
            )
