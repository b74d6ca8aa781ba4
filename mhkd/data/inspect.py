"""What is in a dataset, and everything that looks wrong with it.

Loading a dataset stops at its first fault; here all of them are counted, and what is no fault but
makes scores meaningless (a slide in two splits, a wrong resolution) is found too.
"""

import math
import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from mhkd.data.coco import (
    ANNOTATION_KEYS,
    IMAGE_KEYS,
    bbox_fault,
    image_to_dict,
    load_coco,
)
from mhkd.data.registrar import dataset_files, slide_of
from mhkd.errors import InputError
from mhkd.wsi.slide import open_slide

import numpy as np
from detectron2.structures import BoxMode
from tqdm import tqdm

# Glomeruli are 70 to 350 um wide. If a slide's median, with those that edges cut, is outside of this,
# its resolution is wrong.
PLAUSIBLE_UM = (30.0, 600.0)
SLIDE_RATIO, OBJECT_RATIO = 3.0, 5.0  # to the median of all slides, and to that of the class
MIN_OBJECTS = 5  # a median of fewer says nothing
_EXAMPLES = 3


@dataclass
class Split:
    """One split of a dataset, as far as it can be read.

    Attributes:
        name (str): as in ``cfg.DATASETS``.
        json_file (str): its annotation file.
        classes (dict[int, str]): category id -> class.
        entries (list[dict]): Detectron2 dataset dicts of the images without faults; their
            ``category_id`` is the file's.
        num_images (int): with those at fault.
    """

    name: str
    json_file: str
    classes: dict
    entries: list
    num_images: int

    @property
    def split(self):
        """str: "train" of ``annotations_train.json``."""
        return os.path.basename(self.json_file)[len("annotations_") : -len(".json")]


@dataclass
class Warnings:
    """What looks wrong: counts and a few examples by kind."""

    counts: Counter = field(default_factory=Counter)
    examples: dict = field(default_factory=lambda: defaultdict(list))

    def add(self, kind, example, n=1):
        self.counts[kind] += n
        if len(self.examples[kind]) < _EXAMPLES:
            self.examples[kind].append(str(example))

    def lines(self):
        """list[str]: one for each kind."""
        return [f"{n} {kind}: {'; '.join(self.examples[kind])}" for kind, n in self.counts.items()]


def inspect_datasets(names, root=None):
    """Read datasets and look for everything that is wrong with them.

    Args:
        names (Iterable[str]): of datasets (``kidney_roi``: all splits) or splits
            (``kidney_roi_train``); ``...@glomerulus`` merges the classes.
        root (str, optional): see :func:`mhkd.data.register_folders`.

    Returns:
        tuple[list[Split], Warnings]

    Raises:
        InputError: there is no such dataset, or an annotation file is no COCO file at all.
    """
    warnings = Warnings()
    files = {n: path for name in names for n, path in dataset_files(name, root).items()}
    splits = [_read(name, path, warnings) for name, path in files.items()]
    _compare_splits(splits, warnings)
    _check_sizes(splits, warnings)
    return splits, warnings


def summary(split, unit):
    """Figures of one split.

    Args:
        split (Split): from :func:`inspect_datasets`.
        unit (str): "um" or "px", of the sizes.

    Returns:
        dict: ready for JSON; patients and mpp are None where none is recorded.
    """
    objects = [(e, a) for e in split.entries for a in e["annotations"]]
    counted = Counter(split.classes[a["category_id"]] for _, a in objects if not a["iscrowd"])
    mpps = [m for e in split.entries if (m := mpp_of(e))]
    patients = {str(e["patient"]) for e in split.entries if "patient" in e}
    return {
        "annotation_file": split.json_file,
        "images": split.num_images,
        "images_without_objects": sum(not e["annotations"] for e in split.entries),
        "slides": len({slide_of(e) for e in split.entries}),
        "patients": len(patients) or None,
        "objects": sum(counted.values()),
        "ignored": sum(a["iscrowd"] for _, a in objects),
        "objects_by_class": {c: counted[c] for c in dict.fromkeys(split.classes.values())},
        "mpp": [min(mpps), max(mpps)] if mpps else None,
        f"size_{unit}": {
            c: dict(zip(("min", "p5", "median", "p95", "max"), _quantiles(values)))
            for c, values in sizes(split, unit).items()
        },
    }


def sizes(split, unit):
    """Sizes of the objects by class, ignored ones left out.

    Args:
        split (Split): from :func:`inspect_datasets`.
        unit (str): "um" or "px".

    Returns:
        dict[str, ndarray]: square roots of the boxes' areas; classes without objects are left out.
    """
    found = defaultdict(list)
    for entry in split.entries:
        for annotation in entry["annotations"]:
            if not annotation["iscrowd"]:
                found[split.classes[annotation["category_id"]]].append(
                    _size(annotation, entry, unit)
                )
    return {c: np.array(found[c]) for c in dict.fromkeys(split.classes.values()) if c in found}


def common_unit(splits):
    """str: "um" if every image records its resolution, else "px"."""
    return "um" if all(mpp_of(e) for s in splits for e in s.entries) else "px"


def mpp_of(entry):
    """float or None: micrometres per HR pixel, where a dataset dict records it."""
    mpp = entry.get("mpp") or entry.get("region", {}).get("mpp")
    known = isinstance(mpp, (int, float)) and math.isfinite(mpp) and mpp > 0
    return float(mpp) if known else None


def _read(name, json_file, warnings):
    content = load_coco(json_file)
    merged = name.partition("@")[2]
    classes = {
        c["id"]: merged or str(c["name"])
        for c in _records(content["categories"], ("id", "name"), name, "categories", warnings)
    }
    entries, refused = {}, set()
    for image in tqdm(
        _records(content["images"], IMAGE_KEYS, name, "images", warnings),
        desc=name,
        unit="image",
        leave=False,
    ):
        try:
            entry = image_to_dict(image, json_file, os.path.dirname(json_file))
            _check_region(entry)
            entries[image["id"]] = entry
        except (InputError, TypeError) as e:  # the latter: values of a wrong type
            warnings.add("images that training refuses", e)
            refused.add(image["id"])

    seen = Counter()
    for annotation in _records(
        content["annotations"], ANNOTATION_KEYS, name, "annotations", warnings
    ):
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
            kind = {
                "no numbers": "boxes that are no numbers",
                "no area": "boxes without an area",
                "outside": "boxes that reach outside their images",
            }[fault]
            warnings.add(kind, f"{where} has {bbox} ({os.path.basename(entry['file_name'])})")
            continue
        seen[annotation["image_id"], annotation["category_id"], tuple(bbox)] += 1
        if seen[annotation["image_id"], annotation["category_id"], tuple(bbox)] == 2:
            warnings.add("objects that are there more than once", where)
        entry["annotations"].append(
            {
                "bbox": [float(v) for v in bbox],
                "bbox_mode": BoxMode.XYWH_ABS,
                "category_id": annotation["category_id"],
                "iscrowd": int(bool(annotation.get("iscrowd") or annotation.get("ignore"))),
            }
        )
    ordered = [entries[k] for k in sorted(entries)]
    if not any(not a["iscrowd"] for e in ordered for a in e["annotations"]):
        warnings.add("splits without a single object", name)
    return Split(name, json_file, classes, ordered, len(content["images"]))


def _records(records, keys, name, what, warnings):
    """The records that have the keys and an id of their own."""
    ids, good = set(), []
    for number, record in enumerate(records, 1):
        missing = keys if not isinstance(record, dict) else [k for k in keys if k not in record]
        if missing:
            warnings.add(f"{what} without {', '.join(missing)}", f"{name}: number {number}")
        elif not all(type(record[k]) is int for k in keys if k == "id" or k.endswith("_id")):
            warnings.add(f"{what} whose ids are no whole numbers", f"{name}: number {number}")
        elif record["id"] in ids:
            warnings.add(f"{what} with the id of another", f"{name}: id {record['id']}")
        else:
            ids.add(record["id"])
            good.append(record)
    return good


def _check_region(entry):
    """A region must show some of its slide."""
    if "region" not in entry:
        return
    region = entry["region"]
    slide = open_slide(region["slide_file"], region.get("slide_mpp"))
    for k, side in enumerate(("width", "height")):
        begin = region["xy"[k] + "_px"]
        end = begin + entry[side] * region["mpp"] / slide.mpp_xy[k]
        if end <= 0 or begin >= slide.size_px[k]:
            raise InputError(
                f"{region['slide_file']}: image {entry['image_id']} lies off this slide of "
                f"{slide.size_px[0]}x{slide.size_px[1]} px: x_px and y_px are base pixels"
            )


def _compare_splits(splits, warnings):
    for i, a in enumerate(splits):
        for b in splits[i + 1 :]:
            if a.classes != b.classes and os.path.dirname(a.json_file) == os.path.dirname(
                b.json_file
            ):
                warnings.add(
                    "splits whose categories differ",
                    f"{a.name} has {a.classes}, {b.name} has {b.classes}",
                )
            if _fold(a) != _fold(b):  # what is for training in one fold is for testing in another
                continue
            for what, of in (("slides", slide_of), ("patients", _patient_of)):
                both = {of(e) for e in a.entries} & {of(e) for e in b.entries} - {None}
                for value in sorted(both):
                    warnings.add(f"{what} in two splits", f"{value} in {a.name} and {b.name}")

    known = {c for s in splits for c in s.classes.values()}
    here = {s.name: set(sizes(s, "px")) for s in splits}
    train = [s for s in splits if s.split.startswith("train")]
    for c in sorted(known):
        if not any(c in found for found in here.values()):
            warnings.add("classes without a single object", c)
        elif train and not any(c in here[s.name] for s in train):
            where = ", ".join(n for n, found in here.items() if c in found)
            warnings.add("classes that training does not see", f"{c} (in {where})")


def _check_sizes(splits, warnings):
    """Sizes that no glomerulus has, or that do not fit the others of the dataset."""
    entries = [e for s in splits for e in s.entries]
    with_mpp = sum(mpp_of(e) is not None for e in entries)
    if 0 < with_mpp < len(entries):
        n = len(entries) - with_mpp
        example = next(e["file_name"] for e in entries if mpp_of(e) is None)
        warnings.add("images without mpp, where others have it", example, n)

    by_slide, by_class = defaultdict(list), defaultdict(list)
    unit = common_unit(splits)
    for split in splits:
        for entry in split.entries:
            for a in entry["annotations"]:
                if not a["iscrowd"]:
                    size = _size(a, entry, "um" if mpp_of(entry) else "px")
                    by_slide[slide_of(entry), mpp_of(entry) is not None].append(size)
                    item = (_size(a, entry, unit), _is_cut(a, entry), split, entry, a)
                    by_class[split.classes[a["category_id"]]].append(item)

    medians = {k: float(np.median(v)) for k, v in by_slide.items()}
    for is_um, shown in ((True, "um"), (False, "px")):
        group = {slide: m for (slide, um), m in medians.items() if um == is_um}
        middle = float(np.median(list(group.values()))) if group else 0.0
        for slide, median in group.items():
            if is_um and not PLAUSIBLE_UM[0] <= median <= PLAUSIBLE_UM[1]:
                warnings.add(
                    "slides with objects of a size that no glomerulus has (is their mpp right?)",
                    f"{slide}, median {median:.4g} um",
                )
            elif (
                len(by_slide[slide, is_um]) >= MIN_OBJECTS
                and len(group) > 1
                and not middle / SLIDE_RATIO <= median <= middle * SLIDE_RATIO
            ):
                warnings.add(
                    "slides with objects much larger or smaller than on the others",
                    f"{slide}, median {median:.4g} {shown}, others {middle:.4g} {shown}",
                )

    for name, items in by_class.items():
        if len(items) < MIN_OBJECTS:
            continue
        middle = float(np.median([size for size, *_ in items]))
        for size, is_cut, split, entry, a in items:
            # What an image's edge cuts off may be of any size.
            if size > middle * OBJECT_RATIO or (size < middle / OBJECT_RATIO and not is_cut):
                warnings.add(
                    f"objects more than {OBJECT_RATIO:g} times larger or smaller than the median "
                    "of their class",
                    f"{split.name}: {name} of {size:.4g} {unit} (median {middle:.4g}) in "
                    f"{os.path.basename(entry['file_name'])} at "
                    f"({a['bbox'][0]:.0f}, {a['bbox'][1]:.0f})",
                )


def _size(annotation, entry, unit):
    size_px = math.sqrt(annotation["bbox"][2] * annotation["bbox"][3])
    return size_px * mpp_of(entry) if unit == "um" else size_px


def _is_cut(annotation, entry):
    x, y, w, h = annotation["bbox"]
    return min(x, y) <= 1 or x + w >= entry["width"] - 1 or y + h >= entry["height"] - 1


def _patient_of(entry):
    return str(entry["patient"]) if "patient" in entry else None


def _fold(split):
    """The 3 of "train_3" or "fold3_val"; None where splits are not numbered."""
    number = re.search(r"\d+", split.split)
    return number and number.group()


def _quantiles(values):
    return [round(float(q), 1) for q in np.quantile(values, (0, 0.05, 0.5, 0.95, 1))]
