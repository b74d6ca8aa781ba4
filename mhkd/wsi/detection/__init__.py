"""Glomeruli on whole slides: tiles through a student, one box for each glomerulus."""

from mhkd.wsi.detection.detections import Detections, SlideInfo
from mhkd.wsi.detection.merge import merge_tiles

__all__ = ["Detections", "SlideInfo", "merge_tiles"]
