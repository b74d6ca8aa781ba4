"""How a file begins, by which its format is told."""

import os

from ..errors import InputError


def read_head(path, what, again, size):
    """The first bytes of a file.

    Args:
        path (str): file.
        what (str): what it should be, "slide".
        again (str): the remedy where it is empty.
        size (int): how many bytes.

    Returns:
        tuple[bytes, int]: they, and the size of the file.

    Raises:
        InputError: missing, empty or unreadable.
    """
    try:
        n = os.path.getsize(path)
        with open(path, "rb") as f:
            head = f.read(size)
    except FileNotFoundError as e:
        raise InputError(f"{path}: there is no such {what}: restore it or correct the path") from e
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror})") from e
    if n == 0:
        raise InputError(f"{path}: the file is empty (0 bytes): {again}")
    return head, n
