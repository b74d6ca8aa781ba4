"""The folder of one slide: what its results depend on, whether they are finished, what may go wrong."""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import shutil
from dataclasses import asdict

from ..errors import InputError
from ..evaluation.threshold_file import COUNTING
from ..version import __version__
from .exports import FILES
from .finished import read_finished

RUN, WORK, JOURNAL, RESULTS = "run.json", ".work", "tiles.jsonl", "results"


def file_state(path):
    """Size and time of change of a file, which tell whether it is still the same; None if it is gone."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def result_key(path, state, student, options):
    """Stands for all that the detections depend on."""
    decides = {k: v for k, v in asdict(options).items() if k not in COUNTING}
    content = {
        "mhkd": __version__,
        "torch": importlib.metadata.version("torch"),
        "slide": [os.path.abspath(path), *state],
        "student": [student.checksum, student.lr_mpp, student.tile_px, student.device],
        "options": decides,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def find_stored(folder, key):
    """The results that belong to the key, if the folder has them, whatever they were counted from.

    Returns:
        tuple[FinishedSlide, Detections, bool] or None: what was stored, and whether the slide is finished: it
        is not where a file is missing that can be made anew of what is stored.
    """
    for path in (folder / RUN, folder / WORK / RUN):  # the latter: killed while it was counted anew
        try:
            stored = read_finished(folder, path)
            if stored.run.get("key") != key or not isinstance(stored.run.get("tissue_area_um2"), float):
                continue
            detections = stored.detections()
            whole = path.parent == folder and bool(stored.summary)
        except InputError:
            continue
        return stored, detections, whole and all((folder / name).exists() for name in FILES)
    return None


def publish(folder, counted_anew):
    """Move the files of ``.work/results`` to the folder, run.json last.

    Until then a finished result of other options stays as it is, whatever fails. From the first move to the
    last the slide counts as unfinished; killed in between, the same command goes on from what is stored.

    Args:
        folder (Path): of the slide.
        counted_anew (bool): the folder's COCO results stay as they are.
    """
    if counted_anew and (folder / RUN).exists():
        os.replace(folder / RUN, folder / WORK / RUN)
    if not counted_anew:
        for path in (folder / WORK / RUN, folder / RUN):
            path.unlink(missing_ok=True)
    for name in (*FILES, RUN):
        os.replace(folder / WORK / RESULTS / name, folder / name)


def remove_work(folder):
    shutil.rmtree(folder / WORK, ignore_errors=True)


@contextlib.contextmanager
def writing(folder):
    """What the system says of a disk, in words that help."""
    try:
        yield
    except OSError as e:
        raise InputError(
            f"{folder}: cannot be written ({e.strerror or e}): make space or choose another --out; finished "
            "tiles are kept, and the same command goes on from them"
        ) from e


@contextlib.contextmanager
def reading(path, state):
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
