"""Weights and checkpoints, which strangers hand over: pickles, archives of torch, safetensors."""

import collections
import functools
import importlib
import io
import os
import pickle
import runpy
import shutil
import socket
import subprocess
import zipfile
from pathlib import Path

from mhkd.engine.exported import export_cfg, export_checkpoint
from mhkd.engine.pretrained.files import read_foreign
from mhkd.modeling.build import build_network

import numpy as np
import torch
import yaml
from _kinds import Kind, Runs, saved
from _kinds_of_annotations import _folder, _link, _pipe, _put
from _kinds_of_configs import CONFIG
from safetensors.torch import save_file
from support import tiny_config

RAN = "open('RAN', 'w')"
# Each would do something when it is unpickled.
COMMANDS = {
    "os.system": Runs(os.system, "touch RAN"),
    "os.mkdir": Runs(os.mkdir, "RAN"),
    "os.remove": Runs(os.remove, "../outside/secret.txt"),
    "eval": Runs(eval, RAN),
    "exec": Runs(exec, RAN),
    "open": Runs(open, "RAN", "w"),
    "open to read": Runs(open, "../outside/secret.txt"),
    "getattr": Runs(getattr, Runs(importlib.import_module, "os"), "system"),
    "import": Runs(__import__, "antigravity"),
    "import_module": Runs(importlib.import_module, "this"),
    "subprocess": Runs(subprocess.check_output, ["touch", "RAN"]),
    "Popen": Runs(subprocess.Popen, ["touch", "RAN"]),
    "run_path": Runs(runpy.run_path, "../outside/secret.txt"),
    "connect": Runs(socket.create_connection, ("127.0.0.1", 9)),
    "rmtree": Runs(shutil.rmtree, "../outside"),
    "partial": Runs(functools.partial, os.system, "touch RAN"),
    "map": Runs(list, Runs(map, os.system, ["touch RAN"])),
    "loads": Runs(pickle.loads, pickle.dumps(Runs(os.system, "touch RAN"))),
    "torch.load": Runs(torch.load, "../outside/weights.bin"),
    "np.load": Runs(np.load, "../outside/weights.bin"),
    "np.fromfile": Runs(np.fromfile, "../outside/weights.bin"),
    "memmap": Runs(np.memmap, "RAN", "uint8", "w+", 0, (10,)),
    "yaml": Runs(yaml.unsafe_load, "!!python/object/apply:os.system [touch RAN]"),
    "setattr": Runs(setattr, Runs(importlib.import_module, "builtins"), "RAN", 1),
    "exit": Runs(os._exit, 0),
    "kill": Runs(os.kill, 0, 9),
    "memory": Runs(bytearray, 2**33),
    "a list of zeros": Runs(list, Runs(range, 10**9)),
    "Counter": Runs(collections.Counter, "abc"),
}
RAW = {
    "global and reduce": b"cos\nsystem\n(S'touch RAN'\ntR.",
    "stack_global": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93\x94\x8c\x09touch RAN\x94\x85\x94R\x94.",
    "inst": b"(S'touch RAN'\nios\nsystem\n.",
    "obj": b"(cos\nsystem\nS'touch RAN'\no.",
    "ext": b"\x80\x02\x82\x01.",
    "persistent": b"Pos.system\n.",
    "build": b"cnumpy\ndtype\n(U\x02f4tR}(U\x0c__setstate__cos\nsystem\nsb.",
    "memory by a place": b"\x80\x02]r\xff\xff\xff\x7f.",
    "deep": b"(" * 3_000_000 + b".",
    "deep tuples": b"\x80\x02)" + b"\x85" * 3_000_000 + b".",
    "a long number": b"\x80\x02\x8b\xff\xff\xff\x7f" + b"\1" * 100 + b".",
    "a long text": b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\x00\x00a.",
    "a frame": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "doubled": b"\x80\x02]q\x00" + b"h\x00h\x00h\x00e" * 10 + b".",
    "laughs": b"\x80\x02]q\x00"
    + b"".join(b"]q%c(" % k + b"h%c" % (k - 1) * 10 + b"e" for k in range(1, 60))
    + b".",
    "an array of everything": b"\x80\x02cnumpy\nndarray\nq\x00(J\xff\xff\xff\x7ftR.",
}


def _weights():
    torch.manual_seed(0)
    return {f"layer1.{k}.conv1.weight": torch.randn(4, 3, 3, 3) for k in range(3)} | {
        "fc.bias": torch.randn(5)
    }


def _read_weights(path):
    def reads():
        found = read_foreign(Path(path))
        assert all(torch.isfinite(v).all() for v in found.weights.values() if v.is_floating_point())
        return [found.author, sorted((k, list(v.shape), str(v.dtype)) for k, v in found.weights.items())]

    return reads


def _pickled(path, commands=COMMANDS, protocol=2):
    """Alone, and within a dict of weights."""
    found = {}
    for name, command in commands.items():
        content = {"model": {"w": np.ones(3, np.float32), "x": command}}
        found[f"{name} alone"] = lambda folder, c=command: (folder / path).write_bytes(
            pickle.dumps(c, protocol)
        )
        found[f"{name} among weights"] = lambda folder, c=content: (folder / path).write_bytes(
            pickle.dumps(c, protocol)
        )
    return found | {name: _put(content, path) for name, content in RAW.items()}


def _in_archive(path, commands=COMMANDS):
    """Within what torch saves, in both of its forms."""
    found = {}
    for name, command in commands.items():
        content = {"model": {"w": torch.ones(3), "x": command}}
        found[f"{name} in an archive"] = _put(lambda c=content: saved(c), path)
        found[f"{name} in the old form"] = _put(lambda c=content: saved(c, old=True), path)
    for name, content in RAW.items():
        found[f"{name} in an archive"] = _put(lambda c=content: _with_pickle(c), path)
    return found | {
        "compressed": _put(lambda: _compressed(saved({"model": {"w": torch.zeros(10**7)}})), path),
        "one number for many": _put(
            lambda: saved({"model": {"x": torch.zeros(1).expand(10**9, 10**9)}}), path
        ),
        "a sparse tensor": _put(
            lambda: saved({"model": {"x": torch.sparse_coo_tensor([[0]], [1.0], (10**9,))}}), path
        ),
        "a quantised one": _put(
            lambda: saved({"model": {"x": torch.quantize_per_tensor(torch.ones(3), 1, 0, torch.qint8)}}), path
        ),
        "complex": _put(lambda: saved({"model": {"x": torch.ones(3, dtype=torch.complex64)}}), path),
        "names that are none": _put(lambda: saved({"model": {1: torch.ones(3), None: torch.ones(3)}}), path),
        "itself": _put(lambda: saved(_itself()), path),
        "a name of lines": _put(
            lambda: saved({"model": {"a\nb\x1b[2J": torch.tensor([float("nan")])}}), path
        ),
        "a pipe": lambda folder: _pipe(folder / path),
        "a device": lambda folder: _link(folder / path, "/dev/zero"),
        "a folder": lambda folder: _folder(folder / path),
    }


def _itself():
    content = {"model": {"x": torch.ones(3)}}
    content["more"] = content
    return content


def _with_pickle(content):
    """An archive of torch with another pickle in it."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved({"model": {"w": torch.ones(3)}}))) as old,
        zipfile.ZipFile(file, "w") as new,
    ):
        for info in old.infolist():
            new.writestr(info, content if info.filename.endswith("data.pkl") else old.read(info))
    return file.getvalue()


def _compressed(content):
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    return file.getvalue()


def _checkpoint(folder):
    torch.manual_seed(0)
    options = ["MODEL.ROI_HEADS.NUM_CLASSES", 2, "MHKD.CLASSES", ["a", "b"]]
    cfg = tiny_config(folder, options)
    weights = build_network(export_cfg(cfg, "student")).state_dict()
    content = {
        "model": {f"student.{k}": v for k, v in weights.items()},
        "plan": [{"step": "0_teacher"}],
        "stage": 1,
        "bfa": False,
        "classes": ["a", "b"],
        "lr_mpp": 8.0,
        "cfg": cfg.dump(),
        "iteration": 3,
    }
    torch.save(content, folder / "a.pth")


def _export():
    path = export_checkpoint("a.pth", "../out/student", "student")
    return [Path(path).name, len((Path("../out/student") / CONFIG).read_text())]


KINDS = [
    Kind(
        "weights pth",
        lambda f: torch.save({"model": _weights()}, f / "a.pth"),
        _read_weights("a.pth"),
        {"a.pth": "checkpoint"},
        _in_archive("a.pth"),
    ),
    Kind(
        "weights pkl",
        lambda f: (f / "a.pkl").write_bytes(
            pickle.dumps({"model": {k: v.numpy() for k, v in _weights().items()}, "__author__": "x"}, 2)
        ),
        _read_weights("a.pkl"),
        {"a.pkl": "pickle"},
        _pickled("a.pkl")
        | {f"{k} of protocol 5": v for k, v in _pickled("a.pkl", protocol=5).items() if k.endswith("alone")},
    ),
    Kind(
        "weights safetensors",
        lambda f: save_file(_weights(), f / "a.safetensors"),
        _read_weights("a.safetensors"),
        {"a.safetensors": "safetensors"},
        {
            "a header of 2^63": _put((2**63).to_bytes(8, "little") + b"{}", "a.safetensors"),
            "deep": _put((400_001).to_bytes(8, "little") + b"{" + b'"a":{' * 80_000, "a.safetensors"),
            "a pipe": lambda folder: _pipe(folder / "a.safetensors"),
        },
        share=0.7,
    ),
    Kind(
        "training checkpoint", _checkpoint, _export, {"a.pth": "checkpoint"}, _in_archive("a.pth"), share=0.5
    ),
]
