"""An .onnx file is a stranger's: whatever it holds, it is a student or one line about what it is instead."""

import dataclasses
import json
import os
import re
import subprocess
import sys

import mhkd  # noqa: F401  (first)
from mhkd import onnx_file
from mhkd.engine.exported import exported_cfg
from mhkd.errors import InputError
from mhkd.onnx_file import OnnxNetwork
from mhkd.onnx_record import KEY, OnnxRecord
from mhkd.slide_detection.student import load_student

import numpy as np
import pytest
import shapely
from onnx import TensorProto, helper, numpy_helper

RECORD = OnnxRecord(
    classes=["normal", "sclerotic"],
    lr_factor=4,
    lr_mpp=2.0,
    trained_size_px=1024,
    min_score=0.05,
    score_threshold=None,
    chosen_on="",
    precision="fp32",
    compared={},
    weights_sha256="0",
    mhkd="0.2.0",
)


def one_box_network(box=(1.0, 2.0, 3.0, 4.0), score=0.5, of_class=1, mask=None):
    """A graph with a student's inputs and outputs, which finds one box in every image."""
    values = {"boxes": np.array([box], np.float32), "scores": np.array([score], np.float32),
              "classes": np.array([of_class], np.int64)}  # fmt: skip
    if mask is not None:
        values["masks"] = np.array(mask, np.float32)
    inputs = [helper.make_tensor_value_info("image", TensorProto.UINT8, ["h", "w", 3]),
              helper.make_tensor_value_info("min_score", TensorProto.FLOAT, [])]  # fmt: skip
    types = {k: helper.np_dtype_to_tensor_dtype(v.dtype) for k, v in values.items()}
    outputs = [helper.make_tensor_value_info(k, types[k], [None] * v.ndim) for k, v in values.items()]
    nodes = [helper.make_node("Identity", [f"{k}_value"], [k]) for k in values]
    weights = [numpy_helper.from_array(v, f"{k}_value") for k, v in values.items()]
    graph = helper.make_graph(nodes, "one box", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write(model, path, record=RECORD):
    if record is not None:
        text = record if isinstance(record, str) else json.dumps(dataclasses.asdict(record))
        helper.set_model_props(model, {KEY: text})
    path.write_bytes(model.SerializeToString())
    return path


def refused(path):
    with pytest.raises(InputError) as caught:
        OnnxNetwork(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


def test_a_good_one(tmp_path):
    network = OnnxNetwork(write(one_box_network(), tmp_path / "good.onnx"))
    boxes, scores, classes = network(np.zeros((5, 7, 3), np.uint8))
    assert (boxes.tolist(), scores.tolist(), classes.tolist()) == ([[1, 2, 3, 4]], [0.5], [1])
    student = load_student(str(network.path), overlap_um=100.0)
    assert (student.class_names, student.lr_mpp, student.tile_px) == (("normal", "sclerotic"), 2.0, 256)
    with pytest.raises(InputError, match="--device cuda: an .onnx student runs on the cpu"):
        load_student(str(network.path), "cuda")


def test_a_good_one_with_masks(tmp_path):
    mask = np.ones((1, 28, 28))
    mask[:, 14:] = 0
    network = OnnxNetwork(write(one_box_network((4.0, 0.0, 16.0, 8.0), mask=mask), tmp_path / "good.onnx"))
    assert network.masks and network(np.zeros((8, 16, 3), np.uint8))[3].shape == (1, 28, 28)
    student = load_student(str(network.path), overlap_um=100.0)
    ((boxes, _, _, outlines),) = student.detect([np.zeros((8, 16, 3), np.uint8)])
    assert boxes.tolist() == [[4, 0, 16, 8]]
    half = shapely.box(4, 0, 16, 4)
    assert shapely.from_wkt(outlines[0]).symmetric_difference(half).area < 0.02 * half.area


@pytest.mark.parametrize("content", [b"", b"text", b"\x08\x08" * 100, os.urandom(1000)], ids=len)
def test_no_onnx_file(tmp_path, content):
    path = tmp_path / "student.onnx"
    path.write_bytes(content)
    assert "is damaged, or no .onnx file" in refused(path)


def test_a_file_cut_short_a_folder_and_nothing(tmp_path):
    whole = write(one_box_network(), tmp_path / "whole.onnx").read_bytes()
    for k in (1, 10, len(whole) // 2, len(whole) - 1):
        path = tmp_path / f"{k}.onnx"
        path.write_bytes(whole[:k])
        refused(path)
    (tmp_path / "folder.onnx").mkdir()
    assert "is a folder" in refused(tmp_path / "folder.onnx")
    assert "cannot be read" in refused(tmp_path / "gone.onnx")


def test_one_where_a_folder_is_wanted(tmp_path):
    path = write(one_box_network(), tmp_path / "s.onnx")
    with pytest.raises(
        InputError, match=r"s\.onnx: an \.onnx file is what .* take: give the folder it was made of"
    ):
        exported_cfg(path)


def test_a_network_that_is_no_student(tmp_path):
    path = write(one_box_network(), tmp_path / "other.onnx", record=None)
    assert "no student of mhkd: one is made by mhkd export STUDENT --format onnx" in refused(path)
    model = one_box_network()
    model.graph.output[0].name = "bboxes"
    model.graph.node[0].output[0] = "bboxes"
    assert "does not take and give what a student does" in refused(write(model, tmp_path / "names.onnx"))


@pytest.mark.parametrize(
    "change",
    [
        {"classes": []}, {"classes": "ab"}, {"classes": [1]}, {"classes": ["a", "a"]}, {"classes": [""]},
        {"classes": ["\ud800"]}, {"lr_factor": 0}, {"lr_factor": 4.0},
        {"lr_factor": True}, {"lr_mpp": -1}, {"lr_mpp": float("nan")}, {"lr_mpp": "2"},
        {"trained_size_px": -1},
        {"min_score": 2}, {"score_threshold": "high"}, {"score_threshold": 1.5}, {"precision": "fp4"},
        {"compared": 1}, {"mhkd": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_record_that_cannot_be(tmp_path, change):
    record = json.dumps({**dataclasses.asdict(RECORD), **change})
    message = refused(write(one_box_network(), tmp_path / "x.onnx", record))
    assert f"the record of the student has {next(iter(change))}" in message


def test_a_record_that_is_none(tmp_path):
    for k, text in enumerate(("", "no JSON", "[]", "{}", "[" * 100_000)):
        assert "the record of the student" in refused(write(one_box_network(), tmp_path / f"{k}.onnx", text))


@pytest.mark.parametrize(
    "values",
    [
        {"box": (np.nan, 0, 1, 1)}, {"box": (0, 0, np.inf, 1)}, {"box": (0, 0, 1)}, {"score": 1.5},
        {"score": -0.1}, {"of_class": 2}, {"of_class": -1},
        {"mask": np.ones((2, 4, 4))}, {"mask": np.ones((1, 4, 3))}, {"mask": np.ones((1, 0, 0))},
        {"mask": np.ones((1, 4))}, {"mask": np.full((1, 2, 2), 1.5)}, {"mask": np.full((1, 2, 2), np.nan)},
        {"mask": np.ones((1, 2, 2)), "box": (0, 0, 1e9, 1e9)},
        {"mask": np.ones((1, 2, 2)), "box": (9, 9, 1, 1)},
    ],
    ids=lambda values: " ".join(values),
)  # fmt: skip
def test_detections_that_cannot_be(tmp_path, values):
    message = refused(write(one_box_network(**values), tmp_path / "x.onnx"))
    assert re.search("gives boxes, scores(, classes)? or (classes|masks) that there cannot be", message)


def with_work(make, constants=()):
    """The one-box network with nodes that make ``work``, a number, which is added to the box."""
    model = one_box_network()
    graph = model.graph
    graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants)
    graph.node[0].output[0] = "box"
    graph.node.extend([*make, helper.make_node("Add", ["box", "work"], ["boxes"])])
    return model


def turns(kind):
    """A node that goes round 2^62 times, or as often as there are numbers."""
    scalar = [helper.make_tensor_value_info(k, TensorProto.FLOAT, []) for k in ("x", "y")]
    if kind == "Loop":
        ends = [
            helper.make_tensor_value_info(k, t, [])
            for k, t in (("i", TensorProto.INT64), ("c", TensorProto.BOOL))
        ]
        goes_on = helper.make_tensor_value_info("d", TensorProto.BOOL, [])
        nodes = [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Identity", ["x"], ["y"])]
        body = helper.make_graph(nodes, "body", [*ends, scalar[0]], [goes_on, scalar[1]])
        return helper.make_node(kind, ["turns", "go", "min_score"], ["work"], body=body)
    body = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "body", scalar[:1], scalar[1:])
    if kind == "Scan":
        return helper.make_node(kind, ["numbers"], ["work"], body=body, num_scan_inputs=1)
    return helper.make_node(kind, ["sequence"], ["work"], body=body)


@pytest.mark.parametrize("kind", ["Loop", "Scan", "SequenceMap"])
def test_a_loop_is_not_waited_for(tmp_path, kind):
    constants = [("turns", np.array(2**62)), ("go", np.array(True)), ("numbers", np.zeros(9, np.float32))]
    path = write(with_work([turns(kind)], constants), tmp_path / "loop.onnx")
    assert refused(path) == f"{path}: has loops, and no student has any: export it anew"


def test_what_takes_too_long_for_a_small_picture_is_ended(tmp_path, monkeypatch):
    """A thousand products of large matrices: minutes."""
    products = [helper.make_node("MatMul", [f"m{k}", f"m{k}"], [f"m{k + 1}"]) for k in range(1000)]
    nodes = [helper.make_node("Expand", ["min_score", "size"], ["m0"]), *products]
    nodes += [helper.make_node("ReduceMax", ["m1000"], ["work"], keepdims=0)]
    path = write(with_work(nodes, [("size", np.array([1500, 1500]))]), tmp_path / "long.onnx")
    monkeypatch.setattr(onnx_file, "TRIAL_S", 0.1)
    assert refused(path) == f"{path}: cannot look at a picture of 32x32 px: more than 0.1 s"


IN_LITTLE_MEMORY = """
import re, sys
from mhkd import onnx_file
from mhkd.errors import InputError
onnx_file.memory_bytes = lambda: 2**28
try:
    onnx_file.OnnxNetwork(sys.argv[1])
except InputError as e:
    print(e)
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


@pytest.mark.slow
def test_what_asks_for_more_memory_than_half_of_the_machines_is_refused(tmp_path):
    """Nineteen copies, each twice the one before: the last is of 6 GB."""
    nodes = [helper.make_node("Cast", ["image"], ["m0"], to=TensorProto.FLOAT)]
    nodes += [helper.make_node("Concat", [f"m{k}"] * 2, [f"m{k + 1}"], axis=0) for k in range(19)]
    nodes += [helper.make_node("ReduceMax", ["m19"], ["work"], keepdims=0)]
    path = write(with_work(nodes), tmp_path / "large.onnx")
    run = subprocess.run(
        [sys.executable, "-c", IN_LITTLE_MEMORY, str(path)], capture_output=True, text=True, check=True
    )
    message, kib = run.stdout.splitlines()
    assert message.startswith(f"{path}: cannot look at a picture of 32x32 px: ") and "Concat" in message
    assert int(kib) < 500 * 2**10


def test_a_network_that_fails_at_some_pictures_is_one_line(tmp_path):
    """Its one number has a place 0 and no other, and is looked up at the picture's first value."""
    nodes = [
        helper.make_node("Gather", ["image", "zero"], ["row"]),
        helper.make_node("Gather", ["row", "zero"], ["pixel"]),
        helper.make_node("Gather", ["pixel", "zero"], ["value"]),
        helper.make_node("Cast", ["value"], ["place"], to=TensorProto.INT64),
        helper.make_node("Gather", ["number", "place"], ["work"]),
    ]
    constants = [("zero", np.array(0)), ("number", np.zeros(1, np.float32))]
    network = OnnxNetwork(write(with_work(nodes, constants), tmp_path / "late.onnx"))
    assert network(np.zeros((4, 6, 3), np.uint8))[0].tolist() == [[1, 2, 3, 4]]
    with pytest.raises(InputError, match=r"late\.onnx: cannot look at a picture of 6x4 px: .*Gather"):
        network(np.full((4, 6, 3), 7, np.uint8))


@pytest.mark.parametrize("where", ["beside.bin", "../outside.bin", "absolute", "link.bin"])
@pytest.mark.parametrize("place", ["initializer", "attribute"])
def test_weights_in_other_files_are_not_read(tmp_path, monkeypatch, where, place):
    folder = tmp_path / "given"
    folder.mkdir()
    values = np.array([[1, 2, 3, 4]], np.float32).tobytes()
    for path in (folder / "beside.bin", tmp_path / "outside.bin"):
        path.write_bytes(values)
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    model = one_box_network()
    (tensor,) = (t for t in model.graph.initializer if t.name == "boxes_value")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    location = str(tmp_path / "outside.bin") if where == "absolute" else where
    for key, value in (("location", location), ("offset", "0"), ("length", str(len(values)))):
        tensor.external_data.add(key=key, value=value)
    if place == "attribute":
        model.graph.node[0].CopyFrom(helper.make_node("Constant", [], ["boxes"], value=tensor))
        model.graph.initializer.remove(tensor)
    path = write(model, folder / "student.onnx")
    monkeypatch.chdir(folder)
    assert "has weights in other files, which are not read" in refused(path)
