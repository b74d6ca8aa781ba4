"""A run that is killed at any moment and started again ends as one that was never killed, to the bit.

Trainings of detection and of classification, also with a worker of the DataLoader or one of two processes
killed; and slide detection, also with a Dask worker killed, which ends without being started again.
"""

import atexit
import functools
import json
import random
import shutil
import signal
import tempfile
from pathlib import Path

from _killed import (
    DIED,
    ITERATIONS,
    EndOne,
    contents,
    datasets_at,
    detect,
    detect_on_cluster,
    differences,
    in_a_process,
    said,
    train,
)
from blob_student import write_disks as write_slide_of_disks
from labelled_images import write_labels
from onnx_student import write_onnx_student
from support import write_disks

# What is killed -> moments of each kind, in full; the sample has the first of each.
MOMENTS = {
    "detection": {"call": 30, "byte": 20, "time": 10},
    "classification": {"call": 8, "byte": 4, "time": 4},
    "slide": {"call": 10, "byte": 8, "time": 4},
    "loader": {"worker": 3},
    "processes": {"rank": 4},
    "cluster": {"worker": 4},
}
ENDED_BY = {"call": signal.SIGKILL, "byte": signal.SIGXFSZ, "time": signal.SIGKILL}


CALLS = 36  # of a Dask worker that change files


def cases(full):
    counts = {(what, kind): n for what, kinds in MOMENTS.items() for kind, n in kinds.items()}
    return [
        f"{what} {kind} {k} of {n}"
        for (what, kind), n in counts.items()
        for k in range(n)
        if full or k == n // 2
    ]


@functools.cache
def place():
    """Data, and a folder of references, for as long as this process lives."""
    folder = Path(tempfile.mkdtemp(prefix="mhkd_kills_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_disks(folder / "data")
    classes = ("dark", "mid", "pale")
    rows = [(f"{n}.png", classes[k % 3], f"s{k % 2}", f"p{k % 2}") for k, n in enumerate("abcdef")]
    write_labels(folder / "data", rows)
    rows = [(f"{n}.png", c, "s2", "p2") for n, c in zip("xyz", classes)]
    write_labels(folder / "data", rows, split="val")
    write_slide_of_disks(folder / "disks.tiff", (2400, 2400))
    write_onnx_student(folder / "student.onnx", [[9, 9, 60, 60]], [0.9], [0])
    return folder


def work_of(what):
    """Function and arguments that do it, and finish it when it was killed."""
    if what == "slide":
        return detect, str(place() / "disks.tiff")
    if what == "cluster":
        return detect_on_cluster, str(place() / "disks.tiff"), str(place() / "student.onnx")
    kind = "classification" if what == "classification" else "detection"
    options = ["DATALOADER.NUM_WORKERS", 1] if what == "loader" else []
    options += ["SOLVER.IMS_PER_BATCH", 2] if what == "processes" else []
    return train, kind, options, None, 2 if what == "processes" else 1


@functools.cache
def whole(what):
    """Contents of a run that is not killed, calls that changed files, CPU seconds, largest file."""
    folder = place() / what
    folder.mkdir()
    status = in_a_process(folder, None, *work_of(what))
    assert status == 0, said(folder)
    calls, seconds = json.loads((folder / "counts.json").read_text())
    return contents(folder / "out"), calls, seconds


def run(case, folder):
    what, kind, k, _, n = case.split()
    with datasets_at(place() / "data"):
        return run_killed(what, kind, int(k), int(n), folder)


def run_killed(what, kind, k, n, folder):
    expected, calls, seconds = whole(what)
    work, *args = work_of(what)
    if what == "cluster":  # its worker is begun anew and goes on: the run itself ends
        assert in_a_process(folder, ("never",), work, *args, (2 * k + 1) * CALLS // (2 * n)) == 0, said(
            folder
        )
        assert (folder / DIED).exists(), said(folder)
        return equal(folder, expected)
    if kind in ("worker", "rank"):
        iteration = (2 * k + 1) * ITERATIONS // (2 * n)
        args[2] = EndOne(iteration, None if kind == "worker" else k % 2)
        assert in_a_process(folder, ("never",), work, *args) != 0, said(folder)
        args[2] = None
    else:
        status = in_a_process(folder, moment(kind, k, n, calls, seconds), work, *args)
        assert status == -ENDED_BY[kind], (status, said(folder))
    assert in_a_process(folder, ("never",), work, *args) == 0, said(folder)
    return equal(folder, expected)


def equal(folder, expected):
    different = differences(contents(folder / "out"), expected)
    assert not different, different
    return "identical"


def moment(kind, k, n, calls, seconds):
    """The k-th of n, spread evenly over calls; over time and bytes as the case's own seed has it."""
    rng = random.Random(k)
    at = 1 + (2 * k + 1) * calls // (2 * n)
    if kind == "call":
        return "call", at
    if kind == "byte":
        return "byte", 1 + (at - 1) * 3 // 4, int(10 ** rng.uniform(0, 3))
    return "time", seconds * rng.uniform(0.02, 0.8)
