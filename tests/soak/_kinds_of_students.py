"""Students, weights and configs, which strangers hand over."""

import collections
import functools
import hashlib
import importlib
import io
import json
import os
import pickle
import runpy
import shutil
import socket
import stat
import subprocess
import zipfile
from pathlib import Path

from mhkd.engine.exported import export_cfg, export_checkpoint, export_network
from mhkd.engine.pretrained.files import read_foreign
from mhkd.engine.settings import check_settings, flat
from mhkd.engine.unread import load_run_cfg
from mhkd.evaluation.threshold_file import working_threshold
from mhkd.modeling.build import build_network
from mhkd.packed_student import CARD, read_card
from mhkd.packing import _read_card_file
from mhkd.schedules.files import read_schedule
from mhkd.slide_detection.student import load_student
from mhkd.yaml_files import read_config

import numpy as np
import onnx
import torch
import yaml
from _kinds import Kind, Runs, saved
from _kinds_of_annotations import _folder, _link, _pipe, _put
from onnx import TensorProto, helper
from onnx_student import write_onnx_student
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


def _student(folder):
    torch.manual_seed(0)
    options = ["MODEL.ROI_HEADS.NUM_CLASSES", 2, "MHKD.CLASSES", ["a", "b"], "MHKD.LR_MPP", 8.0]
    cfg = export_cfg(tiny_config(folder, options), "student")
    export_network(build_network(cfg).state_dict(), cfg, folder / "student")
    weights = folder / "student" / "model_final.pth"
    content = {
        "score_threshold": 0.25,
        "chosen_on": "x",
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    (folder / "student" / "threshold.json").write_text(json.dumps(content))


def _loaded(path):
    def reads():
        student = load_student(path, "cpu", overlap_um=100.0)
        threshold = working_threshold(path)
        assert 0 <= threshold.score <= 1 and student.lr_mpp > 0 and student.tile_px > 0
        return [
            list(student.class_names),
            student.lr_mpp,
            student.lr_factor,
            student.tile_px,
            threshold.score,
        ]

    return reads


def _packed(folder):
    _student(folder)
    with zipfile.ZipFile(folder / "a.mhkd", "w") as archive:
        archive.writestr(CARD, "name: a\nstain: PAS\nclasses: [a, b]\n")
        for name in ("config.yaml", "model_final.pth", "threshold.json"):
            archive.write(folder / "student" / name, name)
    shutil.rmtree(folder / "student")


def _read_packed():
    card = read_card("a.mhkd")
    json.dumps(card, default=str)
    return [str(card), *_loaded("a.mhkd")()]


def _zip_of(*members):
    def write():
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name, content, *kind in members:
                info = zipfile.ZipInfo(name)
                info.compress_type, info.external_attr = (
                    (*kind, zipfile.ZIP_STORED, 0o644 << 16)[:2] if kind else (0, 0o644 << 16)
                )
                archive.writestr(info, content)
        return file.getvalue()

    return _put(write, "a.mhkd")


CARD_OF_A = (CARD, "name: a\n")
ARCHIVES = {
    "a path upwards": _zip_of(CARD_OF_A, ("../outside/secret.txt", "x")),
    "an absolute path": _zip_of(CARD_OF_A, ("/tmp/mhkd_evil", "x")),
    "a drive": _zip_of(CARD_OF_A, ("C:\\x", "x")),
    "a name twice": _zip_of(CARD_OF_A, CARD_OF_A, ("config.yaml", "a: 1"), ("model_final.pth", "x")),
    "a bomb": _zip_of(
        CARD_OF_A, ("config.yaml", b"\0" * 50_000_000, zipfile.ZIP_DEFLATED), ("model_final.pth", "x")
    ),
    "a bomb of weights": _zip_of(
        CARD_OF_A, ("config.yaml", "a: 1"), ("model_final.pth", b"\0" * 90_000_000, zipfile.ZIP_DEFLATED)
    ),
    "bzip2": _zip_of(CARD_OF_A, ("config.yaml", "a: 1", zipfile.ZIP_BZIP2), ("model_final.pth", "x")),
    "lzma": _zip_of(CARD_OF_A, ("config.yaml", "a: 1", zipfile.ZIP_LZMA), ("model_final.pth", "x")),
    "a link": _zip_of(
        CARD_OF_A,
        ("config.yaml", "../outside/secret.yaml", 0, (stat.S_IFLNK | 0o777) << 16),
        ("model_final.pth", "x"),
    ),
    "many": _zip_of(CARD_OF_A, *((f"{k}", "x") for k in range(50_000))),
    "a card that runs": _zip_of(
        (CARD, "name: !!python/object/apply:os.system [touch RAN]"),
        ("config.yaml", "a: 1"),
        ("model_final.pth", "x"),
    ),
    "a card of lines": _zip_of(
        (CARD, 'name: "a\\nb\\e[2J"'), ("config.yaml", "a: 1"), ("model_final.pth", "x")
    ),
    "a card that is none": _zip_of((CARD, "- 1"), ("config.yaml", "a: 1"), ("model_final.pth", "x")),
    "a card of bytes": _zip_of((CARD, b"\xff\xfe\0"), ("config.yaml", "a: 1"), ("model_final.pth", "x")),
    "a config that runs": _zip_of(
        CARD_OF_A,
        ("config.yaml", "VERSION: !!python/object/apply:os.system [touch RAN]"),
        ("model_final.pth", "x"),
    ),
    "nothing": _put(b"PK\5\6" + bytes(18), "a.mhkd"),
    "a comment": _put(b"PK\5\6" + bytes(16) + b"\xff\xff" + b"x" * 65535, "a.mhkd"),
    "zip64 of 2^64": _put(
        b"PK\6\6"
        + (44).to_bytes(8, "little")
        + bytes(4)
        + b"\xff" * 40
        + b"PK\6\7"
        + bytes(16)
        + b"PK\5\6"
        + b"\xff" * 18,
        "a.mhkd",
    ),
    "a pipe": lambda folder: _pipe(folder / "a.mhkd"),
    "a folder": lambda folder: _folder(folder / "a.mhkd"),
    "a device": lambda folder: _link(folder / "a.mhkd", "/dev/zero"),
}


def _onnx(folder):
    boxes, masks = [[2, 2, 20, 20], [21, 21, 31, 31]], np.ones((2, 8, 8))
    write_onnx_student(folder / "a.onnx", boxes, [0.9, 0.4], [0, 1], masks, lr_mpp=8.0)


def _detected():
    """What it records, and what it finds with outlines."""
    recorded = _loaded("a.onnx")()
    student = load_student("a.onnx", "cpu", overlap_um=100.0)
    ((boxes, scores, classes, *outlines),) = student.detect([np.zeros((32, 40, 3), np.uint8)])
    assert all(len(column) == len(boxes) for column in (scores, classes, *outlines))
    return [*recorded, boxes.tolist(), scores.tolist(), classes.tolist(), [o.tolist() for o in outlines]]


def _onnx_with(change):
    """A nasty one: the sound model, changed."""

    def put(folder):
        model = onnx.load(str(folder / "a.onnx"))
        change(model)
        (folder / "a.onnx").write_bytes(model.SerializeToString())

    return put


def _external(location):
    def change(model):
        tensor = model.graph.initializer[0] if model.graph.initializer else None
        if tensor is None:
            tensor = helper.make_tensor("all_boxes", TensorProto.FLOAT, [2, 4], [0.0] * 8)
            model.graph.initializer.append(tensor)
            tensor = model.graph.initializer[-1]
        tensor.ClearField("float_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", "32")):
            tensor.external_data.add(key=key, value=value)

    return _onnx_with(change)


def _node(kind, inputs=(), outputs=("extra",), domain="", **attributes):
    return _onnx_with(
        lambda model: model.graph.node.insert(
            0, helper.make_node(kind, list(inputs), list(outputs), domain=domain, **attributes)
        )
    )


def _record(**changes):
    def change(model):
        (prop,) = (p for p in model.metadata_props if p.key == "mhkd")
        prop.value = json.dumps({**json.loads(prop.value), **changes})

    return _onnx_with(change)


def _constant_of(size):
    shape = helper.make_tensor("s", TensorProto.INT64, [len(size)], size)
    value = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])

    def change(model):
        model.graph.initializer.append(shape)
        model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["s"], ["huge"], value=value))
        model.graph.node.insert(1, helper.make_node("ReduceSum", ["huge"], ["sum"], keepdims=0))
        model.graph.output.append(helper.make_tensor_value_info("sum", TensorProto.FLOAT, []))

    return _onnx_with(change)


def _loop(model):
    """2^62 turns."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("c2", TensorProto.BOOL, [])],
    )
    model.graph.initializer.append(helper.make_tensor("turns", TensorProto.INT64, [], [2**62]))
    model.graph.initializer.append(helper.make_tensor("go", TensorProto.BOOL, [], [True]))
    model.graph.node.insert(0, helper.make_node("Loop", ["turns", "go"], [], body=body))


NETWORKS = {
    **{
        f"weights in {place}": _external(place)
        for place in ("beside.bin", "../outside/weights.bin", "/etc/passwd", "/dev/zero", "")
    },
    "an operator of its own": _node("Evil", domain="evil"),
    "a Python operator": _node("PyOp", domain="ai.onnx.contrib", module="os", name="system"),
    "a contributed one": _node("Inverse", ["min_score"], domain="com.microsoft"),
    "an unknown one": _node("NoSuch"),
    "a huge tensor": _constant_of([2**17, 2**16]),
    "a tensor that overflows": _constant_of([2**40, 2**40]),
    "a loop without end": _onnx_with(_loop),
    "a cycle": _node("Identity", ["extra"], ["extra"]),
    "a name of lines": _node("Identity", ["a\nb\x1b[2J"]),
    "classes of lines": _record(classes=["a\nb", "\x1b[2J"]),
    "more classes": _record(classes=["x" * 10**6] * 3),
    "a factor of 1000": _record(lr_factor=1000),
    "a resolution of 1e-9": _record(lr_mpp=1e-9),
    "a tile of 10^6": _record(trained_size_px=10**6),
    "chosen on lines": _record(chosen_on="a\nb\x1b[2J", score_threshold=0.5),
    "a pipe": lambda folder: _pipe(folder / "a.onnx"),
    "a folder": lambda folder: _folder(folder / "a.onnx"),
    "ort format": _put(b"\x18\0\0\0ORTM" + bytes(200), "a.onnx"),
    "text": _put("ir_version: 8\n", "a.onnx"),
}

CONFIG = "config.yaml"
TAGS = (
    "!!python/object/apply:os.system [touch RAN]",
    "!!python/object/new:os.system [touch RAN]",
    "!!python/name:os.system ''",
    "!!python/module:antigravity ''",
    "!!python/object:subprocess.Popen {args: [touch, RAN]}",
    "!!python/tuple [1, 2]",
    "!!python/object/apply:eval [\"open('RAN', 'w')\"]",
    "!!python/object/apply:subprocess.check_output [[touch, RAN]]",
    "!!python/object/new:type {args: [a, !!python/tuple [], {}], state: {}}",
    "!!python/long 1",
    "!!binary aGFsbG8=",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "!!timestamp 2001-01-01",
    "!!python/complex 1j",
    "!include ../outside/secret.yaml",
    "!!js/function 'x'",
    "!ruby/object:Gem",
    "!!python/bytes YQ==",
    "!!merge x",
    "!!value x",
)


def configs(path):
    """Config files that no one should be hurt by."""
    found = {f"tag {tag[:40]}": _put(f"VERSION: 2\nOUTPUT_DIR: {tag}\n", path) for tag in TAGS}
    found |= {f"tag {tag[:40]} of a key": _put(f"VERSION: 2\n? {tag}\n: 1\n", path) for tag in TAGS[:8]}
    for value in (
        "http://127.0.0.1:9/x.yaml",
        "https://127.0.0.1:9/x.yaml",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "detectron2://x.yaml",
        "s3://x/y",
        "manifold://x",
        "//127.0.0.1/x.yaml",
        "config.yaml",
        ".",
        "",
        "~root/.x",
        "mine.py",
        "/dev/zero",
        "/proc/self/environ",
        ["config.yaml"] * 3,
        ["a.yaml"] * 1000,
        {"a": 1},
        7,
        None,
        [[]],
        "x" * 5000,
        "a\0b",
        "a\nb",
    ):
        found[f"base {value!r:.40}"] = _put(yaml.safe_dump({"VERSION": 2, "_BASE_": value}), path)
    for value in (
        "__import__('os').system('touch RAN')",
        "(" * 2000,
        "[" * 3000,
        "-" * 4000,
        "9" * 4000,
        "'a' * 10**9",
        "1e999",
        "{'a': {'b': 1}}",
        "lambda: 1",
        "f'{1}'",
        "b'x'",
        "0x" + "f" * 4000,
        "1" + "_1" * 1900,
    ):
        for key in ("OUTPUT_DIR", "SEED"):
            found[f"{key} {value[:20]!r}"] = _put(json.dumps({"VERSION": 2, key: value}), path)
    return found | {
        "laughs": _put(
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"{chr(k + 1)}: &{chr(k + 1)} [{','.join([f'*{chr(k)}'] * 9)}]\n"
                for k in range(ord("a"), ord("i"))
            ),
            path,
        ),
        "merges": _put(
            "a: &a {x: 1}\n"
            + "".join(f"b{k}: &b{k} {{<<: [{', '.join(['*a'] * 20)}]}}\n" for k in range(200)),
            path,
        ),
        "merges of merges": _put(
            "a0: &a0 {k: 1}\n"
            + "".join(f"a{k}: &a{k} {{<<: [*a{k - 1}, *a{k - 1}]}}\n" for k in range(1, 40)),
            path,
        ),
        "an alias of itself": _put("a: &a [*a]\n", path),
        "deep": _put("a: " + "[" * 100_000, path),
        "deep by lines": _put("".join(" " * k + "a:\n" for k in range(700)), path),
        "flow that never ends": _put("{a: " * 50_000, path),
        "two documents": _put("VERSION: 2\n---\nVERSION: 2\n", path),
        "directives": _put("%YAML 9.9\n%TAG ! tag:evil,2000:\n---\nVERSION: 2\n", path),
        "keys that are none": _put("1: 2\nnull: 3\n[1, 2]: 3\n", path),
        "a key of lines": _put('"a\\nb\\e[2J": 1\n', path),
        "a key twice": _put("VERSION: 2\nVERSION: 2\n", path),
        "nulls": _put(b'VERSION: 2\nOUTPUT_DIR: "a\0b"\n', path),
        "sexagesimal": _put("VERSION: 2\nSEED: " + "1:" * 2000 + "1\n", path),
        "a year": _put("VERSION: 2\nSEED: 9999-99-99\n", path),
        "infinite": _put("VERSION: 2\nSOLVER: {BASE_LR: .inf, MOMENTUM: .nan}\n", path),
        "attributes": _put("VERSION: 2\n__class__: 1\n__immutable__: true\n__new_allowed__: true\n", path),
        "deprecated": _put("VERSION: 2\n__deprecated_keys__: [A]\n__renamed_keys__: {A: B}\n", path),
        "version 1": _put("VERSION: 1\nMODEL: {WEIGHT: x}\n", path),
        "large": _put("a: 1\n" * 100_000, path),
        "utf-16": _put("VERSION: 2\n".encode("utf-16"), path),
        "python": _put("import os\nos.system('touch RAN')\nmodel = 1\n", path),
        "a pipe": lambda folder: _pipe(folder / path),
        "a device": lambda folder: _link(folder / path, "/dev/zero"),
        "a folder": lambda folder: _folder(folder / path),
    }


def _config(folder):
    content = tiny_config("out", ["DATASETS.TRAIN", ("a_train",), "DATASETS.TEST", ("a_val",)])
    (folder / "mine.yaml").write_text(content.dump())
    (folder / CONFIG).write_text(
        "_BASE_: mine.yaml\nSEED: 7\nSOLVER: {BASE_LR: 0.01, IMS_PER_BATCH: 2}\nMHKD: {STUDENT_ITERS: 8}\n"
    )


def _read_config():
    cfg = load_run_cfg(CONFIG)
    check_settings(cfg)
    read_config(CONFIG)
    return sorted((k, str(v)) for k, v in flat(cfg).items())


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


def _stage(**changes):
    step = {"name": "basic", "weights": {"detect": 1, "basic": 1}, **changes}
    return _put(yaml.safe_dump({"steps": [step]}), "a.yaml")


SCHEDULE = (
    "student_start: scratch\nsteps:\n  - {name: basic, weights: {detect: 1, basic: 1}}\n"
    "  - {name: b, weights: {detect: 1.5}, bfa: true}\n"
)

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
    Kind(
        "student",
        _student,
        _loaded("student"),
        {
            "student/config.yaml": "yaml",
            "student/model_final.pth": "checkpoint",
            "student/threshold.json": "json",
        },
        configs("student/config.yaml")
        | _in_archive("student/model_final.pth")
        | {
            f"threshold {value!r:.30}": _put(
                json.dumps({"score_threshold": value, "weights_sha256": "0"}), "student/threshold.json"
            )
            for value in (None, "a", [], {}, -1, 2, True, float("nan"), 10**400)
        }
        | {
            "a threshold that is deep": _put("[" * 100_000, "student/threshold.json"),
            "a threshold that is a list": _put("[1]", "student/threshold.json"),
            "a threshold that is a pipe": lambda folder: _pipe(folder / "student/threshold.json"),
        },
        named=("student",),
        share=0.6,
    ),
    Kind("packed student", _packed, _read_packed, {"a.mhkd": "zip"}, ARCHIVES, share=0.6),
    Kind("onnx student", _onnx, _detected, {"a.onnx": "onnx"}, NETWORKS),
    Kind(
        "config",
        _config,
        _read_config,
        {CONFIG: "yaml", "mine.yaml": "yaml"},
        configs(CONFIG),
        named=("mine.yaml",),
        names_files=True,
        share=1.2,
    ),
    Kind(
        "schedule",
        lambda f: (f / "a.yaml").write_text(SCHEDULE),
        lambda: str(read_schedule("a.yaml")),
        {"a.yaml": "yaml"},
        configs("a.yaml")
        | {
            f"{key} {value!r:.20}": _stage(**{key: value})
            for key in ("name", "weights", "length", "teacher", "relative_to")
            for value in (
                "../x",
                [[1]],
                {"a": [1]},
                1e300,
                float("nan"),
                10**400,
                None,
                True,
                {1: 2},
                {"detect": "x"},
            )
        },
        share=0.6,
    ),
    Kind(
        "card",
        lambda f: (f / "card.yaml").write_text("name: a\nstain: PAS\n"),
        lambda: str(_read_card_file("card.yaml")),
        {"card.yaml": "yaml"},
        configs("card.yaml"),
        share=0.3,
    ),
]
