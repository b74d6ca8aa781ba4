"""A packed student: one file of ``mhkd pack`` with a student and its card, read as a stranger's.

It is a zip whose files are stored as they are, so that no few bytes stand for many, and it holds the files
that are named here and no others, so that none is written elsewhere. Nothing in it is executed.
"""

import os
import shutil
import stat
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import InputError
from .files import refuse_pipe, writing_to
from .yaml_files import MAX_BYTES, one_line, parse_yaml

SUFFIX = ".mhkd"
CARD = "card.yaml"
FOLDER = ("config.yaml", "model_final.pth")  # of a folder, as mhkd.engine.exported writes it
ONNX = "student.onnx"
TRAINING_DATA = "training_data.json"  # of a folder; an .onnx file has it in itself
THRESHOLDS = {FOLDER: "threshold.json", (ONNX,): "student.threshold.json"}
_NAMES = {CARD, *FOLDER, ONNX, *THRESHOLDS.values(), TRAINING_DATA}
_LARGE = {FOLDER[1], ONNX}
_OF_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    RuntimeError,
    KeyError,
    struct.error,
)  # of zipfile
_AGAIN = "get it again, or pack the student again with mhkd pack"


def is_packed(student: str | os.PathLike[str]) -> bool:
    """Whether a student is given as a file of ``mhkd pack``, by the name of it."""
    return Path(student).suffix.lower() == SUFFIX


def read_card(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The card of a packed student, whose other files are not read.

    Raises:
        InputError: as :func:`unpacked`, or the card is no map of names.
    """
    with _opened(path) as archive, _reading(path):
        text = archive.read(CARD).decode()
    card = parse_yaml(text, f"{path}/{CARD}")
    if not isinstance(card, dict) or not all(isinstance(key, str) for key in card):
        raise InputError(f"{path}/{CARD}: holds no KEY: VALUE lines: {_AGAIN}")
    return card


@contextmanager
def unpacked(student: str | os.PathLike[str]) -> Iterator[str]:
    """A student's folder, or its ``.onnx`` file; of a packed one in a private folder, removed afterwards.

    Args:
        student: a folder or a file, packed or not.

    Raises:
        InputError: it is packed, and damaged, or holds what no packed student does. What is raised inside
            names the packed file instead of the folder.
    """
    if not is_packed(student):
        yield os.fspath(student)
        return
    with tempfile.TemporaryDirectory(prefix="mhkd-") as folder:
        with _opened(student) as archive, _reading(student), writing_to(folder):
            for name in archive.namelist():
                with archive.open(name) as packed, open(os.path.join(folder, name), "xb") as file:
                    shutil.copyfileobj(packed, file, 2**20)
            within = os.path.join(folder, ONNX) if ONNX in archive.namelist() else folder
        try:
            yield within
        except InputError as e:
            raise type(e)(str(e).replace(folder, os.fspath(student))) from e


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[zipfile.ZipFile]:
    """Its contents are looked at before anything is read."""
    try:
        refuse_pipe(path)
        if os.path.isdir(path):
            raise InputError(f"{path}: is a folder, not a file of mhkd pack: correct the path")
        file: IO[bytes] = open(path, "rb")
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror}): correct the path") from e
    with file:
        with _reading(path):
            archive = zipfile.ZipFile(file)
        with archive:
            _check(path, archive.infolist(), os.fstat(file.fileno()).st_size)
            yield archive


def _check(path: str | os.PathLike[str], members: list[zipfile.ZipInfo], size: int) -> None:
    names = [member.filename for member in members]
    for member in members:
        name = repr(member.filename[:80])
        kind = stat.S_IFMT(member.external_attr >> 16)
        if member.filename not in _NAMES:
            raise InputError(f"{path}: holds {name}, which no packed student does: {_AGAIN}")
        if kind not in (0, stat.S_IFREG):
            raise InputError(f"{path}: {name} in it is no plain file but a link or the like: {_AGAIN}")
        if names.count(member.filename) > 1:
            raise InputError(f"{path}: holds {name} twice: {_AGAIN}")
        if member.flag_bits & 1 or member.compress_type != zipfile.ZIP_STORED:
            raise InputError(f"{path}: {name} in it is compressed or encrypted, as none is: {_AGAIN}")
        if member.file_size > MAX_BYTES and member.filename not in _LARGE:
            raise InputError(f"{path}: {name} in it is larger than {MAX_BYTES // 1024} KiB: {_AGAIN}")
    if sum(member.file_size for member in members) > size:
        raise InputError(f"{path}: claims to hold more than a file of its size can: {_AGAIN}")
    for student, threshold in THRESHOLDS.items():
        optional = {threshold, TRAINING_DATA} if student == FOLDER else {threshold}
        if set(names) - optional == {CARD, *student}:
            return
    raise InputError(
        f"{path}: holds {', '.join(names) or 'nothing'}, but not {CARD} and either {' and '.join(FOLDER)} or "
        f"{ONNX}: {_AGAIN}"
    )


@contextmanager
def _reading(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, *_OF_DAMAGE) as e:
        raise InputError(f"{path}: is damaged or no file of mhkd pack ({one_line(e)}): {_AGAIN}") from e
