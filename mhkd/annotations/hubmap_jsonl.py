"""HuBMAP's ``polygons.jsonl`` (Kaggle, 2023): a line of JSON for each tile, with outlines in its pixels.

Their types, ``glomerulus``, ``blood_vessel`` and ``unsure``, are the classes.
"""

import functools
import json
import os
import re
from typing import Any

from ..errors import InputError
from .collect import Collector
from .files import AnnotationFile
from .formats import AnnotationFormat
from .names import class_name, is_called

JSONL = "HuBMAP polygons.jsonl"
_BEGIN = re.compile(rb'\s*\{\s*"id"\s*:\s*"[^"\\]*"\s*,\s*"annotations"\s*:')


def is_jsonl(head: bytes) -> bool:
    """Whether a file that begins so is of this format."""
    return _BEGIN.match(head.removeprefix(b"\xef\xbb\xbf")) is not None


def recognise(file: AnnotationFile) -> str | None:
    """The path."""
    return file.path if is_jsonl(file.head) else None


def read(path: str, collector: Collector) -> None:
    """Fill the collector with the objects of one tile; a line that is damaged is an error for every tile."""
    status = os.stat(path)
    lines = _lines(path, status.st_mtime_ns, status.st_size)
    wanted = [i for i in lines if collector.slide_name is None or is_called(i, collector.slide_name)]
    if not wanted:
        raise InputError(f"{path}: has no line for the image {collector.slide_name}: correct its id")
    if len(wanted) > 1:
        raise InputError(f"{path}: has outlines of several images: say which is wanted")
    number, begin = lines[wanted[0]]
    with open(path, "rb") as f:
        f.seek(begin)
        content = json.loads(f.readline().decode("utf-8-sig"))
    for k, annotation in enumerate(content["annotations"], 1):
        where = f"line {number}, annotation {k}"
        if not isinstance(annotation, dict):
            raise collector.error(where, "is no annotation")
        name = class_name(annotation.get("type"), collector, where)
        rings = annotation.get("coordinates")
        if not isinstance(rings, list):
            raise collector.error(where, "has no coordinates")
        collector.polygons([rings], name, where)


@functools.lru_cache(maxsize=1)  # it is asked for every tile of a folder
def _lines(path: str, mtime_ns: int, size: int) -> dict[str, tuple[int, int]]:
    """Of each id the number of its line, and the byte at which it begins.

    Raises:
        InputError: a line that is damaged, or no record of this format; or an id that is there twice.
    """
    found: dict[str, tuple[int, int]] = {}
    begin = 0
    with open(path, "rb") as f:
        for number, line in enumerate(f, 1):
            if line.strip():
                tile = _tile_id(line, f"{path}: line {number}")
                if tile in found:
                    raise InputError(
                        f"{path}: lines {found[tile][0]} and {number} are both of {tile}: remove one"
                    )
                found[tile] = (number, begin)
            begin += len(line)
    return found


def _tile_id(line: bytes, where: str) -> str:
    try:
        content: Any = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as e:
        raise InputError(f"{where}: is no valid JSON, or cut short ({e}): download the file again") from e
    tile = content.get("id") if isinstance(content, dict) else None
    if not isinstance(tile, str) or not isinstance(content.get("annotations"), list):
        raise InputError(f"{where}: has no id with a list of annotations: download the file again")
    return tile


FORMAT = AnnotationFormat(JSONL, recognise, read, of_many_slides=True)
