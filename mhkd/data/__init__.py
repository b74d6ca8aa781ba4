"""Datasets: folders of COCO files, slides with annotations, and their HR and LR views."""

from mhkd.data.registrar import (
    check_dataset,
    check_split_disjoint,
    ensure_registered,
    register_folders,
)
from mhkd.data.slides import register_slides, slides_to_coco, split_by_slide, write_coco
from mhkd.data.views import read_view

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
