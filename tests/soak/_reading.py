"""A process that reads slides, started again when it ends, with what may become of one."""

import atexit
import json
import os
import select
import subprocess
import sys
from pathlib import Path

SECONDS, MIB = (
    10,
    1024,
)  # of computing, since the machine may be busy; five minutes at most
_PROGRAM = Path(__file__).with_name("_slide_worker.py")
_workers = []


def _start():
    worker = subprocess.Popen(
        [sys.executable, _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    _workers.append(worker)
    _line(worker, 120)
    return worker


def _line(worker, seconds):
    """A line of its answers; None after some time, b"" when it has ended."""
    ready, _, _ = select.select([worker.stdout], [], [], seconds)
    return worker.stdout.readline() if ready else None


def _end():
    while _workers:
        worker = _workers.pop()
        worker.kill()
        worker.wait()


atexit.register(_end)


def read(path, mpp=None, reference=None, save=None):
    """What became of a slide.

    Raises:
        AssertionError: the process ended, hung, took too much memory or raised anything but InputError.
    """
    worker = _workers[0] if _workers else _start()
    request = {
        "path": str(path),
        "mpp": mpp,
        "reference": reference and str(reference),
        "save": save and str(save),
    }
    worker.stdin.write(json.dumps(request).encode() + b"\n")
    worker.stdin.flush()
    line = _line(worker, 300)
    if not line:
        _workers.remove(worker)
        worker.kill()
        code = worker.wait()
        assert line is not None, "no answer in five minutes"
        raise AssertionError(f"the process ended ({code})")
    answer = json.loads(line)
    assert "trace" not in answer, answer["trace"]
    assert answer["seconds"] < SECONDS, answer
    assert answer["mib"] < MIB and answer.get("reader_mib", 0) < MIB, answer
    return answer


def mib(answer):
    """How far memory rose, of the process that asks and of the one that reads for it."""
    return answer["mib"] + answer.get("reader_mib", 0)
