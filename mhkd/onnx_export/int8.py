"""Most of an ONNX network in whole numbers: static, QDQ, each channel with its own scale."""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

QUANTIZED = ["Conv", "Gemm", "MatMul"]
# What reads pixels and what gives scores, boxes and masks stays fp32: their errors go through unmended, and
# they are a small share of the time. Parts of the names of their weights.
KEPT_FP32 = (
    ".stem.", ".rpn_head.objectness_logits.", ".rpn_head.anchor_deltas.", ".box_predictor.",
    ".mask_head.predictor.",
)  # fmt: skip


def to_int8(model: onnx.ModelProto, tiles: Sequence[np.ndarray]) -> onnx.ModelProto:
    """A copy of a student's network with 8-bit weights and features.

    Args:
        model: see :func:`mhkd.onnx_export.export.trace`.
        tiles: LR pixels, uint8 RGB (h, w, 3), which show how large its features become.
    """
    model = _with_own_biases(model)
    weights = {
        node.name: node.input[1]
        for node in model.graph.node
        if node.op_type in QUANTIZED and len(node.input) > 1
    }
    kept = [name for name, weight in weights.items() if any(part in weight for part in KEPT_FP32)]
    logging.getLogger("root").addFilter(_no_advice)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        try:
            quantize_static(
                model,
                path,
                _Tiles(tiles),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=QUANTIZED,
                per_channel=True,
                reduce_range=True,  # 7 bits of weights: without VNNI a processor's sums of 16 bits overflow
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=kept,
            )
        finally:
            logging.getLogger("root").removeFilter(_no_advice)
        return onnx.load(path)


def _with_own_biases(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which each layer has a bias of its own: its 8-bit form depends on the scale of what the layer
    sees, so one that several share would stay fp32, and the layers with it."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    graph = copied.graph
    values = {tensor.name: tensor for tensor in graph.initializer}
    same_as = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}
    taken = set()
    for node in graph.node:
        if node.op_type in QUANTIZED and len(node.input) == 3:
            bias = values.get(same_as.get(node.input[2], node.input[2]))
            if bias is not None and (node.input[2] in taken or node.input[2] in same_as):
                node.input[2] = f"{node.name}.bias"
                graph.initializer.add().CopyFrom(bias)
                graph.initializer[-1].name = node.input[2]
            taken.add(node.input[2])
    return copied


class _Tiles(CalibrationDataReader):
    def __init__(self, tiles: Sequence[np.ndarray]) -> None:
        some = np.array(0.05, np.float32)
        self._inputs = iter([{"image": tile, "min_score": some} for tile in tiles])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._inputs, None)


def _no_advice(record: logging.LogRecord) -> bool:
    """onnxruntime asks for a model prepared for it, which changes nothing here."""
    return "pre-processing" not in record.getMessage()
