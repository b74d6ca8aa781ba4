"""Datasets: folders of COCO files, slides with annotations, and their HR and LR views."""

import importlib
from typing import TYPE_CHECKING, Any

from ..slides.views import read_view
from ..tiling.collect import register_slides, slides_to_coco, split_by_slide, write_coco

if TYPE_CHECKING:
    from .registrar import check_dataset, check_split_disjoint, ensure_registered, register_folders

__all__ = [
    "check_dataset",
    "check_split_disjoint",
    "ensure_registered",
    "read_view",
    "register_folders",
    "register_slides",
    "slides_to_coco",
    "split_by_slide",
    "write_coco",
]


def __getattr__(name: str) -> Any:
    """What needs Detectron2 is imported when it is first asked for."""
    if name in __all__:
        return getattr(importlib.import_module(".registrar", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
