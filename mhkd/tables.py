"""CSV that a spreadsheet opens as it is meant."""

import csv
import io
from collections.abc import Iterable

# A spreadsheet takes a text that begins so for a formula and runs it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MARK = "\ufeff"  # without it Excel takes UTF-8 for the system's old encoding


def csv_text(header: Iterable[str], lines: Iterable[Iterable[object]]) -> str:
    """CSV that begins with the mark of UTF-8 (read it with the encoding "utf-8-sig").

    Texts, but not numbers, that a spreadsheet would run as a formula have an apostrophe before them.

    Args:
        header: names of the columns.
        lines: rows; None is an empty field.
    """
    out = io.StringIO()
    out.write(_MARK)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([_harmless(value) for value in line] for line in (header, *lines))
    return out.getvalue()


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
