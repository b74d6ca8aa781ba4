"""CSV, written so that a spreadsheet opens it as it is meant and read as they write it; and Markdown."""

import csv
import io
import os
from collections.abc import Iterable

from .errors import InputError
from .files import refuse_pipe

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


def markdown_row(*cells: str) -> str:
    """A row of a Markdown table; names in it may hold what would end a cell or the row."""
    shown = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in shown)


def markdown_head(*cells: str) -> list[str]:
    """The first row of a table and the line under it: the first column to the left, numbers to the right."""
    return [markdown_row(*cells), "|---|" + "---:|" * (len(cells) - 1)]


def read_csv(path: str | os.PathLike[str], what: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """A table separated by commas, semicolons or tabs, with a line of column names.

    Args:
        path: CSV file, UTF-8 with or without its mark.
        what: what it is a table of, for messages.

    Returns:
        The names in lower case; the number of the line where each row ends, and its fields, without blanks
        around them. Rows without a single value are left out.

    Raises:
        InputError: no such table, or it cannot be read.
    """
    try:
        refuse_pipe(path)
        with open(path, encoding="utf-8-sig", newline="") as f:
            text = f.read()
        if "\0" in text:
            raise ValueError("it has characters of code 0, as UTF-16 would")
        lines = io.StringIO(text, newline="")
        head = lines.readline()
        lines.seek(0)
        reader = csv.reader(lines, delimiter=next((d for d in ";\t" if d in head), ","), strict=True)
        rows = [(reader.line_num, [field.strip() for field in row]) for row in reader]
    except FileNotFoundError as e:
        raise InputError(f"{path}: there is no such table of {what}: correct the path") from e
    except InputError:
        raise
    except (OSError, ValueError, csv.Error) as e:
        raise InputError(f"{path}: cannot be read as CSV ({e}): save it as CSV in UTF-8") from e
    columns = [c.lower() for c in rows[0][1]] if rows else []
    return columns, [(line, row) for line, row in rows[1:] if any(row)]
