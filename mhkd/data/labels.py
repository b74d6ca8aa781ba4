"""Reads and checks ``labels_<split>.csv``: images with a class each.

A line is an image: ``file_name,class`` and, where known, ``slide``, ``patient`` and ``mpp``. With ``x_px``,
``y_px``, ``width_px`` and ``height_px`` it is a part of ``file_name``, a slide or a larger image, that is
read from there when it is needed. Every fault is one error that names file, line and remedy.
"""

import functools
import logging
import math
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from ..coco.schema import MAX_SIDE_PX
from ..errors import InputError
from ..slides.file_names import check_slide_file, path_below
from ..slides.images import check_whole, image_size
from ..tables import read_csv
from .dataset_files import is_labels, splits_in

logger = logging.getLogger(__name__)

NEEDED = ("file_name", "class")
REGION = ("x_px", "y_px", "width_px", "height_px")
COLUMNS = (*NEEDED, "slide", "patient", "mpp", *REGION, "slide_mpp")

Row = tuple[int, dict[str, str]]  # number of its line, value by column


def read_labels(csv_file: str, check_images: bool = True) -> list[dict[str, Any]]:
    """Detectron2 dataset dicts of a file, in its order, numbered from 1.

    Args:
        csv_file: ``labels_<split>.csv``; images are in its folder, or in ``images`` there.
        check_images: read the header of every image and see that it is whole.

    Returns:
        ``file_name``, ``image_id``, ``width``, ``height``; ``label``, the number of its class in
        :func:`classes_of_dataset`, unless nothing in the file has a class; where known ``slide``,
        ``patient``, ``mpp`` and ``region``.

    Raises:
        InputError: the first fault.
    """
    rows = read_label_rows(csv_file)
    numbers = {name: k for k, name in enumerate(classes_of_dataset(csv_file))}
    entries: list[dict[str, Any]] = []
    seen: dict[tuple[Any, ...], int] = {}
    for line, row in rows:
        entry = to_entry(csv_file, line, row, check_images)
        key = identity(entry)
        if key in seen:
            raise same_image(csv_file, line, row, seen[key])
        seen[key] = line
        entry["image_id"] = len(entries) + 1
        if row["class"]:
            entry["label"] = numbers[row["class"]]
        entries.append(entry)
    return entries


def read_label_rows(csv_file: str) -> list[Row]:
    """The rows of a file, all columns of COLUMNS in each; no image is looked at.

    Raises:
        InputError: a column is missing or there twice, a row has too many or too few fields, there is no row,
            or some have a class and others none.
    """
    columns, lines = read_csv(csv_file, "labels")
    if missing := [c for c in NEEDED if c not in columns]:
        raise InputError(
            f"{csv_file}: has no column {', '.join(missing)}: its first line must name the columns, "
            "file_name,class and perhaps slide,patient,mpp (where no image has a label, class stays empty)"
        )
    if twice := next((c for c in columns if columns.count(c) > 1), None):
        raise InputError(f"{csv_file}: has the column {twice!r} more than once: keep one")
    if others := [c for c in columns if c not in COLUMNS]:
        _say_once(f"{csv_file}: columns that are not read: {', '.join(map(repr, others))}")
    rows: list[Row] = []
    for line, fields in lines:
        if len(fields) != len(columns):
            raise InputError(
                f"{csv_file}: line {line} has {len(fields)} fields, the first line {len(columns)}: correct "
                "it (a value with a comma in it must be in quotes)"
            )
        rows.append((line, {**dict.fromkeys(COLUMNS, ""), **dict(zip(columns, fields, strict=True))}))
    if not rows:
        raise InputError(f"{csv_file}: names no image: write one a line under the columns' names")
    empty = [line for line, row in rows if not row["class"]]
    if empty and len(empty) < len(rows):
        others_too = f" (nor have {len(empty) - 1} others)" if len(empty) > 1 else ""
        raise InputError(
            f"{csv_file}: line {empty[0]} has no class{others_too}: fill it in, or put images without labels "
            "into a file of their own, for MHKD.UNLABELED"
        )
    return rows


def classes_of_dataset(csv_file: str) -> list[str]:
    """The classes of all splits beside a file, numbers in their order: "grade 2" before "grade 10".

    Raises:
        InputError: a split cannot be read, or two classes look the same but for case or blanks.
    """
    found: dict[str, str] = {}  # class -> a file that has it
    for path in splits_in(os.path.dirname(csv_file)):
        if is_labels(path):
            for name in classes_of(path):
                found.setdefault(name, path)
    alike: dict[str, str] = {}
    for name, path in found.items():
        other = alike.setdefault(_seen(name), name)
        if other != name:
            where = path if found[other] == path else f"{found[other]} and {path}"
            raise InputError(
                f"{where}: the classes {other!r} and {name!r} differ only in case, in blanks, or in "
                "how their letters are coded: write them one way, or rename one"
            )
    return sorted(found, key=lambda name: (_natural(name), name))


def _seen(name: str) -> str:
    """The same for names that a reader takes for one: without case, blanks and what is not seen."""
    composed = unicodedata.normalize("NFC", name.casefold())
    return "".join(c for c in composed if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf"))


def classes_of(csv_file: str) -> tuple[str, ...]:
    """Those of one file, in its order, remembered until it changes."""
    try:
        stat = os.stat(csv_file)
    except OSError as e:
        raise InputError(f"{csv_file}: cannot be read ({e.strerror})") from e
    return _read_classes(csv_file, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=256)
def _read_classes(csv_file: str, _mtime_ns: int, _size: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row["class"] for _, row in read_label_rows(csv_file) if row["class"]))


def _natural(name: str) -> list[Any]:
    return [Decimal(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def to_entry(csv_file: str, line: int, row: Mapping[str, str], check_images: bool = True) -> dict[str, Any]:
    """A row as a dataset dict without ``image_id`` and ``label``; see :func:`read_labels`.

    Raises:
        InputError: a value cannot be meant, or its image cannot be read.
    """
    where = f"{csv_file}: line {line}"
    if not row["file_name"]:
        raise InputError(f"{where} has no file_name: name its image, or remove the line")
    mpp = _number(row, "mpp", where, above_0=True)
    region = _region(row, mpp, where)
    entry: dict[str, Any] = {"file_name": _image_file(csv_file, row["file_name"], where, bool(region))}
    if region:
        entry |= {"width": region.pop("width_px"), "height": region.pop("height_px")}
        entry["region"] = {"slide_file": entry["file_name"], **region}
        if check_images:
            check_slide_file(entry["file_name"], where)
    else:
        entry["width"], entry["height"] = image_size(entry["file_name"])
        if check_images:
            check_whole(entry["file_name"])
    entry |= {key: row[key] for key in ("slide", "patient") if row[key]}
    if region or mpp is not None:
        entry["mpp"] = mpp  # None: that of the region is not meant
    return entry


def identity(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    """The same for two entries of the same pixels of one file, by whatever path."""
    region = entry.get("region", {})
    place = (region.get("x_px"), region.get("y_px"), entry["width"], entry["height"]) if region else ()
    try:
        stat = os.stat(entry["file_name"])
    except OSError:  # a slide that is not at hand
        return (os.path.realpath(entry["file_name"]), *place)
    return (stat.st_dev, stat.st_ino, *place)


def same_image(csv_file: str, line: int, row: Mapping[str, str], first: int) -> InputError:
    """The error of an image that is there twice."""
    return InputError(
        f"{csv_file}: line {line} is the same image as line {first}, {row['file_name']}: remove one"
    )


def _image_file(csv_file: str, file_name: str, where: str, of_slide: bool) -> str:
    """The path of an image, below the file's folder; a slide may be anywhere."""
    folder = os.path.dirname(csv_file)
    if of_slide:
        path = os.path.normpath(os.path.join(folder, file_name))
    else:
        path = path_below(folder, file_name, where)
    below = os.path.join(folder, "images", os.path.normpath(file_name))
    return below if not os.path.exists(path) and os.path.exists(below) else path


def _region(row: Mapping[str, str], mpp: float | None, where: str) -> dict[str, Any]:
    """Where a part of a slide lies; nothing where the image is a file.

    Without ``mpp`` its pixels are base pixels, whatever their size.
    """
    given = [key for key in REGION if row[key]]
    if not given:
        return {}
    if missing := [key for key in REGION if not row[key]]:
        raise InputError(f"{where} has {', '.join(given)} but no {', '.join(missing)}: fill it in")
    numbers = {key: _number(row, key, where) for key in REGION}
    for key in ("width_px", "height_px"):
        value = numbers[key] or 0
        if value != int(value) or not 0 < value <= MAX_SIDE_PX:
            raise InputError(f"{where} has {key} {row[key]}: whole pixels are needed, 1 to {MAX_SIDE_PX}")
        numbers[key] = int(value)
    slide_mpp = _number(row, "slide_mpp", where, above_0=True)
    if mpp is None:
        return {**numbers, "mpp": 1.0, "slide_mpp": 1.0}
    return {**numbers, "mpp": mpp, **({} if slide_mpp is None else {"slide_mpp": slide_mpp})}


def _number(row: Mapping[str, str], key: str, where: str, above_0: bool = False) -> float | None:
    """None of an empty field; a decimal comma is a point."""
    if not row[key]:
        return None
    try:
        value = float(row[key].replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (above_0 and value <= 0):
        raise InputError(f"{where} has {key} {row[key]!r}: it must be a {'positive ' * above_0}number")
    return value


@functools.lru_cache(maxsize=256)
def _say_once(message: str) -> None:
    """A dataset is loaded for every step."""
    logger.warning(message)


def labelled(entries: Iterable[Mapping[str, Any]]) -> bool:
    """Whether every entry has a class."""
    return all("label" in entry for entry in entries)
