"""Reads a dataset of images with a class each whatever is wrong with it, and counts what is."""

import functools
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from tqdm import tqdm

from ..coco.read import slide_of
from ..errors import InputError
from ..slides.images import read_rgb
from .faults import Split, Warnings
from .labels import Row, classes_of, classes_of_dataset, identity, read_label_rows, same_image, to_entry
from .on_slide import check_region


def read_label_split(name: str, csv_file: str, warnings: Warnings) -> Split:
    """Read one split, as far as it can be read; every image is decoded, parts of slides are not.

    Args:
        name: as in ``cfg.DATASETS``.
        csv_file: its table.
        warnings: to fill.

    Raises:
        InputError: the table is missing, or no table of labels at all.
    """
    rows = read_label_rows(csv_file)
    try:
        classes = classes_of_dataset(csv_file)
    except InputError as e:
        warnings.add("classes that training refuses", e)
        classes = sorted(classes_of(csv_file))
    numbers = {name: k for k, name in enumerate(classes)}
    entries: list[dict[str, Any]] = []
    seen: dict[tuple[Any, ...], int] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = pool.map(functools.partial(_entry_or_fault, csv_file=csv_file), rows)
        for (line, row), found in zip(rows, tqdm(read, name, len(rows), unit="image", leave=False)):
            if isinstance(found, InputError):
                warnings.add("images that training refuses", found)
                continue
            first = seen.setdefault(identity(found), line)
            if first != line:
                warnings.add("images that are there twice", same_image(csv_file, line, row, first))
                continue
            label = {"label": numbers[row["class"]]} if row["class"] else {}
            entries.append({**found, **label, "image_id": line, "annotations": []})
    return Split(name, csv_file, dict(enumerate(classes)), entries, len(rows))


def _entry_or_fault(numbered: Row, csv_file: str) -> dict[str, Any] | InputError:
    line, row = numbered
    try:
        entry = to_entry(csv_file, line, row)
        if "region" in entry:
            check_region({**entry, "image_id": f"of line {line}"}, csv_file)
        else:
            read_rgb(entry["file_name"])
        return entry
    except InputError as e:
        return e


def label_summary(split: Split) -> dict[str, Any]:
    """Figures of one split.

    Args:
        split: from :func:`read_label_split`.

    Returns:
        Ready for JSON; patients and mpp are None where none is recorded. Images without a class count as "".
    """
    mpps = [e["mpp"] for e in split.entries if e.get("mpp")]
    by_class: dict[str, list[dict[str, Any]]] = {c: [] for c in split.classes.values()}
    by_patient: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in split.entries:
        name = split.classes[entry["label"]] if "label" in entry else ""
        by_class.setdefault(name, []).append(entry)
        if "patient" in entry:
            by_patient[entry["patient"]][name] += 1
    return {
        "annotation_file": split.json_file,
        "images": split.num_images,
        "slides": len({slide_of(e) for e in split.entries}),
        "patients": len(by_patient) or None,
        "mpp": [min(mpps), max(mpps)] if mpps else None,
        **{f"{side}_px": _spread([e[side] for e in split.entries]) for side in ("width", "height")},
        "classes": {
            name: {
                "images": len(found),
                "slides": len({slide_of(e) for e in found}),
                "patients": len({e["patient"] for e in found if "patient" in e}) or None,
            }
            for name, found in by_class.items()
        },
        "images_by_patient": {p: dict(sorted(n.items())) for p, n in sorted(by_patient.items())},
    }


def _spread(values: Sequence[int]) -> dict[str, float] | None:
    """Least, median and most."""
    if not values:
        return None
    return {"min": min(values), "median": float(np.median(values)), "max": max(values)}
