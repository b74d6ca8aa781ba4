"""The folder of one slide: what its results depend on, whether they are finished, what may go wrong."""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError
from ..evaluation.detections import Detections
from ..evaluation.threshold_file import COUNTING
from ..version import __version__
from .exports import FILES
from .finished import FinishedSlide, read_finished
from .options import DetectOptions
from .student import Student

RUN, WORK, JOURNAL, RESULTS = "run.json", ".work", "tiles.jsonl", "results"
FileState = tuple[int, int, int]


def file_state(path: str) -> FileState | None:
    """Size, time of change and number of a file, which tell whether it is still the same; None if it is gone.

    Another file may have the size and the time, as one that was copied with them has.
    """
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def result_key(
    path: str,
    state: FileState | None,
    student: Student,
    options: DetectOptions,
    graded_by: Mapping[str, Any] | None = None,
) -> str:
    """Stands for all that the detections depend on, and their grades."""
    decides = {k: v for k, v in asdict(options).items() if k not in COUNTING}
    if not options.qc:  # as it was before there was one
        del decides["qc"]
    content = {
        "mhkd": __version__,
        student.packages[0]: importlib.metadata.version(student.packages[0]),
        "slide": [os.path.abspath(path), *(state or ())[:2]],  # a number is of one mount
        "student": [student.checksum, student.lr_mpp, student.tile_px, student.device],
        "options": decides,
        **({"grade": graded_by} if graded_by else {}),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Stored(NamedTuple):
    """What a folder has already.

    Attributes:
        slide: its small files.
        detections: all that are kept.
        whole: no file is missing, of those that can be made anew of what is stored.
    """

    slide: FinishedSlide
    detections: Detections
    whole: bool


def find_stored(folder: Path, key: str) -> Stored | None:
    """The results that belong to the key, if the folder has them, whatever they were counted from."""
    for path in (folder / RUN, folder / WORK / RUN):  # the latter: killed while it was counted anew
        try:
            stored = read_finished(folder, path)
            if stored.run.get("key") != key or not isinstance(stored.run.get("tissue_area_um2"), float):
                continue
            detections = stored.detections()
            whole = path.parent == folder and bool(stored.summary)
        except InputError:
            continue
        return Stored(stored, detections, whole and all((folder / name).exists() for name in FILES))
    return None


def publish(folder: Path, counted_anew: bool) -> None:
    """Move the files of ``.work/results`` to the folder, run.json last.

    Until then a finished result of other options stays as it is, whatever fails. From the first move to the
    last the slide counts as unfinished; killed in between, the same command goes on from what is stored.

    Args:
        folder: of the slide.
        counted_anew: the folder's COCO results stay as they are.
    """
    if counted_anew and (folder / RUN).exists():
        os.replace(folder / RUN, folder / WORK / RUN)
    if not counted_anew:
        for path in (folder / WORK / RUN, folder / RUN):
            path.unlink(missing_ok=True)
    for name in (*FILES, RUN):
        os.replace(folder / WORK / RESULTS / name, folder / name)


def remove_work(folder: Path) -> None:
    """What only a slide that is not finished needs."""
    shutil.rmtree(folder / WORK, ignore_errors=True)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What the system says of a disk, in words that help."""
    try:
        yield
    except OSError as e:
        raise InputError(
            f"{folder}: cannot be written ({e.strerror or e}): make space or choose another --out; finished "
            "tiles are kept, and the same command goes on from them"
        ) from e


@contextlib.contextmanager
def reading(path: str, state: FileState | None) -> Iterator[None]:
    """A slide that is taken away or replaced while it is read is told from one that is damaged."""
    gone = InputError(
        f"{path}: was taken away or changed while it was read: restore it and give the same command again"
    )
    try:
        yield
    except Exception as e:
        if file_state(path) != state:
            raise gone from e
        raise
    if file_state(path) != state:
        raise gone
