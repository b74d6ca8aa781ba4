"""Run-length encoded masks: HuBMAP's CSV (Kaggle) and the two codings of COCO."""

import csv
import io
import warnings

import numpy as np
from shapely.geometry import MultiPolygon

from ..errors import InputError
from .runs import MAX_RUNS, TooManyRuns, outlines, split_runs

_COLUMNS = ("encoding", "rle")
_NOISE = "has a mask of noise, not of outlined objects"


def csv_columns(head):
    """tuple[str, str] or None: the names of the columns with the slide and the runs, where the
    first bytes of a file are those of such a CSV."""
    line = head.decode("utf-8-sig", "replace").splitlines()[:1]
    names = [n.strip() for n in next(csv.reader(line), [])] if line else []
    runs = next((c for c in _COLUMNS if c in names), None)
    return ("id", runs) if "id" in names and runs else None


def read_csv(path, columns, collector, slide_name, size_px):
    """Fill the collector with the objects of one slide's mask; they have no class.

    Args:
        path (str): file with a row "id, start length start length ..." per slide: 1-based, down
            the columns of the mask.
        columns (tuple[str, str]): see :func:`csv_columns`.
        collector (Collector): to fill.
        slide_name (str or None): the slide's id; None where the file has only one.
        size_px (tuple[int, int] or None): the slide's, which is the mask's, width and height.
    """
    if size_px is None:
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
        add_runs(values[::2] - 1, values[1::2], size_px, None, collector, where)


def add_runs(start, length, size_px, name, collector, where, as_one=False, iscrowd=False):
    """Fill the collector with a column-major mask.

    Args:
        start, length (ndarray): int64, 0-based.
        size_px (tuple[int, int]): width and height of the mask.
        name (str or None): class.
        collector (Collector): to fill.
        where (str): which mask this is.
        as_one (bool): the whole mask is one object, not every connected part of it.
        iscrowd (bool): see :class:`Annotation`.
    """
    width, height = size_px
    start, length = start[length != 0], length[length != 0]
    if len(start) and (start.min() < 0 or length.min() < 0 or (start + length).max() > width * height):
        raise collector.error(where, f"does not fit an image of {width}x{height} px (is it another slide's?)")
    if not len(start):
        return
    try:
        objects = outlines(*split_runs(start, length, height))
    except TooManyRuns as e:
        raise collector.error(where, _NOISE) from e
    if as_one and len(objects) > 1:
        objects = [MultiPolygon([p for o in objects for p in getattr(o, "geoms", [o])])]
    for geometry in objects:
        collector.area(geometry, name, iscrowd)


def coco_counts(counts):
    """The alternating lengths (out, in, out, ...) of a COCO mask.

    Args:
        counts (ndarray or str): plain, or COCO's compressed text. It is decoded here because
            pycocotools reads past the end of a text that is cut short.

    Returns:
        ndarray: int64.

    Raises:
        ValueError: neither.
    """
    if not isinstance(counts, str):
        values = np.asarray(counts)
        if values.ndim != 1 or values.dtype.kind not in "iuf" or not (np.abs(values) <= 2**40).all():
            raise ValueError("counts")
        if (values % 1).any():
            raise ValueError("counts")
        return values.astype(np.int64)
    codes = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    if len(codes) and (codes.min() < 0 or codes.max() > 63 or codes[-1] & 32):
        raise ValueError("counts")
    values, value, shift = [], 0, 0
    for code in codes.tolist():  # 5 bits each, bit 6: more follow, bit 5 of the last: negative
        value |= (code & 31) << shift
        shift += 5
        if shift > 60:
            raise ValueError("counts")
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            values.append(value + (values[-2] if len(values) > 2 else 0))  # to the last but one
            value = shift = 0
    return np.array(values, np.int64)


def counts_to_runs(counts):
    """tuple[ndarray, ndarray]: 0-based start and length of what is in the mask."""
    stops = np.cumsum(counts)
    return (stops - counts)[1::2], counts[1::2]


def _rows(path, columns, slide_name):
    """list[tuple[str, str]]: id and runs of the slide's rows."""
    previous = csv.field_size_limit(2**31 - 1)  # runs of a slide are longer than the default
    try:
        with open(path, encoding="utf-8-sig", newline="") as f:
            reader = csv.DictReader(f, skipinitialspace=True)
            reader.fieldnames = [n.strip() for n in reader.fieldnames or []]
            pairs = ((row[columns[0]], row[columns[1]]) for row in reader)
            return [(i, text or "") for i, text in pairs if slide_name is None or i == slide_name]
    except (csv.Error, KeyError, UnicodeError) as e:
        raise InputError(f"{path}: is no valid CSV ({e}): download it again") from e
    finally:
        csv.field_size_limit(previous)


def _numbers(text, collector, where):
    if len(text) > 24 * 2 * MAX_RUNS:
        raise collector.error(where, _NOISE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy stops at what is no number with a warning only
            values = np.loadtxt(io.StringIO(text), np.int64, ndmin=1) if text.strip() else []
    except (ValueError, OverflowError, Warning) as e:
        raise collector.error(where, "has runs that are no whole numbers") from e
    values = np.asarray(values, np.int64)
    if values.ndim != 1 or (len(values) and np.abs(values).max() > 2**40):
        raise collector.error(where, "has runs that are no whole numbers of pixels")
    return values
