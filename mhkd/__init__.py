"""MHKD: multi-step hybrid knowledge distillation for glomeruli in low-resolution slides."""

from . import compat  # noqa: F401  (first: patches what Detectron2 imports)

__version__ = "0.1.0"
