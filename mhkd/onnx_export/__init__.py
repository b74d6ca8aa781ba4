"""A student as one ``.onnx`` file, which runs without torch and Detectron2."""

from .export import export_onnx

__all__ = ["export_onnx"]
