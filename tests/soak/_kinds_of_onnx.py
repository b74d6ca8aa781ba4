"""Students as ``.onnx`` files, which strangers hand over."""

import json

from mhkd.slide_detection.student import load_student

import numpy as np
import onnx
from _kinds import Kind
from _kinds_of_annotations import _folder, _pipe, _put
from _kinds_of_students import _loaded
from onnx import TensorProto, helper
from onnx_student import write_onnx_student


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

KINDS = [
    Kind("onnx student", _onnx, _detected, {"a.onnx": "onnx"}, NETWORKS),
]
