"""MHKD: multi-step hybrid knowledge distillation for glomeruli in low-resolution slides.

Importing the package makes Detectron2 0.6 importable and registers the project's networks, so import it
before Detectron2::

    import mhkd

    cfg = mhkd.load_cfg("projects/MHKD/configs/KidneyROI/mhkd_R50_FPN.yaml")
"""

from . import compat, modeling  # compat first: it patches what Detectron2 imports
from .config import add_mhkd_config, load_cfg


def load_student(folder, device=""):
    """See :func:`mhkd.engine.checkpoint.load_student`."""
    from .engine.checkpoint import load_student  # brings the whole engine

    return load_student(folder, device)


__version__ = "0.1.0"
__all__ = ["add_mhkd_config", "compat", "load_cfg", "load_student", "modeling", "__version__"]
