"""The one exception that means "the input is at fault, and here is the remedy"."""

import contextlib
import os
from collections.abc import Iterator


class InputError(ValueError):
    """Bad input by the user. The message names the file (or key) and says what to do."""


@contextlib.contextmanager
def about(path: str | os.PathLike) -> Iterator[None]:
    """Within it, an error that names a key names the file of that key as well."""
    try:
        yield
    except InputError as e:
        raise InputError(f"{path}: {e}") from e
