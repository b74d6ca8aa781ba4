"""Reads a dataset whatever is wrong with it, and counts what is.

Loading a dataset for training stops at the first fault, see :mod:`mhkd.coco.read`.
"""

import functools
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from ..coco.read import XYWH_ABS, category_name, image_to_dict, load_coco, read_outline
from ..coco.schema import (
    ANNOTATION_KEYS,
    CATEGORY_KEYS,
    IMAGE_KEYS,
    bbox_fault,
    is_ignored,
    is_number,
    missing_keys,
    record_fault,
)
from ..errors import InputError
from ..slides.images import read_rgb
from .dataset_files import is_labels, split_of
from .on_slide import check_region

WHOLE_IMAGE = 0.98  # of the sides of an image: an object that fills it
_EXAMPLES = 3
_BOX_FAULTS = {
    "no numbers": "boxes that are no numbers",
    "no area": "boxes without an area",
    "outside": "boxes that reach outside their images",
}


@dataclass
class Split:
    """One split of a dataset, as far as it can be read.

    Attributes:
        name: as in ``cfg.DATASETS``.
        json_file: its annotation file, COCO's or a table of labels.
        classes: category id, or label, -> class.
        entries: Detectron2 dataset dicts of the images without faults; their ``category_id`` is the file's.
            Those of a table of labels have ``label``, and no annotations.
        num_images: with those at fault.
    """

    name: str
    json_file: str
    classes: dict[int, str]
    entries: list[dict[str, Any]]
    num_images: int

    @property
    def split(self) -> str:
        """ "train" of ``annotations_train.json``."""
        return split_of(self.json_file)

    @property
    def is_labelled(self) -> bool:
        """Whether it is of images with a class each, not of boxes."""
        return is_labels(self.json_file)

    def classes_in(self, entry: dict[str, Any]) -> list[str]:
        """The classes of an image, or of its objects that are not ignored."""
        ids = [entry["label"]] if "label" in entry else []
        return [
            self.classes[k]
            for k in ids + [a["category_id"] for a in entry["annotations"] if not a["iscrowd"]]
        ]


@dataclass
class Warnings:
    """What looks wrong: counts and a few examples by kind."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, example: object, n: int = 1) -> None:
        self.counts[kind] += n
        if len(self.examples[kind]) < _EXAMPLES:
            self.examples[kind].append(str(example))

    def lines(self) -> list[str]:
        """One for each kind."""
        return [f"{n} {kind}: {'; '.join(self.examples[kind])}" for kind, n in self.counts.items()]


def read_split(name: str, json_file: str, warnings: Warnings) -> Split:
    """Read one split, as far as it can be read.

    Args:
        name: as in ``cfg.DATASETS``; ``...@glomerulus`` merges the classes.
        json_file: its annotation file.
        warnings: to fill.

    Raises:
        InputError: the file is missing or no COCO file at all.
    """
    content = load_coco(json_file)
    merged = name.partition("@")[2]
    classes: dict[int, str] = {}
    names = set()
    for category in _records(content["categories"], CATEGORY_KEYS, name, "categories", warnings):
        try:
            own = category_name(category, json_file)
        except InputError as e:
            warnings.add("categories that training refuses", e)
            own = str(category["name"])
        if own in names:
            warnings.add("categories with the name of another", f"{name}: {own}")
        names.add(own)
        classes[category["id"]] = merged or own
    entries, refused = {}, set()
    images = _records(content["images"], IMAGE_KEYS, name, "images", warnings)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = pool.map(functools.partial(_entry_or_fault, json_file=json_file), images)
        for image, found in zip(images, tqdm(read, name, len(images), unit="image", leave=False)):
            if isinstance(found, InputError):
                warnings.add("images that training refuses", found)
                refused.add(image["id"])
            else:
                entries[image["id"]] = found

    seen: Counter[tuple[Any, ...]] = Counter()
    for annotation in _records(content["annotations"], ANNOTATION_KEYS, name, "annotations", warnings):
        where = f"{name}: annotation {annotation['id']}"
        entry = entries.get(annotation["image_id"])
        if entry is None:
            if annotation["image_id"] not in refused:
                warnings.add("annotations of no image", where)
            continue
        if annotation["category_id"] not in classes:
            warnings.add("annotations of no category", where)
            continue
        bbox = annotation["bbox"]
        fault = bbox_fault(bbox, entry["width"], entry["height"])
        if fault:
            image = os.path.basename(entry["file_name"])
            warnings.add(_BOX_FAULTS[fault], f"{where} has {bbox} ({image})")
            continue
        try:
            ignored = is_ignored(annotation, f"{json_file}: annotation {annotation['id']}")
        except InputError as e:
            warnings.add("annotations that training refuses", e)
            continue
        if ignored and annotation.get("outside_field"):
            continue  # nothing that was drawn
        _, odd = read_outline(annotation, entry)
        if odd:
            warnings.add(f"objects whose outline {odd}", where)
        if size := _larger_than_image(annotation, entry):
            kind = (entry.get("slide"), annotation["category_id"], *size)
            seen[kind] += 1
            if seen[kind] == 1:  # it is there in many tiles
                what = "objects as large as their image, or larger (are they regions of interest?)"
                own = classes[annotation["category_id"]]
                warnings.add(what, f"{where}: {own} of {size[0]:g}x{size[1]:g} px")
        key = (annotation["image_id"], annotation["category_id"], tuple(bbox))
        seen[key] += 1
        if seen[key] == 2:
            warnings.add("objects that are there more than once", where)
        entry["annotations"].append(
            {
                "bbox": [float(v) for v in bbox],
                "bbox_mode": XYWH_ABS,
                "category_id": annotation["category_id"],
                "iscrowd": int(ignored),
            }
        )
    ordered = [entries[k] for k in sorted(entries)]
    # Without categories it is for MHKD.UNLABELED.
    if content["categories"] and not any(not a["iscrowd"] for e in ordered for a in e["annotations"]):
        warnings.add("splits without a single object", name)
    return Split(name, json_file, classes, ordered, len(content["images"]))


def _larger_than_image(annotation: dict[str, Any], entry: dict[str, Any]) -> tuple[float, float] | None:
    """Width and height of such an object; None if it is smaller.

    ``mhkd tile`` says how large an object is of which a tile shows a part.
    """
    size = (entry["width"], entry["height"])
    given = annotation.get("object_px")
    if isinstance(given, list) and len(given) == 2 and all(is_number(v) for v in given):
        return (given[0], given[1]) if given[0] > size[0] or given[1] > size[1] else None
    box = annotation["bbox"][2:]
    return size if all(b >= WHOLE_IMAGE * s for b, s in zip(box, size, strict=True)) else None


def _entry_or_fault(image: dict[str, Any], json_file: str) -> dict[str, Any] | InputError:
    """An image entry, or its fault; its files are decoded, regions are not read."""
    try:
        entry = image_to_dict(image, json_file, os.path.dirname(json_file))
        if "region" in entry:
            check_region(entry, json_file)
        else:
            read_rgb(entry["file_name"])
        if "lr_file_name" in entry:
            read_rgb(entry["lr_file_name"])
        return entry
    except InputError as e:
        return e


def _records(
    records: Iterable[Any], keys: Sequence[str], name: str, what: str, warnings: Warnings
) -> list[dict[str, Any]]:
    """The records that have the keys and an id of their own."""
    ids: set[int] = set()
    good: list[dict[str, Any]] = []
    for number, record in enumerate(records, 1):
        fault = record_fault(record, keys, ids)
        if fault == "no keys":
            missing = ", ".join(missing_keys(record, keys))
            warnings.add(f"{what} without {missing}", f"{name}: number {number}")
        elif fault == "no id":
            warnings.add(f"{what} whose ids are no whole numbers", f"{name}: number {number}")
        elif fault == "same id":
            warnings.add(f"{what} with the id of another", f"{name}: id {record['id']}")
        else:
            good.append(record)
    return good
