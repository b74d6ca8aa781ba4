"""The one place that knows Detectron2 0.6 is old.

Importing this module lets Detectron2's Python sources run on today's torch and Pillow, with or without its
compiled extension. It costs nothing until Detectron2 is imported: a finder on ``sys.meta_path`` acts then.
Everything here is inert where it is not needed: a Detectron2 that was compiled by its user keeps its own
``_C``.
"""

import functools
import importlib
import sys
import types
import warnings
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

_MODELING = "detectron2.modeling"


class _Detectron2Finder:
    """Finds nothing itself: what the finders after it find is executed with what Detectron2 needs."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in ("detectron2", _MODELING):
            return None
        for finder in sys.meta_path[sys.meta_path.index(_Detectron2Finder) + 1 :]:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                loader: Any = spec.loader  # of this spec alone; it keeps whatever else it can do
                if loader is not None:
                    loader.exec_module = functools.partial(_execute, loader.exec_module)
                return spec
        return None


def _execute(exec_module: Callable[[types.ModuleType], None], module: types.ModuleType) -> None:
    if module.__name__ == "detectron2":
        _prepare(module)
    exec_module(module)
    if module.__name__ == _MODELING:
        _register_networks()


def _prepare(detectron2: Any) -> None:
    import PIL.Image

    # Pillow 10 removed the alias that detectron2.data.transforms uses at import.
    pillow: Any = PIL.Image
    if not hasattr(pillow, "LINEAR"):
        pillow.LINEAR = pillow.BILINEAR

    # Messages about our dependencies' own age, which no user of this project can act upon.
    warnings.filterwarnings("ignore", message=".*pkg_resources is deprecated.*")
    warnings.filterwarnings("ignore", message=".*torch.meshgrid.*indexing.*")
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*is deprecated.*")

    # `from detectron2 import _C` is unconditional there; only rotated boxes, the old deformable convolution
    # and the fast COCO evaluation need what is in it, and we use none of them. importlib.util.find_spec would
    # import Detectron2, and torch with it, to look there.
    if PathFinder.find_spec("detectron2._C", detectron2.__path__) is None:
        stub: Any = types.ModuleType("detectron2._C")
        stub.get_compiler_version = lambda: "not compiled"
        stub.get_cuda_version = lambda: "not compiled"
        stub.has_cuda = lambda: False
        sys.modules["detectron2._C"] = stub
        detectron2._C = stub


def _register_networks() -> None:
    """So that whatever builds a network in Detectron2 finds ours in the registries.

    Sound at the end of detectron2.modeling, since nothing that mhkd.modeling imports from outside itself
    imports detectron2.modeling: none of it can be half imported here.
    """
    importlib.import_module("mhkd.modeling")


if sys.modules.get("detectron2"):  # a compiled one, or one of which little is imported yet
    _prepare(sys.modules["detectron2"])
if sys.modules.get(_MODELING):
    _register_networks()
sys.meta_path.insert(0, _Detectron2Finder)
