"""Arrays out of a pickle, as Detectron2's model zoo has them, and nothing else: a pickle is a program.

The file's instructions are looked at before the first is carried out. Of the functions that it may name none
is called: what stands in for them takes plain values and numbers' raw bytes, and makes arrays that are no
larger than what the file holds.
"""

import io
import math
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError

MOST_BYTES = 4 * 2**30
MOST_INSTRUCTIONS = 300_000  # R-152 with its momentum has 50 thousand
MOST_OF_A_NUMBER = 2**40  # sizes, which need no more; larger ones are made to collide in a dict
# Plain values, lists, tuples, dicts, names of functions, and calls of these.
_INSTRUCTIONS = frozenset(
    """PROTO FRAME STOP MARK GLOBAL STACK_GLOBAL REDUCE BUILD NONE NEWTRUE NEWFALSE INT BININT BININT1
    BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES
    BINBYTES8 BYTEARRAY8 UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 EMPTY_LIST LIST APPEND APPENDS
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT DICT SETITEM SETITEMS PUT BINPUT LONG_BINPUT MEMOIZE
    GET BINGET LONG_BINGET""".split()
)
_NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


def read_pickle(path: Path) -> Any:
    """What a pickle of dicts, lists, plain values and NumPy's arrays of numbers holds.

    Raises:
        InputError: it names or does anything else, is larger than 4 GiB or damaged.
    """
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path}: is larger than {MOST_BYTES // 2**30} GiB, as no network's weights are")
    content = path.read_bytes()
    try:
        _check_instructions(content)
        return _plain(_Arrays(content).load())
    except InputError as e:
        raise InputError(f"{path}: {e}") from e
    except Exception as e:  # whatever instructions make of values that are not theirs
        raise InputError(f"{path}: is damaged, or no pickle of arrays ({type(e).__name__})") from e


def _check_instructions(content: bytes) -> None:
    for count, (instruction, argument, _) in enumerate(pickletools.genops(content)):
        if instruction.name not in _INSTRUCTIONS:
            raise InputError(f"has {instruction.name} in it, which arrays do not need: it is not loaded")
        if count > MOST_INSTRUCTIONS or (isinstance(argument, int) and _is_huge(instruction, argument)):
            raise InputError("has more in it than a network's weights: it is not loaded")


def _is_huge(instruction: pickletools.OpcodeInfo, argument: int) -> bool:
    """A place in the memo is memory up to there."""
    is_place = instruction.name in ("PUT", "BINPUT", "LONG_BINPUT")
    return abs(argument) > (MOST_INSTRUCTIONS if is_place else MOST_OF_A_NUMBER)


class _Type:
    """``numpy.dtype`` of numbers."""

    def __init__(self, name: str) -> None:
        if name not in _NUMBERS:
            raise InputError(f"has an array of {str(name)[:20]!r} in it, and only numbers are loaded")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """``numpy.ndarray``, which has its content by ``__setstate__``."""

    value: np.ndarray

    def __init__(self, spend: Callable[[int], None]) -> None:
        self._spend = spend

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        shape, kind, by_column, raw = state[-4:]
        raw = raw.encode("latin1") if isinstance(raw, str) else raw  # of Python 2
        self.value = _array(raw, kind, shape, "F" if by_column else "C", self._spend)


def _array(
    raw: bytes, kind: _Type, shape: tuple[int, ...], order: Any, spend: Callable[[int], None]
) -> np.ndarray:
    spend(len(raw))
    if math.prod(shape) * kind.dtype.itemsize != len(raw) or min(shape, default=1) < 0:
        raise InputError("has an array whose shape is not that of its numbers: it is damaged")
    return np.frombuffer(raw, kind.dtype).reshape(shape, order=order)


class _Arrays(pickle.Unpickler):
    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        # Numbers may be text first, then bytes, then an array; what is made more often than that is none.
        self._left = 4 * len(content)
        # A pickle may set attributes of what it is given, which text and bound methods have not.
        self._known: dict[tuple[str, str], Any] = {
            ("numpy", "ndarray"): "ndarray",
            ("numpy", "dtype"): self._type,
            ("collections", "OrderedDict"): self._dict,
            ("_codecs", "encode"): self._encode,
            ("__builtin__", "bytes"): self._no_bytes,
        }
        for core in ("numpy.core", "numpy._core"):  # its name before NumPy 2, and since
            self._known[core + ".multiarray", "_reconstruct"] = self._new_array
            self._known[core + ".multiarray", "scalar"] = self._scalar
            self._known[core + ".numeric", "_frombuffer"] = self._frombuffer

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._known:
            raise InputError(
                f"asks for {module}.{name}"[:200]
                + ", and a pickle that needs more than NumPy's arrays may run "
                "any code: it is not loaded"
            )
        return self._known[module, name]

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise InputError("claims more than a file of its size holds: it is not loaded")

    def _type(self, name: str, *_: Any) -> _Type:
        return _Type(name)

    def _new_array(self, *_: Any) -> _Array:
        return _Array(self._spend)

    def _scalar(self, kind: _Type, raw: bytes | str) -> np.ndarray:
        return _array(raw.encode("latin1") if isinstance(raw, str) else raw, kind, (), "C", self._spend)

    def _frombuffer(self, raw: bytes, kind: _Type, shape: tuple[int, ...], order: Any) -> np.ndarray:
        return _array(raw, kind, shape, order, self._spend)

    def _dict(self, items: Any = ()) -> dict[Any, Any]:
        self._spend(len(items))
        return dict(items)

    def _no_bytes(self) -> bytes:
        return b""

    def _encode(self, text: str, encoding: str) -> bytes:
        if encoding != "latin1":
            raise InputError(f"has text in {str(encoding)[:20]!r} in it, which no array is: it is not loaded")
        self._spend(len(text))
        return text.encode("latin1")


def _plain(content: Any) -> Any:
    """Its arrays and, two levels down, those of a dict of weights, without what stood in for them."""
    if isinstance(content, _Array):
        return content.value
    if not isinstance(content, dict):
        return content
    return {
        k: {n: _value(x) for n, x in v.items()} if isinstance(v, dict) else _value(v)
        for k, v in content.items()
    }


def _value(content: Any) -> Any:
    return content.value if isinstance(content, _Array) else content
