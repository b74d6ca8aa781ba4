"""The one place that knows Detectron2 0.6 is old.

Importing this module before Detectron2 lets its Python sources run on today's torch and Pillow, with or
without its compiled extension. Everything here is inert where it is not needed: a Detectron2 that was
compiled by its user keeps its own ``_C``.
"""

import importlib.util
import sys
import types
import warnings

import PIL.Image

# Pillow 10 removed the alias that detectron2.data.transforms uses at import.
if not hasattr(PIL.Image, "LINEAR"):
    PIL.Image.LINEAR = PIL.Image.BILINEAR

# Messages about our dependencies' own age, which no user of this project can act upon.
warnings.filterwarnings("ignore", message=".*pkg_resources is deprecated.*")
warnings.filterwarnings("ignore", message=".*torch.meshgrid.*indexing.*")
warnings.filterwarnings("ignore", message=".*torch.jit.script.*is deprecated.*")


def _stub_c_extension():
    """``from detectron2 import _C`` is unconditional there; only rotated boxes, the old deformable
    convolution and the fast COCO evaluation need what is in it, and we use none of them."""
    spec = importlib.util.find_spec("detectron2")
    if spec is None:
        raise ImportError("Detectron2 0.6 is not installed: run `make setup`")
    if importlib.util.find_spec("detectron2._C") is not None:
        return
    stub = types.ModuleType("detectron2._C")
    stub.get_compiler_version = lambda: "not compiled"
    stub.get_cuda_version = lambda: "not compiled"
    stub.has_cuda = lambda: False
    sys.modules["detectron2._C"] = stub
    sys.modules["detectron2"]._C = stub  # find_spec of the submodule has imported the package


_stub_c_extension()
