"""MHKD: multi-step hybrid knowledge distillation for glomeruli in low-resolution slides.

Importing the package makes Detectron2 0.6 importable, and registers the project's networks when Detectron2's
own are imported. It imports neither Detectron2 nor torch itself, so import it before them::

    import mhkd

    cfg = mhkd.load_cfg("projects/MHKD/configs/KidneyROI/mhkd_R50_FPN.yaml")
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

from . import compat
from .version import __version__

# onnxruntime's wheels send events of their use to their maker unless this is set before they are imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

if TYPE_CHECKING:
    from . import modeling
    from .config import add_mhkd_config, load_cfg
    from .engine.exported import load_student

__all__ = ["add_mhkd_config", "compat", "load_cfg", "load_student", "modeling", "__version__"]

_HOMES = {"add_mhkd_config": ".config", "load_cfg": ".config", "load_student": ".engine.exported"}


def __getattr__(name: str) -> Any:
    """What needs Detectron2 is imported when it is first asked for."""
    if name == "modeling":
        return importlib.import_module(".modeling", __name__)
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
