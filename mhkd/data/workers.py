"""What a DataLoader's workers are reading, so that one that dies or fails can say it in one line."""

import contextlib
import ctypes
import multiprocessing
import multiprocessing.connection
import os
import re
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import get_worker_info

from ..errors import InputError

_NAME_BYTES = 1024
_DEAD = re.compile(r"DataLoader worker \(pid(?:\(s\))? (?P<pids>[\d, ]+)\) (?P<how>[^.\n]*)")
# torch puts the worker's whole traceback into the message of the error, which InputError has in one line.
_FAILED = re.compile(
    r"Caught \w+ in DataLoader worker process \d+\."
    r".* mhkd\.(?:errors\.InputError|data\.workers\.OutOfMemory): "
)
_watched: "weakref.WeakSet[WatchedMapper]" = weakref.WeakSet()


class OutOfMemory(InputError):
    """There is no memory for an image, which is none of the image's faults."""


class WatchedMapper:
    """A mapper of dataset dicts that notes, where other processes see it, which file a worker is at.

    Raises:
        OutOfMemory: instead of a MemoryError.
    """

    def __init__(self, mapper: Callable[[dict[str, Any]], Any], num_workers: int):
        self.mapper = mapper
        self.pids = multiprocessing.RawArray("q", num_workers)
        self._names = [multiprocessing.RawArray(ctypes.c_char, _NAME_BYTES) for _ in range(num_workers)]
        _watched.add(self)

    def __call__(self, entry: dict[str, Any]) -> Any:
        worker = get_worker_info()
        if worker is not None:
            self._names[worker.id].value = os.fsencode(entry["file_name"])[-_NAME_BYTES:]
            self.pids[worker.id] = os.getpid()
        try:
            return self.mapper(entry)
        except (InputError, MemoryError) as e:
            if isinstance(e, MemoryError) or isinstance(e.__cause__, MemoryError):
                raise OutOfMemory(f"{entry['file_name']}: there is not enough memory to read it") from e
            raise

    def file_of(self, pid: int) -> str | None:
        """The last file that the worker with this process id began to read."""
        found = [k for k, p in enumerate(self.pids) if p == pid]
        return os.fsdecode(self._names[found[0]].value) if found else None


@contextlib.contextmanager
def speaking_of_workers() -> Iterator[None]:
    """Within it, a worker of a DataLoader over a :class:`WatchedMapper` that dies, or raises InputError, is
    one line.

    Raises:
        InputError: it names the files that the dead workers were reading.
    """
    try:
        yield
    except InputError as e:
        failed = _FAILED.match(str(e))
        if not failed:
            raise
        raise InputError(str(e)[failed.end() :]) from e
    except (RuntimeError, ConnectionError, EOFError) as e:
        _stop_hearing()
        dead = _DEAD.search(str(e.__cause__)) or _DEAD.search(str(e))  # the cause knows the signal
        if dead is None and isinstance(e, RuntimeError):
            raise
        # Else one died while it handed an image over.
        pids = [int(pid) for pid in dead["pids"].split(",")] if dead else _gone()
        if not pids:
            raise
        how = dead["how"].strip() if dead else "died"
        read = ", ".join(f for f in map(_file_of, pids) if f) or "no image yet"
        raise InputError(
            f"a process that reads images ({', '.join(map(str, pids))}) {how}; it was last at {read}. If "
            "memory ran out, lower DATALOADER.NUM_WORKERS"
        ) from e


def _stop_hearing() -> None:
    """torch would raise a worker's death again with every process that ends, until its loader is gone."""
    if threading.current_thread() is threading.main_thread():
        with contextlib.suppress(RuntimeError):  # once more at this very moment
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _gone() -> list[int]:
    """Process ids of watched workers that are no longer, or are not within some seconds."""
    multiprocessing.connection.wait([c.sentinel for c in multiprocessing.active_children()], timeout=5)
    alive = {child.pid for child in multiprocessing.active_children()}
    return [pid for mapper in list(_watched) for pid in mapper.pids if pid and pid not in alive]


def _file_of(pid: int) -> str | None:
    return next(filter(None, (mapper.file_of(pid) for mapper in list(_watched))), None)
