"""Pickles of arrays are read, and those that are anything else run nothing."""

import builtins
import collections
import os
import pickle
import struct
import subprocess
import time

from mhkd.engine.pretrained.unpickle import read_pickle
from mhkd.errors import InputError

import numpy as np
import pytest

ARRAYS = {
    "w": np.arange(6, dtype=np.float32).reshape(2, 3),
    "by column": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big endian": np.array([1.5, -2], ">f4"),
    "half": np.array([0.5], np.float16),
    "none": np.zeros((0, 3), np.float32),
    "0-d": np.array(3, np.int64),
    "scalar": np.float32(7),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("old_name", [False, True])
def test_arrays_come_back(tmp_path, protocol, old_name):
    content = {
        "model": collections.OrderedDict(ARRAYS),
        "__author__": "someone",
        "epochs": [1, 2],
        "none": None,
    }
    data = pickle.dumps(content, protocol)
    if old_name and protocol < 4:  # from 4 on a name has its length before it
        data = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "w.pkl").write_bytes(data)
    read = read_pickle(tmp_path / "w.pkl")
    assert {k: v for k, v in read.items() if k != "model"} == {
        k: v for k, v in content.items() if k != "model"
    }
    assert list(read["model"]) == list(ARRAYS)
    for name, value in ARRAYS.items():
        np.testing.assert_array_equal(read["model"][name], value)
        assert read["model"][name].dtype == value.dtype and read["model"][name].shape == value.shape


def of_python_2(raw, shape):
    """An array as Python 2 pickles it, its bytes as a text without an encoding."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01("
        + b"".join(b"\x8a\x01" + bytes([n]) for n in shape)
        + b"tcnumpy\ndtype\n(U\x02f4K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + struct.pack("<i", len(raw))
        + raw
        + b"tb"
    )


def test_python_2s_arrays_come_back(tmp_path):
    value = np.array([[1.5, -2.25e-8, 3e30]], np.float32)
    data = b"\x80\x02}U\x07conv1_w" + of_python_2(value.tobytes(), value.shape) + b"s."
    np.testing.assert_array_equal(pickle.loads(data, encoding="latin1")["conv1_w"], value)  # it is one
    (tmp_path / "w.pkl").write_bytes(data)
    np.testing.assert_array_equal(read_pickle(tmp_path / "w.pkl")["conv1_w"], value)


class Call:
    """Pickled as a call of ``function``."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


RAN = "touch RAN"
MALICIOUS = {
    "os.system": (Call(os.system, RAN), "asks for posix.system"),
    "eval": (Call(builtins.eval, "open('RAN', 'w')"), "asks for (builtins|__builtin__).eval"),
    "exec": (Call(builtins.exec, "open('RAN', 'w')"), "asks for (builtins|__builtin__).exec"),
    "getattr": (Call(builtins.getattr, "os", "system"), "asks for (builtins|__builtin__).getattr"),
    "import": (Call(builtins.__import__, "os"), "asks for (builtins|__builtin__).__import__"),
    "subprocess": (
        Call(subprocess.check_output, ["touch", "RAN"]),
        "asks for (subprocess|commands).check_output",
    ),
    "numpy.load": (Call(np.load, "evil.npy", None, True), "asks for numpy.load"),
    "numpy.fromfile": (Call(np.fromfile, "/etc/passwd"), "asks for numpy.*fromfile"),
    "a class of ours": (Call(InputError, "x"), "asks for mhkd.errors.InputError"),
    "within a dict": (
        {"model": {"w": np.zeros(2), "x": [(1, Call(os.system, RAN))]}},
        "asks for posix.system",
    ),
    "as a state": (Call(collections.OrderedDict, state={"x": Call(os.system, RAN)}), "asks for posix.system"),
    "as an argument": (Call(collections.OrderedDict, [("x", Call(os.system, RAN))]), "asks for posix.system"),
    "within an array": (np.array([Call(os.system, RAN)], object), "asks for posix.system|array of 'O8'"),
    "an array of objects": (np.array([None, "x"], object), "array of 'O8'"),
    "text": (np.array(["a"]), "array of 'U1'"),
    "records": (np.zeros(2, "f4,i4"), "array of 'V8'"),
    "a set": ({1, 2}, "EMPTY_SET|asks for __builtin__.set"),
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", MALICIOUS)
def test_what_is_more_than_arrays_is_refused_by_name(tmp_path, monkeypatch, name, protocol):
    monkeypatch.chdir(tmp_path)
    content, said = MALICIOUS[name]
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(content, protocol))
    check_refused(tmp_path / "w.pkl", said)
    assert os.listdir(tmp_path) == ["w.pkl"]


HUGE = struct.pack("<Q", 2**40)
BYTE_BY_BYTE = {
    "an attribute's name": (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", "asks for builtins.eval"),
    "a name with dots": (b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.", "asks for numpy.ndarray.tof"),
    "an old instance": (b"(S'touch RAN'\nios\nsystem\n.", "has INST"),
    "an old call": (b"(cos\nsystem\nS'touch RAN'\no.", "has OBJ|asks for os.system"),
    "a new object": (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "has NEWOBJ"),
    "an extension": (b"\x80\x02\x82\x01.", "has EXT1"),
    "a persistent name": (b"\x80\x02U\x01aQ.", "has BINPERSID"),
    "a far place in the memo": (b"\x80\x02Nr\xff\xff\xff\x7f.", "has more in it"),
    "long bytes": (b"\x80\x04\x8e" + HUGE + b"x.", "is damaged"),
    "a long byte array": (b"\x80\x05\x96" + HUGE + b"x.", "is damaged"),
    "a long frame": (b"\x80\x04\x95" + HUGE + b"N.", "is damaged"),
    "a large number": (b"\x80\x02\x8a\x10" + b"\xff" * 15 + b"\x00.", "has more in it"),
    "many instructions": (b"\x80\x02" + b"}0" * 10 + b"N" * 400_000 + b".", "has POP"),
    "many values": (b"\x80\x02" + b"}" * 400_000 + b".", "has more in it"),
    "a huge array": (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(\x8a\x05\x00\x00\x00\x00\x10tU\x01btR.",
        "is damaged",  # it is not made before its bytes are there
    ),
    "more numbers than bytes": (b"\x80\x02" + of_python_2(b"\0" * 4, (200, 200)) + b".", "shape is not that"),
    "no bytes": (b"\x80\x02" + of_python_2(b"", (120,)) + b".", "shape is not that"),
    "a codec": (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x04\x00\x00\x00zlib\x86R.", "text in 'zlib'"),
    "one text many times": (
        b"\x80\x02c_codecs\nencode\nq\x00(X\x00\x00\x01\x00" + b"a" * 65536 + b"X\x06\x00\x00\x00latin1tq\x01"
        + b"h\x00h\x01R" * 50_000 + b".",
        "claims more",
    ),
    "an attribute of a function": (
        b"\x80\x02ccollections\nOrderedDict\nN}U\x0b__globals__}s\x86b.", "is damaged"
    ),
    "cut short": (pickle.dumps({"w": np.zeros(100)})[:200], "is damaged"),
    "empty": (b"", "is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", BYTE_BY_BYTE)
def test_instructions_that_no_array_has(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    content, said = BYTE_BY_BYTE[name]
    (tmp_path / "w.pkl").write_bytes(content)
    check_refused(tmp_path / "w.pkl", said)
    assert os.listdir(tmp_path) == ["w.pkl"]


def check_refused(path, said):
    start = time.perf_counter()
    with pytest.raises(InputError, match=said) as error:
        read_pickle(path)
    assert time.perf_counter() - start < 5
    line = str(error.value)
    assert line.startswith(f"{path}: ") and "\n" not in line and len(line) < 500


def test_a_file_larger_than_any_network(tmp_path):
    with open(tmp_path / "w.pkl", "wb") as f:
        f.truncate(2**33)  # it takes no room
    check_refused(tmp_path / "w.pkl", "larger than 4 GiB")
