"""Datasets: folders of COCO files, slides with annotations, and their HR and LR views."""

from ..slides.views import read_view
from ..tiling.collect import register_slides, slides_to_coco, split_by_slide, write_coco
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
