"""Tables that say something of each slide, and the resolutions that the user gives for slides."""

import itertools
import math
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from ..errors import InputError
from ..tables import read_csv
from .file_names import slide_name

T = TypeVar("T")


def read_rows(
    path: str | os.PathLike[str], what: str, needed: Callable[[list[str]], object]
) -> list[dict[str, str]] | None:
    """Rows of a table, separated by commas, semicolons or tabs, with a line of column names.

    Args:
        path: CSV file.
        what: what it is a table of, for messages.
        needed: whether the columns are those that are needed.

    Returns:
        The rows that name a slide, column names in lower case; None where the columns are others.

    Raises:
        InputError: no such table, or it cannot be read.
    """
    columns, rows = read_csv(path, what)
    if "slide" not in columns or not needed(columns):
        return None
    found = [dict(itertools.zip_longest(columns, row[: len(columns)], fillvalue="")) for _, row in rows]
    return [{c: value for c, value in row.items() if c} for row in found if row["slide"]]


def by_slide(path: str | os.PathLike[str], rows: Iterable[dict[str, str]]) -> dict[str, dict[str, str]]:
    """The rows by file name.

    Raises:
        InputError: a slide has different ones.
    """
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        name = os.path.basename(row["slide"])
        if found.setdefault(name, row) != row:
            raise InputError(f"{path}: has different rows for the slide {name}: keep one")
    return found


def row_of(rows: Mapping[str, T], slide: str | os.PathLike[str]) -> T | None:
    """The row of a slide by its file name, with or without its ending; None if there is none."""
    base = os.path.basename(slide)
    names = (base, os.path.splitext(base)[0], slide_name(slide))
    return next((rows[n] for n in names if n in rows), None)


def parse_mpp(text: str | float | None, option: str) -> float | dict[str, float] | None:
    """A resolution for all slides, or a table of them.

    Args:
        text: a number, or a CSV file with the columns slide and mpp.
        option: what it was given with.

    Returns:
        Micrometres per base pixel; by file name where it is a table.

    Raises:
        InputError: neither, or a value that is no positive number.
    """
    if text is None or isinstance(text, (float, int)):
        return text
    try:
        return _positive(text)
    except ValueError:
        pass
    if not os.path.exists(text):
        raise InputError(f"{option} {text}: give a positive number, or a CSV file with the columns slide,mpp")
    rows = read_rows(text, "resolutions", lambda columns: "mpp" in columns)
    if rows is None:
        raise InputError(f"{text}: needs the columns slide and mpp, in its first line")
    found = {}
    for name, row in by_slide(text, rows).items():
        try:
            found[name] = _positive(row["mpp"].replace(",", "."))
        except ValueError as e:
            raise InputError(
                f"{text}: mpp of the slide {name} is {row['mpp']!r}: it must be a positive number"
            ) from e
    return found


def mpp_of(given: float | Mapping[str, float] | None, slide: str | os.PathLike[str]) -> float | None:
    """What :func:`parse_mpp` returned, for one slide."""
    return row_of(given, slide) if isinstance(given, Mapping) else given


def _positive(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise ValueError
    return value
