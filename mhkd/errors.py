"""The one exception that means "the input is at fault, and here is the remedy"."""

import contextlib
import os
import sys
from collections.abc import Iterator

from .missing import remedy
from .terminal import legible

_LONGEST = 4000  # characters of a message: two paths may have so many


class InputError(ValueError):
    """Bad input by the user. The message names the file (or key) and says what to do.

    It is one line whatever names the file holds: without line breaks and without what a terminal obeys.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(_in_one_line(str(message)))


def _in_one_line(text: str) -> str:
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    text = " ".join(part.strip() for part in text.splitlines())
    return legible(text)


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
