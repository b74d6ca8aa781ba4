"""The one exception that means "the input is at fault, and here is the remedy"."""

import contextlib
import os
import sys
from collections.abc import Iterator

from .missing import remedy


class InputError(ValueError):
    """Bad input by the user. The message names the file (or key) and says what to do."""


@contextlib.contextmanager
def in_one_line(program: str, status: int = 2) -> Iterator[None]:
    """Within it, bad input, or a package that is not installed, ends the program with one line."""
    try:
        yield
    except InputError as e:
        message = str(e)
    except ModuleNotFoundError as e:
        found = remedy(e)
        if found is None:
            raise
        message = found
    else:
        return
    print(f"{program}: error: {message}", file=sys.stderr)
    sys.exit(status)


@contextlib.contextmanager
def about(path: str | os.PathLike[str]) -> Iterator[None]:
    """Within it, an error that names a key names the file of that key as well."""
    try:
        yield
    except InputError as e:
        raise InputError(f"{path}: {e}") from e
