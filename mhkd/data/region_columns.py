"""Datasets of a great many tiles that are read from slides: columns of numbers instead of dicts.

By hand, since a million tiles in Detectron2's serialised DatasetFromList are ready after 86 s and 4.8 GB, in
every process and at every step; these after 30 s and 1.8 GB once, then 1.4 s and 0.9 GB. With four workers
they hold 0.65 GB instead of 1.2 (benchmarks/region_references.py, 0.8 GB of each process its imports).

The COCO file is packed while it is parsed, and kept as ``.<file>.npz`` beside it, which is read as long as it
is of that COCO file. An entry becomes a dict when it is asked for.
"""

import json
import os
from array import array
from collections.abc import Sequence

import numpy as np
from torch.utils.data import Dataset

from ..coco.read import XYWH_ABS, sorted_categories
from ..coco.schema import (
    MAX_SIDE_PX,
    OUTSIDE_TOLERANCE_PX,
    REGION_KEYS,
    check_records,
    is_id,
    is_ignored,
    is_number,
    label,
    mpp,
    text,
)
from ..errors import InputError
from ..files import replacing

MIN_BYTES = 2**26  # of a COCO file; smaller ones become dicts, outlines included

# The columns of images and of annotations; float64, which holds ids exactly too.
_IMAGE = ("id", "width", "height", "mpp", "slide", "patient", "file", "region_file", "x_px", "y_px",
          "region_mpp", "slide_mpp")  # fmt: skip
_ANNOTATION = ("id", "image_id", "category_id", "iscrowd", "x", "y", "width", "height")


class RegionEntries(Dataset, Sequence):
    """A sequence of Detectron2 dataset dicts without outlines, in the order of the image ids."""

    def __init__(self, columns, texts, categories, image_root="", id_map=None):
        """
        Args:
            columns: "images" (n, 12) and "annotations" (m, 8), both float64, sorted
                by image id, and "first" (n + 1,), each image's annotations.
            texts: slides, patients and files, which columns have the numbers of.
            categories: id and name, in the order of the ids.
            image_root: folder that files are relative to.
            id_map: category id -> contiguous class id.
        """
        self.columns, self.texts, self.categories = columns, texts, categories
        self.image_root = image_root
        self.id_map = {i: i for i, _ in categories} if id_map is None else id_map
        self.num_annotations = len(columns["annotations"])
        self._index = np.arange(len(columns["images"]))

    def __len__(self):
        return len(self._index)

    def __getitem__(self, key):
        if isinstance(key, slice):
            return [self[k] for k in range(*key.indices(len(self)))]
        image = self._index[key]
        row = dict(zip(_IMAGE, self.columns["images"][image].tolist()))
        first, last = self.columns["first"][image : image + 2]
        entry = {
            "file_name": self._path(row["file"]),
            "image_id": int(row["id"]),
            "width": int(row["width"]),
            "height": int(row["height"]),
            "annotations": [
                self._annotation(*values) for values in self.columns["annotations"][first:last].tolist()
            ],
            "region": {
                "slide_file": self._path(row["region_file"]),
                "x_px": row["x_px"],
                "y_px": row["y_px"],
                "mpp": row["region_mpp"],
            },
        }
        if row["slide_mpp"] == row["slide_mpp"]:  # not NaN
            entry["region"]["slide_mpp"] = row["slide_mpp"]
        if row["mpp"] == row["mpp"]:
            entry["mpp"] = row["mpp"]
        entry.update({k: self.texts[int(row[k])] for k in ("slide", "patient") if row[k] >= 0})
        return entry

    def annotated(self):
        """Those with an object that is not to be ignored."""
        annotations = self.columns["annotations"]
        ids = annotations[annotations[:, 3] == 0, 1]
        kept = np.isin(self.columns["images"][self._index, 0], ids)
        chosen = RegionEntries(self.columns, self.texts, self.categories, self.image_root, self.id_map)
        chosen._index = self._index[kept]
        return chosen

    def has_ignored(self):
        """Whether an annotation is to be ignored."""
        annotations = self.columns["annotations"]
        ids = annotations[annotations[:, _ANNOTATION.index("iscrowd")] != 0, 1]
        return bool(np.isin(self.columns["images"][self._index, 0], ids).any())

    def values(self, key):
        """Of ``slide`` (file names where it is not known), ``mpp`` or ``file`` (the slides' own),
        without making entries."""
        images = self.columns["images"][self._index]
        if key == "file":
            return {self._path(k) for k in np.unique(images[:, _IMAGE.index("region_file")])}
        if key == "mpp":
            found = np.unique(images[:, _IMAGE.index("mpp")]).tolist()
            return {None if v != v else v for v in found}
        slides = images[:, _IMAGE.index("slide")]
        files = np.unique(images[slides < 0, _IMAGE.index("file")])
        return {self.texts[int(k)] for k in np.unique(slides[slides >= 0])} | {
            os.path.realpath(self._path(k)) for k in files
        }

    def smallest(self):
        """The entry whose shorter side is shortest."""
        return self[int(self.columns["images"][self._index, 1:3].min(axis=1).argmin())]

    def count_objects(self):
        """Objects that are not to be ignored."""
        annotations = self.columns["annotations"]
        ids = annotations[annotations[:, 3] == 0, 1]
        return int(np.isin(ids, self.columns["images"][self._index, 0]).sum())

    def first_off_slide(self, facts):
        """The first entry that shows nothing of its slide.

        Args:
            facts: slide file and its slide_mpp or None -> size_px and mpp_xy.

        Returns:
            dict or None
        """
        images = self.columns["images"][self._index]
        of = {key: images[:, k] for k, key in enumerate(_IMAGE)}
        # NaN, where slides record it, is as good as any other number here.
        slides, which = np.unique(
            np.stack([of["region_file"], np.nan_to_num(of["slide_mpp"])]), axis=1, return_inverse=True
        )
        found = [facts(self._path(file), mpp or None) for file, mpp in slides.T.tolist()]
        size_px, mpp_xy = (np.array([f[k] for f in found])[which.ravel()] for k in (0, 1))
        begin = np.stack([of["x_px"], of["y_px"]], axis=1)
        end = begin + images[:, 1:3] * of["region_mpp"][:, None] / mpp_xy
        off = ((end <= 0) | (begin >= size_px)).any(axis=1)
        return self[int(off.argmax())] if off.any() else None

    def _path(self, number):
        return os.path.join(self.image_root, self.texts[int(number)])

    def _annotation(self, _id, _image_id, category, iscrowd, *bbox):
        return {
            "bbox": list(bbox),
            "bbox_mode": XYWH_ABS,
            "category_id": self.id_map[int(category)],
            "iscrowd": int(iscrowd),
        }


def read_regions(json_file):
    """The entries of a large COCO file whose images are all parts of slides.

    Args:
        json_file: COCO file.

    Returns:
        With paths relative to the file's folder; None if the file is small, or has
        anything else in it, or a fault: then :func:`mhkd.coco.read.read_coco` is to read it, or to say so.
    """
    try:
        stat = os.stat(json_file)
        if stat.st_size < MIN_BYTES:
            return None
    except OSError:
        return None
    folder, name = os.path.split(json_file)
    packed = os.path.join(folder, f".{name}.npz")
    key = json.dumps([stat.st_size, stat.st_mtime_ns, 2])  # 2: the version of these columns
    entries = _unpack(packed, key)
    if entries is None:
        entries = _parse(json_file)
        if entries is None:
            return None
        _pack(entries, packed, key)
    entries.image_root = folder
    files = np.unique(entries.columns["images"][:, _IMAGE.index("region_file")])
    return entries if all(os.path.exists(entries._path(k)) for k in files) else None


class _Odd(Exception):
    """Not the plain thing that columns are made for."""


class _Packer:
    """json's hook for objects: puts images and annotations away as they come.

    What the schema refuses is an InputError without the file's name: the ordinary reader says it in full.
    """

    def __init__(self):
        self.images, self.annotations = array("d"), array("d")
        self.texts = {}

    def __call__(self, obj):
        if "image_id" in obj:
            ids, box = (obj["id"], obj["image_id"], obj["category_id"]), obj["bbox"]
            if not all(map(is_id, ids)) or len(box) != 4 or not all(map(is_number, box)):
                raise _Odd
            self.annotations.extend((*ids, is_ignored(obj, ""), *box))
            return None
        if "slide_file" in obj:
            if not obj.keys() <= {*REGION_KEYS, "slide_mpp"}:
                raise _Odd
            return obj
        if "file_name" in obj:
            region = obj["region"]
            whole, place = (obj["id"], obj["width"], obj["height"]), (region["x_px"], region["y_px"])
            if obj.get("lr_file_name") or not all(map(is_id, whole)) or not all(map(is_number, place)):
                raise _Odd
            self.images.extend((
                *whole, _or_nan(mpp(obj, "")), self._number(label(obj, "slide", "")),
                self._number(label(obj, "patient", "")), self._number(text(obj, "file_name", "")),
                self._number(text(region, "slide_file", "")), *place, mpp(region, ""),
                _or_nan(mpp(region, "", "slide_mpp")),
            ))  # fmt: skip
            return None
        return obj

    def _number(self, name):
        return -1 if name is None else self.texts.setdefault(name, len(self.texts))


def _or_nan(value):
    return float("nan") if value is None else value


def _parse(json_file):
    packer = _Packer()
    try:
        with open(json_file, encoding="utf-8-sig") as f:
            content = json.load(f, object_hook=packer)
        if not all(v is None for key in ("images", "annotations") for v in content[key]):
            return None
        check_records(json_file, content["categories"], ("id", "name"), "category")
        categories = sorted_categories(content, json_file)
    except (_Odd, InputError, OSError, LookupError, TypeError, ValueError, AttributeError, RecursionError):
        return None
    images = np.frombuffer(packer.images, np.float64).reshape(-1, len(_IMAGE))
    annotations = np.frombuffer(packer.annotations, np.float64).reshape(-1, len(_ANNOTATION))
    images = images[np.argsort(images[:, 0])]
    annotations = annotations[np.argsort(annotations[:, 1], kind="stable")]
    if not _is_sound(images, annotations, categories):
        return None
    first = np.searchsorted(annotations[:, 1], images[:, 0])
    columns = {"images": images, "annotations": annotations, "first": np.append(first, len(annotations))}
    return RegionEntries(columns, list(packer.texts), categories)


def _is_sound(images, annotations, categories):
    """Whether :func:`mhkd.coco.read.coco_to_dicts` would find nothing amiss."""
    ids = images[:, 0]
    sound = len(images) > 0 and len(np.unique(ids)) == len(ids)
    sound = sound and (images[:, 1:3] > 0).all() and (images[:, 1:3] <= MAX_SIDE_PX).all()
    sound = sound and len({i for i, _ in categories}) == len({n for _, n in categories}) == len(categories)
    if not sound or len(annotations) == 0:
        return bool(sound)
    of = np.searchsorted(ids, annotations[:, 1])
    if of.max() >= len(ids) or (ids[of] != annotations[:, 1]).any():
        return False
    x, y, width, height = annotations[:, 4:].T
    t = OUTSIDE_TOLERANCE_PX
    return bool(
        len(np.unique(annotations[:, 0])) == len(annotations)
        and np.isin(annotations[:, 2], [i for i, _ in categories]).all()
        and (width > 0).all() and (height > 0).all() and (x >= -t).all() and (y >= -t).all()
        and (x + width <= images[of, 1] + t).all() and (y + height <= images[of, 2] + t).all()
    )  # fmt: skip


def _pack(entries, path, key):
    """Beside the COCO file, if that may be written to."""
    try:
        with replacing(path) as temporary, open(temporary, "wb") as f:
            texts = json.dumps([entries.texts, entries.categories])
            np.savez(f, key=key, texts=texts, **entries.columns)
    except InputError:
        pass


def _unpack(path, key):
    try:
        with np.load(path) as found:
            if str(found["key"]) != key:
                return None
            texts, categories = json.loads(str(found["texts"]))
            columns = {k: found[k] for k in ("images", "annotations", "first")}
    except Exception:  # not there, cut short, ...
        return None
    return RegionEntries(columns, texts, tuple((i, n) for i, n in categories))
