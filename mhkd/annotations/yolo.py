"""YOLO's labels: a text file for each image, a line for each object, in shares of the image's sides.

A box is ``class x y width height`` with the box's middle, an outline ``class x1 y1 x2 y2 x3 y3 ...``. Classes
are numbers, whose names are in the ``data.yaml`` of the dataset. A file without a line is an image without
objects.
"""

import os
from collections.abc import Mapping

import numpy as np

from ..errors import InputError
from ..yaml_files import parse_yaml
from .collect import Collector
from .files import MAY_BE_EMPTY, AnnotationFile, read_annotation_head, read_text
from .formats import AnnotationFormat

YOLO = "YOLO labels"
NAMES = "data.yaml"
_NUMBERS_OF_A_BOX = 5
_TOLERANCE = 1e-3  # by which an annotator's outline may leave the image


def is_labels(path: str, head: bytes) -> bool:
    """Whether a file that begins so is one of labels; one without a line is where there are names for it."""
    text = head.decode("utf-8-sig", "replace")  # which may be a mark or blanks alone
    if not text.strip():
        return path.lower().endswith(MAY_BE_EMPTY) and names_file(path) is not None
    lines = text.split("\n")
    words = next(line for line in lines if line.strip()).split()
    if len(lines) == 1 and len(words) > _NUMBERS_OF_A_BOX:
        words.pop()  # which the end of the head may have cut
    return len(words) >= _NUMBERS_OF_A_BOX and all(map(_is_number, words))


def read_with(path: str) -> str | None:
    """The file of names that a file of annotations is read with; None for other formats."""
    return names_file(path) if is_labels(path, read_annotation_head(path)) else None


def names_file(path: str) -> str | None:
    """The ``data.yaml`` of a file of labels: beside it, or one or two folders above; None: there is none."""
    folder = os.path.dirname(os.path.abspath(path))
    for _ in range(3):
        if os.path.exists(found := os.path.join(folder, NAMES)):
            return found
        folder = os.path.dirname(folder)
    return None


def recognise(file: AnnotationFile) -> str | None:
    """The path."""
    return file.path if not file.head or is_labels(file.path, file.head) else None


def read(path: str, collector: Collector) -> None:
    """Fill the collector."""
    if collector.size_px is None:
        raise InputError(f"{path}: shares of the image's sides cannot be read without the size of the slide")
    found = names_file(path)
    if found is None:
        raise InputError(
            f"{path}: numbers its classes, and there is no {NAMES} with their names: put it beside the "
            "labels, or one or two folders above"
        )
    names = _names(found)
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.strip():
            _object(line, names, found, collector, f"line {number}")


def _object(line: str, names: Mapping[int, str], names_path: str, collector: Collector, where: str) -> None:
    try:
        klass, *shares = (float(word) for word in line.split())
    except ValueError as e:
        raise collector.error(where, f"is no row of numbers ({' '.join(line.split())[:40]})") from e
    n = 1 + len(shares)
    if n != _NUMBERS_OF_A_BOX and (n < 7 or n % 2 == 0):
        raise collector.error(where, f"has {n} numbers: a box has 5, an outline 7, 9, 11 ...")
    if klass not in names:
        raise InputError(
            f"{collector.path}: {where} has the class {klass:g}, and {names_path} names "
            f"{', '.join(map(str, names)) or 'none'}: correct one of them"
        )
    xy = np.array(shares).reshape(-1, 2)
    if n == _NUMBERS_OF_A_BOX:
        (x, y), size = xy
        xy = np.array([(x, y)]) + size / 2 * [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    if not (np.abs(xy - 0.5) <= 0.5 + _TOLERANCE).all():  # also false for NaN
        raise collector.error(where, "leaves the image: its numbers must be shares of its sides, 0 to 1")
    collector.polygons([[xy * collector.size_px]], names[int(klass)], where)


def _names(path: str) -> dict[int, str]:
    """Class number -> name, of a list or a map."""
    read_annotation_head(path)
    content = parse_yaml(read_text(path), path)
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(
        type(k) is int and isinstance(v, (str, int, float)) and str(v).strip() for k, v in names.items()
    ):
        raise InputError(f"{path}: needs 'names', a list or a map from class numbers to names")
    return {k: str(v).strip() for k, v in names.items()}


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


FORMAT = AnnotationFormat(YOLO, recognise, read)
