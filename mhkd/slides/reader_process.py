"""Slides of formats that cannot be checked beforehand, read in a process of their own.

On some damage OpenSlide ends the process that it is in. Here that is the reader, and one failed slide.
A request is a line of JSON on its standard input; the answer is a line of JSON and, after it, the pixels.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np

from ..errors import InputError

MAX_MEMORY = 4 * 2**30  # address space of the reader: what a damaged file asks for beyond is refused
_PACKAGE = Path(__file__).parents[1]
# The package without its __init__, which loads torch: the reader is there in a second and stays small.
_START = f"""
import sys, types
package = types.ModuleType("mhkd")
package.__path__ = [{str(_PACKAGE)!r}]
sys.modules["mhkd"] = package
from mhkd.slides.reader_process import serve
serve(sys.argv[1])
"""


class ProcessPixels:
    """A slide that is read by another process. A reader that died is started again for the next window."""

    def __init__(self, path):
        """
        Args:
            path (str): slide.

        Raises:
            InputError: it cannot be opened, or ends the reader.
        """
        self.path = os.fspath(path)
        self._lock = threading.Lock()
        self._process = None
        with self._lock:
            opened = self._start()
        self.size_px, self.downsamples = tuple(opened["size_px"]), opened["downsamples"]
        self.mpp = opened["mpp"] and tuple(opened["mpp"])

    def read(self, downsample, x, y, width, height):
        """As :meth:`mhkd.slides.openslide_pixels.OpenSlidePixels.read`."""
        with self._lock:
            if self._process is None:
                self._start()
            with contextlib.suppress(BrokenPipeError):  # it is dead, which the answer tells
                self._process.stdin.write(json.dumps([downsample, x, y, width, height]).encode() + b"\n")
                self._process.stdin.flush()
            self._answer(f"its pixels at base pixel ({x * downsample}, {y * downsample}) are damaged")
            pixels = np.empty((height, width, 3), np.uint8)
            if self._process.stdout.readinto(memoryview(pixels).cast("B")) != pixels.nbytes:
                self._died("its pixels are damaged")
        return pixels

    def _start(self):
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, self.path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        weakref.finalize(self, _stop, self._process, os.getpid())
        return self._answer("it is damaged")

    def _answer(self, fault):
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            self._died(fault)
        answer = json.loads(line)
        if "error" in answer:
            raise InputError(answer["error"])
        return answer

    def _died(self, fault):
        _stop(self._process, os.getpid())
        self._process = None
        raise InputError(f"{self.path}: {fault} (the process that read it has ended): copy the slide again")


def _stop(process, pid):
    if os.getpid() != pid:  # of the process that this one was forked from
        return
    with contextlib.suppress(OSError):
        process.stdin.close()
    process.kill()
    process.wait()
    process.stdout.close()


def serve(path):
    """Answer requests for one slide until standard input ends.

    Args:
        path (str): slide.
    """
    import resource

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    for limit, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, MAX_MEMORY)):
        with contextlib.suppress(OSError, ValueError):  # a lower one is in force
            resource.setrlimit(limit, (value, value))
    from .sources import open_unchecked

    def answer(content, pixels=b""):
        answers.write(json.dumps(content).encode() + b"\n")
        answers.write(pixels)
        answers.flush()

    try:
        slide = open_unchecked(path)
    except Exception as e:
        answer({"error": str(e) if isinstance(e, InputError) else f"{path}: {type(e).__name__}: {e}"})
        return
    answer({"size_px": slide.size_px, "mpp": slide.mpp, "downsamples": slide.downsamples})
    for line in sys.stdin.buffer:
        try:
            pixels = slide.read(*json.loads(line))
        except Exception as e:
            answer({"error": str(e) if isinstance(e, InputError) else f"{path}: {type(e).__name__}: {e}"})
        else:
            answer({}, np.ascontiguousarray(pixels).data)
