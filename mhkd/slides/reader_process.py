"""Slides read in a process of their own: of formats that cannot be checked beforehand, or by forked workers.

On some damage OpenSlide ends the process that it is in. Here that is the reader, and one failed slide. In a
process that was forked libvips may wait for ever for threads that only the first one has.
A request is a line of JSON on its standard input; the answer is a line of JSON and, after it, the pixels.
Written by hand because a pool of the standard library hangs or breaks as a whole when one of its processes
dies.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from typing import Any, NoReturn, cast

import numpy as np

from ..errors import InputError
from ..system import limit_process

MAX_MEMORY = 4 * 2**30  # address space of the reader: what a damaged file asks for beyond is refused
# The reader finds modules where this process does, as multiprocessing's children do.
_START = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
from mhkd.slides.reader_process import serve
serve(sys.argv[1], json.loads(sys.argv[3]))
"""


class ProcessPixels:
    """A slide that is read by another process. A reader that died is started again for the next window."""

    def __init__(self, path: str | os.PathLike[str], checked: bool = False) -> None:
        """
        Args:
            path: slide.
            checked: whether it is of a format that is checked beforehand, which needs no limit of memory.

        Raises:
            InputError: it cannot be opened, or ends the reader.
        """
        self.path, self._checked = os.fspath(path), checked
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        with self._lock:
            opened = self._answer(self._start(), "it is damaged")
        self.size_px: tuple[int, int] = tuple(opened["size_px"])
        self.downsamples: Sequence[int] = opened["downsamples"]
        self.mpp: tuple[float, float] | None = opened["mpp"] and tuple(opened["mpp"])

    def read(self, downsample: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """As :meth:`mhkd.slides.windows.Pixels.read`."""
        with self._lock:
            process = self._process
            if process is None:
                process = self._start()
                self._answer(process, "it is damaged")
            requests, answers = _pipes(process)
            with contextlib.suppress(BrokenPipeError):  # it is dead, which the answer tells
                requests.write(json.dumps([downsample, x, y, width, height]).encode() + b"\n")
                requests.flush()
            self._answer(
                process, f"its pixels at base pixel ({x * downsample}, {y * downsample}) are damaged"
            )
            pixels = np.empty((height, width, 3), np.uint8)
            if answers.readinto(pixels.data.cast("B")) != pixels.nbytes:
                self._died(process, "its pixels are damaged")
        return pixels

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = process = subprocess.Popen(
            [sys.executable, "-c", _START, self.path, json.dumps(sys.path), json.dumps(self._checked)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        weakref.finalize(self, _stop, process, os.getpid())
        return process

    def _answer(self, process: subprocess.Popen[bytes], fault: str) -> dict[str, Any]:
        line = _pipes(process)[1].readline()
        if not line.endswith(b"\n"):
            self._died(process, fault)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise InputError(answer["error"])
        return answer

    def _died(self, process: subprocess.Popen[bytes], fault: str) -> NoReturn:
        _stop(process, os.getpid())
        self._process = None
        raise InputError(f"{self.path}: {fault} (the process that read it has ended): copy the slide again")


def _pipes(process: subprocess.Popen[bytes]) -> tuple[io.BufferedWriter, io.BufferedReader]:
    """Where requests go and answers come from."""
    return cast(io.BufferedWriter, process.stdin), cast(io.BufferedReader, process.stdout)


def _stop(process: subprocess.Popen[bytes], pid: int) -> None:
    if os.getpid() != pid:  # of the process that this one was forked from
        return
    requests, answers = _pipes(process)
    with contextlib.suppress(OSError):
        requests.close()
    process.kill()
    process.wait()
    answers.close()


def serve(path: str, checked: bool = False) -> None:
    """Answer requests for one slide until standard input ends; see :class:`ProcessPixels`."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    if not checked:
        limit_process(MAX_MEMORY)
    from .sources import open_pixels, open_unchecked

    def answer(content: dict[str, Any], pixels: bytes | memoryview = b"") -> None:
        answers.write(json.dumps(content).encode() + b"\n")
        answers.write(pixels)
        answers.flush()

    try:
        slide = open_pixels(path) if checked else open_unchecked(path)
    except Exception as e:
        answer({"error": str(e) if isinstance(e, InputError) else f"{path}: {type(e).__name__}: {e}"})
        return
    answer({"size_px": slide.size_px, "mpp": slide.mpp, "downsamples": list(slide.downsamples)})
    for line in sys.stdin.buffer:
        try:
            pixels = slide.read(*json.loads(line))
        except Exception as e:
            answer({"error": str(e) if isinstance(e, InputError) else f"{path}: {type(e).__name__}: {e}"})
        else:
            answer({}, np.ascontiguousarray(pixels).data)
