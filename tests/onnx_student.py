"""An ``.onnx`` student without a network: it finds the same in every image."""

import json

import onnx
from onnx import TensorProto, helper


def write_onnx_student(path, boxes, scores, classes, masks=None, **record):
    """Write one.

    Args:
        path (Path): file.
        boxes (list): XYXY in LR pixels.
        scores (list[float]): of each box; those of ``min_score`` or less are left out.
        classes (list[int]): of each box.
        masks (ndarray): (n, M, M) probabilities, where it finds masks; boxes then lie in 32 x 32 LR pixels,
            its first image.
        record: other fields of :class:`mhkd.onnx_record.OnnxRecord` than these.
    """
    found = {
        "boxes": (TensorProto.FLOAT, [len(scores), 4], [v for box in boxes for v in box]),
        "scores": (TensorProto.FLOAT, [len(scores)], scores),
        "classes": (TensorProto.INT64, [len(scores)], classes),
    }
    if masks is not None:
        found["masks"] = (TensorProto.FLOAT, masks.shape, masks.ravel().tolist())
    constants = [helper.make_tensor(f"all_{name}", *what) for name, what in found.items()]
    nodes = [helper.make_node("Greater", ["all_scores", "min_score"], ["kept"])]
    nodes += [helper.make_node("Compress", [f"all_{name}", "kept"], [name], axis=0) for name in found]
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.UINT8, ["height", "width", 3]),
        helper.make_tensor_value_info("min_score", TensorProto.FLOAT, []),
    ]
    shapes = {"boxes": ["n", 4], "scores": ["n"], "classes": ["n"], "masks": ["n", "M", "M"]}
    outputs = [helper.make_tensor_value_info(k, kind, shapes[k]) for k, (kind, *_) in found.items()]
    graph = helper.make_graph(nodes, "student", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content = {
        "classes": ["normal", "sclerotic"], "lr_factor": 4, "lr_mpp": 4.0, "trained_size_px": 1024,
        "min_score": 0.05, "score_threshold": None, "chosen_on": "", "precision": "fp32", "compared": {},
        "weights_sha256": "", "mhkd": "0", **record,
    }  # fmt: skip
    helper.set_model_props(model, {"mhkd": json.dumps(content)})
    onnx.save(model, str(path))
