"""An ``.onnx`` student: one file that holds the network and what is to be known of it.

onnxruntime runs it, neither torch nor Detectron2 is imported. The file may be a stranger's: it is data, its
record is checked, and it may not refer to other files.
"""

import functools
import os
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError
from .files import refuse_pipe
from .onnx_record import KEY, OnnxRecord
from .system import memory_bytes

SUFFIX = ".onnx"
INPUTS, OUTPUTS = ["image", "min_score"], ["boxes", "scores", "classes"]
MASKS = "masks"  # one more output, of a student that finds masks
TYPES = ["tensor(uint8)", "tensor(float)", "tensor(float)", "tensor(float)", "tensor(int64)"]
TYPE_OF_MASKS = "tensor(float)"
LARGEST_BYTES = 2**31 - 1  # of a message of protobuf
# A tensor's values in another file: protobuf's key "location", its length written in any way.
_ELSEWHERE = re.compile(rb"(\x0a|\x8a\x80*\x00)(\x08|\x88\x80*\x00)location")
# And an operator that goes round, for as long as the picture says: a student has none.
_LOOPS = re.compile(rb"(\x22|\xa2\x80*\x00)((\x04|\x84\x80*\x00)(Loop|Scan)|(\x0b|\x8b\x80*\x00)SequenceMap)")
TRIAL_PX, TRIAL_S = 32, 10  # side of the first picture, and the longest that a network may look at it


def is_onnx(student: str | os.PathLike[str]) -> bool:
    """Whether a student is given as an ``.onnx`` file, by the name of it."""
    return Path(student).suffix.lower() == SUFFIX


def available_threads() -> int:
    """As many as there are processors for this process, or as OMP_NUM_THREADS says."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class OnnxNetwork:
    """The session that runs an ``.onnx`` student, on the CPU.

    Attributes:
        path: the file.
        record: what it records.
        masks: whether it finds masks too.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None) -> None:
        """Load it; it has looked at a picture afterwards.

        Args:
            path: of ``mhkd export --format onnx``.
            threads: that one image may use; default: :func:`available_threads`.

        Raises:
            InputError: there is no such file, it is damaged, or no student.
        """
        self.path = Path(path)
        content = _read(self.path)
        if _ELSEWHERE.search(content):  # onnxruntime follows some of these references, by version
            raise InputError(f"{path}: has weights in other files, which are not read: export it anew")
        if _LOOPS.search(content):
            raise InputError(f"{path}: has loops, and no student has any: export it anew")
        import onnxruntime

        _limit_memory()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or available_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others may need the core
        options.log_severity_level = 4  # what is wrong is raised
        options.add_session_config_entry("session.load_model_format", "ONNX")
        options.add_session_config_entry("session.use_env_allocators", "1")  # which has the limit
        try:
            self._session = onnxruntime.InferenceSession(
                content,
                options,
                ["CPUExecutionProvider"],
                disabled_optimizers=["QDQPropagationTransformer"],  # it makes int8's max pooling a slow one
            )
        except Exception as e:  # onnxruntime's own kinds, one a cause
            raise InputError(f"{path}: is damaged, or no .onnx file that can be used: {_short(e)}") from e
        self.record = self._record()
        self.masks = MASKS in [x.name for x in self._session.get_outputs()]
        self._check_ends()
        trial = onnxruntime.RunOptions()
        watch = threading.Timer(TRIAL_S, setattr, (trial, "terminate", True))
        watch.daemon = True
        watch.start()
        try:
            self(np.zeros((TRIAL_PX, TRIAL_PX, 3), np.uint8), options=trial)
        finally:
            watch.cancel()

    def __call__(
        self, image: np.ndarray, min_score: float | None = None, options: Any = None
    ) -> tuple[np.ndarray, ...]:
        """
        Args:
            image: (h, w, 3) uint8 RGB, LR pixels.
            min_score: detections have a higher score; default: the record's.
            options: onnxruntime's, of this run.

        Returns:
            float32 boxes (n, 4) XYXY in LR pixels, float32 scores (n,), falling, and int64 classes (n,); of a
            network with masks also float32 (n, M, M), over each box the probabilities that a point is in it.

        Raises:
            InputError: what comes out is not that, or nothing does.
        """
        score = self.record.min_score if min_score is None else min_score
        inputs = {"image": np.ascontiguousarray(image), "min_score": np.array(score, np.float32)}
        try:
            found = self._session.run([*OUTPUTS, MASKS] if self.masks else OUTPUTS, inputs, options)
        except Exception as e:  # onnxruntime's own kinds derive from Exception
            why = _short(e) if options is None or not options.terminate else f"more than {TRIAL_S} s"
            size = f"{image.shape[1]}x{image.shape[0]} px"
            raise InputError(f"{self.path}: cannot look at a picture of {size}: {why}") from e
        boxes, scores, classes, *masks = found
        n = len(classes)
        good = boxes.shape == (n, 4) and scores.shape == classes.shape == (n,)
        good = good and bool(np.isfinite(boxes).all() and ((scores >= 0) & (scores <= 1)).all())
        good = good and all(_can_be_masks(m, boxes, image) for m in masks)
        if not good or (n and not 0 <= classes.min() <= classes.max() < len(self.record.classes)):
            what = "boxes, scores, classes or masks" if masks else "boxes, scores or classes"
            raise InputError(f"{self.path}: gives {what} that there cannot be: export it anew")
        return tuple(found)

    def _record(self) -> OnnxRecord:
        try:
            text = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        except UnicodeDecodeError as e:
            raise InputError(f"{self.path}: is damaged: what it records is no text: export it anew") from e
        if text is None:
            raise InputError(
                f"{self.path}: is a network, but no student of mhkd: one is made by mhkd export STUDENT "
                "--format onnx"
            )
        try:
            return OnnxRecord.parse(text)
        except (ValueError, RecursionError) as e:
            raise InputError(f"{self.path}: the record of the student {e}: export it anew") from e

    def _check_ends(self) -> None:
        """Raises InputError where inputs and outputs are not a student's."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        names, types = [x.name for x in (*inputs, *outputs)], [x.type for x in (*inputs, *outputs)]
        more = ([MASKS], [TYPE_OF_MASKS]) if self.masks else ([], [])
        expected = [*INPUTS, *OUTPUTS, *more[0]], [*TYPES, *more[1]]
        if (names, types) != expected or len(inputs[0].shape) != 3:
            raise InputError(f"{self.path}: does not take and give what a student does: export it anew")


def _can_be_masks(masks: np.ndarray, boxes: np.ndarray, image: np.ndarray) -> bool:
    """Also their boxes, over which masks are spread: within the image."""
    height, width = image.shape[:2]
    if masks.ndim != 3 or len(masks) != len(boxes) or masks.shape[1] != masks.shape[2] or not masks.shape[1]:
        return False
    within = (boxes >= 0).all() and (boxes <= [width, height, width, height]).all()
    within = within and (boxes[:, :2] <= boxes[:, 2:]).all()
    return bool(within and ((masks >= 0) & (masks <= 1)).all())


@functools.lru_cache(maxsize=1)
def load_onnx(path: str, threads: int | None = None) -> OnnxNetwork:
    """:class:`OnnxNetwork`, once in a process."""
    return OnnxNetwork(path, threads)


@functools.cache
def _limit_memory() -> None:
    """What networks compute takes half of this machine's memory at most, those of this process together."""
    import onnxruntime as ort

    memory = memory_bytes()
    arena = ort.OrtArenaCfg({"max_mem": memory // 2} if memory else {})
    kind = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(kind, arena)


def _read(path: Path) -> bytes:
    try:
        refuse_pipe(path)
        if path.is_dir():
            raise InputError(f"{path}: is a folder: give the .onnx file")
        if path.stat().st_size > LARGEST_BYTES:
            raise InputError(f"{path}: is larger than an .onnx file can be: correct the path")
        return path.read_bytes()
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror}): correct the path") from e


def _short(error: Exception) -> str:
    """One line of what onnxruntime says."""
    return " ".join(str(error).split())[:200]
