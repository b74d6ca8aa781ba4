"""HuBMAP's CSV of run-length encoded masks (Kaggle), a row for each slide: 1-based, down the columns."""

import csv
import io
import os
import re
import warnings

import numpy as np

from ..coco.runs import MAX_RUNS
from ..errors import InputError
from .collect import NOISE, Collector
from .files import AnnotationFile
from .formats import AnnotationFormat

RLE = "HuBMAP RLE CSV"
_COLUMNS = ("encoding", "rle")


def csv_columns(head: bytes) -> tuple[str, str] | None:
    """The names of the columns with the slide and the runs, where a file that begins so has both."""
    line = head.decode("utf-8-sig", "replace").splitlines()[:1]
    names = [n.strip() for n in next(csv.reader(line), [])] if line else []
    runs = next((c for c in _COLUMNS if c in names), None)
    return ("id", runs) if runs and "id" in names else None


def recognise(file: AnnotationFile) -> tuple[str, str] | None:
    """The columns, see :func:`csv_columns`."""
    return None if file.is_xml or file.is_json else csv_columns(file.head)


def read(columns: tuple[str, str], collector: Collector) -> None:
    """Fill the collector with the objects of one slide's mask; they have no class."""
    path, slide_name = collector.path, collector.slide_name
    if collector.size_px is None:
        raise InputError(f"{path}: runs of pixels cannot be read without the size of the slide")
    rows = _rows(path, columns, slide_name)
    if not rows:
        raise InputError(f"{path}: has no row for the slide {slide_name}: correct its id")
    if slide_name is None and len({i for i, _ in rows}) > 1:
        raise InputError(f"{path}: has masks of several slides: say which is wanted")
    for number, (_, text) in enumerate(rows, 1):
        where = f"mask {number} of {slide_name or rows[0][0]}"
        values = _numbers(text, collector, where)
        if len(values) % 2:
            raise collector.error(where, "has a start without a length, it is cut short")
        collector.mask(values[::2] - 1, values[1::2], collector.size_px, None, where)


def _rows(
    path: str | os.PathLike[str], columns: tuple[str, str], slide_name: str | None
) -> list[tuple[str, str]]:
    """Id and runs of the slide's rows."""
    previous = csv.field_size_limit(2**31 - 1)  # runs of a slide are longer than the default
    try:
        with open(path, encoding="utf-8-sig", newline="") as f:
            reader = csv.DictReader(f, skipinitialspace=True)
            reader.fieldnames = [n.strip() for n in reader.fieldnames or []]
            pairs = ((row[columns[0]], row[columns[1]]) for row in reader)
            return [(i, text or "") for i, text in pairs if slide_name is None or _is_id(i, slide_name)]
    except (csv.Error, KeyError, UnicodeError) as e:
        raise InputError(f"{path}: is no valid CSV ({e}): download it again") from e
    finally:
        csv.field_size_limit(previous)


def _is_id(row_id: str | None, slide_name: str) -> bool:
    """Whether an id is the slide's name, with or without the ending of its file."""
    name = re.sub(r"\.ome$", "", slide_name, flags=re.IGNORECASE)
    ending = r"(?i:(\.ome)?(\.(tiff?|svs|ndpi|mrxs|scn|qptiff|btf|png|jpe?g))?)"
    return re.fullmatch(re.escape(name) + ending, (row_id or "").strip()) is not None


def _numbers(text: str, collector: Collector, where: str) -> np.ndarray:
    if len(text) > 24 * 2 * MAX_RUNS:
        raise collector.error(where, NOISE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy stops at what is no number with a warning only
            values = np.loadtxt(io.StringIO(text), np.int64, ndmin=1) if text.strip() else np.empty(0)
    except (ValueError, OverflowError, Warning) as e:
        raise collector.error(where, "has runs that are no whole numbers") from e
    values = values.astype(np.int64, copy=False)
    if values.ndim != 1 or (len(values) and np.abs(values).max() > 2**40):
        raise collector.error(where, "has runs that are no whole numbers of pixels")
    return values


FORMAT = AnnotationFormat(RLE, recognise, read, of_many_slides=True)
