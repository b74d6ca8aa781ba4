"""Files that are written whole or not at all, and folders that one process at a time writes to."""

import errno
import hashlib
import json
import logging
import os
import platform
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

from .errors import InputError
from .system import lock

logger = logging.getLogger(__name__)

_inside: set[str] = set()  # folders that this process has locked
_inside_guard = threading.Lock()
_locked: set[str] = set()  # those of them whose lock file is there
LOCK = ".lock"
TEMPORARY = ".tmp"  # ends the name of what is being written
NAME_BYTES = 255  # of a file, whatever the file system
# What the user can mend, by making room or choosing another folder.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR,
         errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.EIO}  # fmt: skip


class WriteError(InputError):
    """A disk is full, a folder cannot be written to: what comes next would fail for the same reason."""


@contextmanager
def replacing(path: str | os.PathLike[str], kept: Path | None = None) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to, renamed when done; nothing is left if that fails.

    The folder of ``path`` is made if need be.

    Args:
        kept: what was at ``path`` gets this name when the new one is whole; None: it is replaced.

    Raises:
        WriteError: the disk is full, the folder cannot be written to, or one that is locked was removed ...
    """
    path = Path(path)
    _refuse_removed(path)
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            if kept and path.is_file():
                os.replace(path, kept)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as e:
        raise _cannot_be_written(path, e) from e


@contextmanager
def replacing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """The same for a folder, empty at first; one that was there is removed when the new one is whole.

    Raises:
        WriteError: as above.
    """
    path = Path(path)
    _refuse_removed(path)
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed
        temporary.mkdir(parents=True)
        try:
            yield temporary
            shutil.rmtree(path, ignore_errors=True)
            os.replace(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as e:
        raise _cannot_be_written(path, e) from e


@contextmanager
def writing_to(folder: str | os.PathLike[str]) -> Iterator[None]:
    """For code that writes below ``folder`` in its own way: a full or unwritable disk is one clear line.

    Raises:
        WriteError: instead of an OSError that says so.
    """
    try:
        yield
    except OSError as e:
        _refuse_removed(Path(folder))
        if e.errno not in _DISK:
            raise
        raise _cannot_be_written(e.filename or folder, e) from e


@contextmanager
def locked(folder: str | os.PathLike[str], taken: str | None = None) -> Iterator[None]:
    """Only one process, and one thread of it, is inside for ``folder`` at a time; killed, it is out.

    Args:
        folder: made if need be; ``.lock`` lies there, with the number of the process that is inside.
        taken: what to say when another is; default: which one, and to choose another OUTPUT_DIR.

    Raises:
        InputError: another one is inside, or the folder cannot be written to.
    """
    path, place = Path(folder) / LOCK, os.path.realpath(folder)
    me = f"process {os.getpid()} on {platform.node()}"

    def refusal(holder: str) -> InputError:
        text = (
            f"{folder}: another run ({holder or 'of unknown number'}) is writing there: wait for it or "
            "end it, or choose another OUTPUT_DIR"
        )
        return InputError(taken or text)

    with _inside_guard:
        # The system keeps out other processes only, and to close the file a second time would let them in.
        if place in _inside:
            raise refusal(me)
        _inside.add(place)
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "a+", encoding="utf-8", errors="replace")
        except OSError as e:  # whatever the reason: nothing has been done yet
            raise _cannot_be_written(e.filename or folder, e) from e
        with file:
            try:
                lock(file)
            except (BlockingIOError, PermissionError) as e:
                file.seek(0)
                raise refusal(file.read().strip()) from e
            except OSError as e:
                reason = f"this file system has no locks ({e.strerror})"
                logger.warning("%s: %s: see that no other run writes there", folder, reason)
            file.truncate(0)
            file.write(f"{me}\n")
            file.flush()
            _locked.add(place)
            yield
    finally:
        _locked.discard(place)
        _inside.discard(place)


def _refuse_removed(path: Path) -> None:
    """A folder that this process has locked is not made anew when someone has removed it: what else was in it
    is gone.

    Raises:
        WriteError: ``path`` is in one that was removed.
    """
    real = Path(os.path.realpath(path))
    for place in (real, *real.parents):
        if str(place) in _locked and not (place / LOCK).exists():
            raise WriteError(
                f"{place}: was removed, or moved away, while this run was writing there: put it back, or "
                "begin anew with the same command"
            )


def _cannot_be_written(path: str | os.PathLike[str], error: OSError) -> WriteError:
    reason = error.strerror or error
    return WriteError(f"{path}: cannot be written ({reason}): make room or choose another folder")


def make_folder(folder: str | os.PathLike[str]) -> None:
    """With those above it; it may be there already.

    Raises:
        WriteError: it cannot be made.
    """
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as e:
        raise _cannot_be_written(folder, e) from e


def write_text(text: str, path: str | os.PathLike[str]) -> None:
    """UTF-8, to a temporary name beside ``path``, then renamed.

    What of a file's name is not UTF-8 is written as an escape, so that a message about it can be.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


def write_json(content: Any, path: str | os.PathLike[str], indent: int | None = 2) -> None:
    """JSON; raises ValueError for NaN, which is not JSON."""
    write_text(json.dumps(content, indent=indent, allow_nan=False) + "\n", path)


def read_json(path: str | os.PathLike[str], kind: type, again: str) -> Any:
    """The content of a small JSON file that the project wrote, which may be anyone's now.

    Args:
        path: file.
        kind: dict or list.
        again: the remedy.

    Raises:
        InputError: missing, or no JSON of that kind.
    """
    try:
        refuse_pipe(path)
        with open(path, encoding="utf-8") as f:
            content = json.load(f)
    except FileNotFoundError as e:
        raise InputError(f"{path}: is missing: {again}") from e
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as e:
        raise InputError(f"{path}: cannot be read ({e}): {again}") from e
    if not isinstance(content, kind):
        raise InputError(f"{path}: holds no {'list' if kind is list else 'object'}: {again}")
    return content


def is_text(value: Any) -> TypeGuard[str]:
    """Whether it is a text that a file can hold: JSON may have halves of characters."""
    return isinstance(value, str) and as_text(value) == value


def as_text(value: str) -> str:
    """As a file can hold it: a question mark for half a character."""
    return value.encode("utf-8", "replace").decode()


def fitting_name(name: str, suffix: str) -> str:
    """``name + suffix``, cut short, with a checksum in place of what is cut, where a file system has no room.

    A temporary name (see :func:`replacing`) fits too.
    """
    room = NAME_BYTES - len(os.fsencode(suffix + TEMPORARY))
    encoded = os.fsencode(name)
    if len(encoded) <= room:
        return name + suffix
    mark = "-" + hashlib.sha256(encoded).hexdigest()[:12]
    begin = encoded[: room - len(mark)]
    return begin.decode(errors="ignore") + mark + suffix  # no half of a character


def refuse_pipe(path: str | os.PathLike[str]) -> None:
    """Raise InputError for a pipe or a device, which reading would wait at for ever; OSError for nothing."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(f"{path}: is no file, but a pipe or a device: correct the path")


def sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal checksum of a file; of a MIRAX slide with its folder's files; of a folder of its files."""
    digest = hashlib.sha256()
    stem, suffix = os.path.splitext(path)
    files = [path]
    if os.path.isdir(path):
        inside = (os.path.join(path, n) for n in sorted(os.listdir(path)))
        files = [name for name in inside if os.path.isfile(name)]
    elif suffix.lower() == ".mrxs" and os.path.isdir(stem):
        files += [os.path.join(stem, n) for n in sorted(os.listdir(stem))]
    try:
        for name in files:
            refuse_pipe(name)
            with open(name, "rb") as f:
                while block := f.read(2**20):
                    digest.update(block)
    except FileNotFoundError as e:
        raise InputError(f"{path}: there is no such file: correct the path") from e
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror})") from e
    return digest.hexdigest()
