"""Images of a class each around the objects of a COCO dataset, which stay parts of its images."""

import glob
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from ..annotations import ClassMap
from ..coco.read import coco_to_dicts, read_coco, sorted_categories
from ..errors import InputError
from ..files import make_folder, write_text
from ..system import relative_path
from .cut import Cut, large_enough, one_class_each
from .labels import label_rows, labels_text


def coco_files(sources: Sequence[str]) -> list[str]:
    """The COCO files among what is to be cut: ``.json`` files, and a dataset's folder's
    ``annotations_<split>.json``. None: they are slides.

    Raises:
        InputError: slides are among them.
    """
    found, others = [], []
    for source in sources:
        inside = sorted(glob.glob(os.path.join(glob.escape(source), "annotations_*.json")))
        files = [source] if source.endswith(".json") and not os.path.isdir(source) else inside
        found += files
        others += [] if files else [source]
    if found and others:
        raise InputError(f"{others[0]}: is no COCO dataset, as {found[0]} is: make a dataset of each")
    return found


def cut_coco(json_files: Sequence[str], out: str, cut: Cut, class_map: ClassMap) -> list[str]:
    """Write ``labels_<split>.csv`` of every ``annotations_<split>.json``.

    Args:
        json_files: COCO files.
        out: folder of the dataset.
        cut: how, centred.
        class_map: names, merges and drops classes.

    Returns:
        What has come of it, one line each.

    Raises:
        InputError: a file is at fault, an image has no resolution where one is needed, or a split is left
            without an image.
    """
    if cut.mode != "centred":
        raise InputError(f"--mode {cut.mode}: of a COCO dataset there is only centred, an image an object")
    texts, lines = {}, []
    splits_of: dict[str, set[str]] = defaultdict(set)
    counts: Counter[str] = Counter()
    for json_file in json_files:
        split = os.path.basename(json_file)[: -len(".json")].removeprefix("annotations_")
        if split in texts:
            raise InputError(f"{json_file}: the split {split} is there twice: make a dataset of each")
        rows = _rows(json_file, out, cut, class_map, counts)
        if not rows:
            what = "".join(f"; {n} {text}" for text, n in sorted(counts.items()))
            raise InputError(f"{json_file}: has no object of a class that is wanted{what}")
        texts[split] = labels_text(rows)
        classes = Counter(row["class"] for row in rows)
        found = ", ".join(f"{n} {name}" for name, n in sorted(classes.items()))
        name = os.path.basename(os.path.abspath(out))
        lines.append(f"{name}_{split}: {len(rows)} images; {found}")
        for row in rows:
            if row.get("patient"):
                splits_of[row["patient"]].add(split)
    make_folder(out)
    for split, text in texts.items():
        write_text(text, os.path.join(out, f"labels_{split}.csv"))
    lines += [f"warning: {n} {what}" for what, n in sorted(counts.items())]
    both = sorted(patient for patient, found in splits_of.items() if len(found) > 1)
    if both:
        lines.append(
            f"warning: patients in more than one split: {', '.join(both)}; training on one and scoring on "
            "another is refused, so use folds (docs/classification.md)"
        )
    return lines


def _rows(
    json_file: str, out: str, cut: Cut, class_map: ClassMap, counts: Counter[str]
) -> list[dict[str, Any]]:
    content = read_coco(json_file)
    names = dict(sorted_categories(content, json_file))
    images = {image["id"]: image for image in content["images"]}
    rows: list[dict[str, Any]] = []
    for entry in coco_to_dicts(content, json_file, os.path.dirname(json_file), {i: i for i in names}):
        image = images[entry["image_id"]]
        where = f"{json_file}: image {entry['image_id']} ({image['file_name']})"
        if "region" in entry:
            raise InputError(f"{where} is read from a slide: name the slides themselves")
        mpp = entry.get("mpp")
        if mpp is None and cut.in_um:
            raise InputError(f"{where} has no mpp: give the field with --field-boxes, and no --mpp")
        fields = []
        for a in entry["annotations"]:
            name = class_map.target(names[a["category_id"]])
            if a["iscrowd"]:
                counts["objects to be ignored left out"] += 1
            elif name is None or (class_map.classes is not None and name not in class_map.classes):
                counts[f"objects of the class {names[a['category_id']]!r} left out"] += 1
            else:
                x, y, width, height = a["bbox"]
                bounds, size_px = (x, y, x + width, y + height), (entry["width"], entry["height"])
                fields.append((cut.field(bounds, size_px, mpp and (mpp, mpp)), name))
        cuts = (
            {**cut.image(box, mpp and (mpp, mpp), where), "class": name}
            for box, name in one_class_each(fields, None, counts)
        )
        rows += label_rows(
            large_enough(cuts, counts),
            relative_path(entry["file_name"], os.path.realpath(out)),
            slide=entry.get("slide"),
            patient=entry.get("patient"),
            slide_mpp=mpp,
        )
    return rows
