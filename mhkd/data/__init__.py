"""Datasets: folders of COCO files, slides with annotations, and their HR and LR views."""

from mhkd.data.registrar import (
    check_dataset,
    check_split_disjoint,
    ensure_registered,
    register_folders,
)
from mhkd.data.views import read_view

__all__ = [
    "check_dataset",
    "check_split_disjoint",
    "ensure_registered",
    "read_view",
    "register_folders",
]
