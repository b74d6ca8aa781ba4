"""How a file begins, by which its format is told."""

import os

from ..errors import InputError
from ..files import refuse_pipe


def read_head(path: str | os.PathLike[str], what: str, again: str | None, size: int) -> tuple[bytes, int]:
    """The first bytes of a file.

    Args:
        path: file.
        what: what it should be, "slide".
        again: the remedy where it is empty; None: it may be.
        size: how many bytes.

    Returns:
        The bytes, and the size of the file.

    Raises:
        InputError: missing, empty or unreadable.
    """
    try:
        refuse_pipe(path)
        n = os.path.getsize(path)
        with open(path, "rb") as f:
            head = f.read(size)
    except FileNotFoundError as e:
        raise InputError(f"{path}: there is no such {what}: restore it or correct the path") from e
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror})") from e
    if n == 0 and again is not None:
        raise InputError(f"{path}: the file is empty (0 bytes): {again}")
    return head, n
