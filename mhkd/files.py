"""Files that are written whole or not at all."""

import json
import os
from contextlib import contextmanager
from pathlib import Path

from mhkd.errors import InputError


@contextmanager
def replacing(path):
    """A temporary name beside ``path`` to write to, renamed when done; nothing is left if that fails.

    Args:
        path (Path): the file; its folder is made if need be.

    Yields:
        Path: the temporary name.

    Raises:
        InputError: the disk is full, the folder cannot be written to, ...
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as e:
        reason = e.strerror or e
        raise InputError(f"{path}: cannot be written ({reason}): make room or choose another folder") from e


def write_text(text: str, path: Path) -> None:
    """UTF-8, to a temporary name beside ``path``, then renamed."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(content, path: Path, indent: int | None = 2) -> None:
    """JSON; raises ValueError for NaN, which is not JSON."""
    write_text(json.dumps(content, indent=indent, allow_nan=False) + "\n", path)
