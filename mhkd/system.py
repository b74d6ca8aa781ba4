"""What POSIX and Windows do each in its own way."""

import contextlib
import os
import sys
import threading
from typing import IO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl
    import resource

_LOCKED_BYTE = 2**30  # where no file of ours has any: what Windows locks nobody else may read
_one_reader = threading.Lock()


def lock(file: IO[str]) -> None:
    """Keep other processes from locking an open file, until it is closed or this process ends.

    Raises:
        BlockingIOError, PermissionError: another has locked it.
        OSError: the file system has no locks.
    """
    if sys.platform == "win32":
        os.lseek(file.fileno(), _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock's, no child keeps it


def read_at(fd: int, n_bytes: int, offset: int) -> bytes:
    """Up to so many bytes of an open file from an offset on, in any thread.

    Raises:
        OSError: it cannot be read.
    """
    if sys.platform != "win32":
        return os.pread(fd, n_bytes, offset)
    with _one_reader:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, n_bytes)


def limit_process(memory_bytes: int) -> None:
    """This process gets no more address space, and leaves no core file; nothing is done on Windows."""
    if sys.platform != "win32":
        for limit, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, memory_bytes)):
            with contextlib.suppress(OSError, ValueError):  # a lower one is in force
                resource.setrlimit(limit, (value, value))


def memory_bytes() -> int | None:
    """Of this machine; None on Windows, which gives nobody more than it has."""
    if sys.platform == "win32":
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def relative_path(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> str:
    """The path from a folder, with slashes, as a file that other systems read has it; absolute from another
    drive."""
    try:
        path = os.path.relpath(path, folder)
    except ValueError:
        path = os.path.abspath(path)
    return path.replace(os.sep, "/")
