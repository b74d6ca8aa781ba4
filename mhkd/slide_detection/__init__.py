"""Glomeruli on whole slides: tiles through a student, one box for each glomerulus."""

from ..evaluation.detections import Detections, SlideInfo
from .merge import merge_tiles

__all__ = ["Detections", "SlideInfo", "merge_tiles"]
