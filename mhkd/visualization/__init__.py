"""Overlays and curves."""

from ..evaluation.matching import match_detections
from .curves import plot_curves, plot_stage_ap
from .overlay import draw_overlay, draw_pair, write_overlays

__all__ = [
    "draw_overlay",
    "draw_pair",
    "match_detections",
    "plot_curves",
    "plot_stage_ap",
    "write_overlays",
]
