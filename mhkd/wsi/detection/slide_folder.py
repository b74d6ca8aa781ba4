"""The folder of one slide: what its results depend on, whether they are finished, what may go wrong."""

import contextlib
import hashlib
import importlib.metadata
import json
import os
from dataclasses import asdict

import mhkd
from mhkd.errors import InputError

RUN, SUMMARY, WORK, JOURNAL = "run.json", "summary.json", ".work", "tiles.jsonl"


def file_state(path):
    """Size and time of change of a file, which tell whether it is still the same; None if it is gone."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def result_key(path, state, student, options):
    """Stands for all that the detections depend on."""
    content = {
        "mhkd": mhkd.__version__,
        "torch": importlib.metadata.version("torch"),
        "slide": [os.path.abspath(path), *state],
        "student": [student.checksum, student.lr_mpp, student.tile_px, student.device],
        "options": asdict(options),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def finished_summary(folder, key):
    """The summary, if the folder has the results that belong to the key."""
    try:
        if json.loads((folder / RUN).read_text())["key"] != key:
            return None
        summary = json.loads((folder / SUMMARY).read_text())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return summary


def remove_work(folder):
    with contextlib.suppress(OSError):
        (folder / WORK / JOURNAL).unlink()
        (folder / WORK).rmdir()


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
