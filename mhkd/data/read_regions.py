"""COCO files of a great many tiles that are read from slides, to columns (:mod:`mhkd.data.region_columns`).

The file is packed while it is parsed, and kept as ``.<file>.npz`` beside it, which is read as long as it is
of that COCO file.
"""

import json
import os
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..coco.read import sorted_categories
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
    patient,
    text,
)
from ..errors import InputError
from ..files import replacing
from ..slides.file_names import can_be_slide
from .region_columns import ANNOTATION, IMAGE, RegionEntries

MIN_BYTES = 2**26  # of a COCO file; smaller ones become dicts, outlines included


def read_regions(json_file: str) -> RegionEntries | None:
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
    files = np.unique(entries.columns["images"][:, IMAGE.index("region_file")])
    return entries if all(can_be_slide(entries._path(k)) for k in files) else None


class _Odd(Exception):
    """Not the plain thing that columns are made for."""


class _Packer:
    """json's hook for objects: puts images and annotations away as they come.

    What the schema refuses is an InputError without the file's name: the ordinary reader says it in full.
    """

    def __init__(self) -> None:
        self.images, self.annotations = array("d"), array("d")
        self.texts: dict[str, int] = {}

    def __call__(self, obj: dict[str, Any]) -> dict[str, Any] | None:
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
            region_mpp = mpp(region, "")
            if obj.get("lr_file_name") or not all(map(is_id, whole)) or not all(map(is_number, place)):
                raise _Odd
            if region_mpp is None:
                raise _Odd
            self.images.extend((
                *whole, _or_nan(mpp(obj, "")), self._number(label(obj, "slide", "")),
                self._number(patient(obj, "")), self._number(text(obj, "file_name", "")),
                self._number(text(region, "slide_file", "")), *place, region_mpp,
                _or_nan(mpp(region, "", "slide_mpp")),
            ))  # fmt: skip
            return None
        return obj

    def _number(self, name: str | None) -> int:
        return -1 if name is None else self.texts.setdefault(name, len(self.texts))


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _parse(json_file: str) -> RegionEntries | None:
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
    images = np.frombuffer(packer.images, np.float64).reshape(-1, len(IMAGE))
    annotations = np.frombuffer(packer.annotations, np.float64).reshape(-1, len(ANNOTATION))
    images = images[np.argsort(images[:, 0])]
    annotations = annotations[np.argsort(annotations[:, 1], kind="stable")]
    if not _is_sound(images, annotations, categories):
        return None
    first = np.searchsorted(annotations[:, 1], images[:, 0])
    columns = {"images": images, "annotations": annotations, "first": np.append(first, len(annotations))}
    return RegionEntries(columns, list(packer.texts), categories)


def _is_sound(images: np.ndarray, annotations: np.ndarray, categories: Sequence[tuple[int, str]]) -> bool:
    """Whether :func:`mhkd.coco.read.coco_to_dicts` would find nothing amiss."""
    ids = images[:, 0]
    sound = len(images) > 0 and len(np.unique(ids)) == len(ids)
    sound = sound and bool((images[:, 1:3] > 0).all() and (images[:, 1:3] <= MAX_SIDE_PX).all())
    sound = sound and len({i for i, _ in categories}) == len({n for _, n in categories}) == len(categories)
    if not sound or len(annotations) == 0:
        return sound
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


def _pack(entries: RegionEntries, path: str, key: str) -> None:
    """Beside the COCO file, if that may be written to."""
    try:
        with replacing(path) as temporary, open(temporary, "wb") as f:
            texts = json.dumps([entries.texts, entries.categories])
            arrays: dict[str, Any] = {"key": key, "texts": texts, **entries.columns}
            np.savez(f, **arrays)
    except InputError:
        pass


def _unpack(path: str, key: str) -> RegionEntries | None:
    try:
        with np.load(path) as found:
            if str(found["key"]) != key:
                return None
            texts, named = json.loads(str(found["texts"]))
            columns = {k: found[k] for k in ("images", "annotations", "first")}
        categories = tuple((i, n) for i, n in named)
        if not _is_ours(columns, texts, categories):
            return None
    except Exception:  # not there, cut short, ...
        return None
    return RegionEntries(columns, texts, categories)


def _is_ours(
    columns: dict[str, np.ndarray], texts: list[str], categories: tuple[tuple[int, str], ...]
) -> bool:
    """Whether columns are as :func:`_parse` makes them: the file may be damaged, or anyone's."""
    images, annotations, first = (columns[k] for k in ("images", "annotations", "first"))
    if {images.dtype, annotations.dtype} != {np.dtype(np.float64)}:
        return False
    if images.shape[1:] != (len(IMAGE),) or annotations.shape[1:] != (len(ANNOTATION),):
        return False
    of = dict(zip(IMAGE, images.T))
    numbers = images[:, [IMAGE.index(k) for k in ("slide", "patient", "file", "region_file")]]
    begin = np.searchsorted(annotations[:, 1], images[:, 0])
    return bool(
        _is_sound(images, annotations, categories)
        and all(isinstance(text, str) for text in texts)
        and all(is_id(number) and isinstance(name, str) for number, name in categories)
        and (np.diff(images[:, 0]) > 0).all() and (np.diff(annotations[:, 1]) >= 0).all()
        and np.array_equal(first, np.append(begin, len(annotations)))
        and (numbers[:, :2] >= -1).all() and (numbers[:, 2:] >= 0).all() and (numbers < len(texts)).all()
        and np.isfinite([of["x_px"], of["y_px"]]).all() and np.isfinite(annotations).all()
        and all((np.isnan(of[k]) | (of[k] > 0)).all() for k in ("mpp", "slide_mpp"))
        and (of["region_mpp"] > 0).all()
    )  # fmt: skip
