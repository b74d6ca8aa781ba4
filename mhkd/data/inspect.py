"""What is in a dataset, and everything that looks wrong with it.

Beyond the faults in :mod:`mhkd.data.faults` this finds what is none and yet makes scores
meaningless: a slide in two splits, a wrong resolution.
"""

import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..coco.read import slide_of, slides_of_several_patients, source_file
from ..errors import InputError
from ..tiling.objects import PLAUSIBLE_WIDTH_UM
from .copies import copies
from .dataset_files import dataset_files, is_labels, stray_files
from .faults import Split, Warnings, read_split
from .label_faults import label_summary, read_label_split

SLIDE_RATIO, OBJECT_RATIO = 3.0, 5.0  # to the median of all slides, and to that of the class
MIN_OBJECTS = 5  # a median of fewer says nothing


def inspect_datasets(
    names: Iterable[str], root: str | os.PathLike[str] | None = None
) -> tuple[list[Split], Warnings]:
    """Read datasets and look for everything that is wrong with them.

    Args:
        names: of datasets (``kidney_roi``: all splits) or splits (``kidney_roi_train``);
            ``...@glomerulus`` merges the classes.
        root: see :func:`mhkd.data.register_folders`.

    Raises:
        InputError: there is no such dataset, or no file is a COCO file, or a table of labels, at all.
    """
    warnings = Warnings()
    files = {n: path for name in names for n, path in dataset_files(name, root).items()}
    splits = []
    for name, path in files.items():
        try:
            read = read_label_split if is_labels(path) else read_split
            splits.append(read(name, path, warnings))
        except InputError as e:
            if len(files) == 1:
                raise
            warnings.add("splits that cannot be read", e)
    if not splits:
        raise InputError("; ".join(warnings.examples["splits that cannot be read"]))
    for folder in sorted({os.path.dirname(path) for path in files.values()}):
        for path in stray_files(folder):
            warnings.add("files that are no split, which are called annotations_<split>.json", path)
    _compare_splits(splits, warnings)
    _check_sizes(splits, warnings)
    return splits, warnings


def summary(split: Split, unit: str) -> dict[str, Any]:
    """Figures of one split.

    Args:
        split: from :func:`inspect_datasets`.
        unit: "um" or "px", of the sizes.

    Returns:
        Ready for JSON; patients and mpp are None where none is recorded. Of images with a class each:
        :func:`mhkd.data.label_faults.label_summary`.
    """
    if split.is_labelled:
        return label_summary(split)
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


def sizes(split: Split, unit: str) -> dict[str, np.ndarray]:
    """Sizes of the objects by class, ignored ones left out.

    Args:
        split: from :func:`inspect_datasets`.
        unit: "um" or "px".

    Returns:
        Square roots of the boxes' areas; classes without objects are left out.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for entry in split.entries:
        for annotation in entry["annotations"]:
            if not annotation["iscrowd"]:
                found[split.classes[annotation["category_id"]]].append(_size(annotation, entry, unit))
    return {c: np.array(found[c]) for c in dict.fromkeys(split.classes.values()) if c in found}


def common_unit(splits: Iterable[Split]) -> str:
    """The unit of sizes: "um" if every image records its resolution, else "px"."""
    return "um" if all(mpp_of(e) for s in splits for e in s.entries) else "px"


def mpp_of(entry: dict[str, Any]) -> float | None:
    """Micrometres per HR pixel, where a dataset dict records it."""
    mpp = entry["mpp"] if "mpp" in entry else entry.get("region", {}).get("mpp")
    return float(mpp) if isinstance(mpp, int | float) and math.isfinite(mpp) and mpp > 0 else None


def _compare_splits(splits: Sequence[Split], warnings: Warnings) -> None:
    for i, a in enumerate(splits):
        for slide, patients in slides_of_several_patients(a.entries):
            warnings.add("slides of several patients", f"{slide} in {a.name}: {', '.join(patients)}")
        for b in splits[i + 1 :]:
            beside = os.path.dirname(a.json_file) == os.path.dirname(b.json_file)
            if beside and a.classes != b.classes:
                warnings.add(
                    "splits whose categories differ",
                    f"{a.name} has {a.classes}, {b.name} has {b.classes}",
                )
            if _fold(a) != _fold(b):  # what is for training in one fold is for testing in another
                continue
            for what, of in (("slides", slide_of), ("patients", _patient_of)):
                both = {of(e) for e in a.entries} & {of(e) for e in b.entries}
                for value in sorted(v for v in both if v is not None):
                    warnings.add(f"{what} in two splits", f"{value} in {a.name} and {b.name}")
            for one, other in copies(*(set(map(source_file, s.entries)) for s in (a, b))):
                warnings.add("images in two splits, under two names", f"{one} and {other}")

    known = {c for s in splits for c in s.classes.values()}
    here = {s.name: {c for e in s.entries for c in s.classes_in(e)} for s in splits}
    train = [s for s in splits if re.search(r"(^|_)train", s.split)]
    for c in sorted(known):
        if not any(c in found for found in here.values()):
            warnings.add("classes without a single object", c)
        elif train and not any(c in here[s.name] for s in train):
            where = ", ".join(n for n, found in here.items() if c in found)
            warnings.add("classes that training does not see", f"{c} (in {where})")
    for s in (s for s in splits if s.is_labelled):
        if len(here[s.name]) == 1:
            warnings.add("splits of one class", f"{s.name}: {min(here[s.name])}")
        if not here[s.name] and re.search(r"(^|_)(train|val|test)", s.split):
            warnings.add("splits of images without a class, which MHKD.UNLABELED alone takes", s.name)


def _check_sizes(splits: Sequence[Split], warnings: Warnings) -> None:
    """Sizes that no glomerulus has, or that do not fit the others of the dataset."""
    entries = [e for s in splits for e in s.entries]
    with_mpp = sum(mpp_of(e) is not None for e in entries)
    if 0 < with_mpp < len(entries):
        n = len(entries) - with_mpp
        example = next(e["file_name"] for e in entries if mpp_of(e) is None)
        warnings.add("images without mpp, where others have it", example, n)

    by_slide: dict[tuple[str, bool], list[float]] = defaultdict(list)
    by_class: dict[str, list[tuple[float, bool, Split, dict[str, Any], dict[str, Any]]]] = defaultdict(list)
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
            if is_um and not PLAUSIBLE_WIDTH_UM[0] <= median <= PLAUSIBLE_WIDTH_UM[1]:
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


def _size(annotation: dict[str, Any], entry: dict[str, Any], unit: str) -> float:
    size_px = math.sqrt(annotation["bbox"][2] * annotation["bbox"][3])
    if unit == "px":
        return size_px
    mpp = mpp_of(entry)
    assert mpp is not None  # every image records it
    return size_px * mpp


def _is_cut(annotation: dict[str, Any], entry: dict[str, Any]) -> bool:
    x, y, w, h = annotation["bbox"]
    return bool(min(x, y) <= 1 or x + w >= entry["width"] - 1 or y + h >= entry["height"] - 1)


def _patient_of(entry: dict[str, Any]) -> str | None:
    return str(entry["patient"]) if "patient" in entry else None


def _fold(split: Split) -> str | None:
    """The 3 of "train_3" or "fold3_val"; None where splits are not numbered."""
    number = re.search(r"\d+", split.split)
    return number.group() if number else None


def _quantiles(values: np.ndarray) -> list[float]:
    return [round(float(q), 1) for q in np.quantile(values, (0, 0.05, 0.5, 0.95, 1))]
