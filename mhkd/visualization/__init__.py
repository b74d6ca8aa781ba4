"""Overlays and curves."""

from .curves import plot_curves, plot_stage_ap
from .overlay import draw_overlay, draw_pair, match_detections, write_overlays

__all__ = [
    "draw_overlay",
    "draw_pair",
    "match_detections",
    "plot_curves",
    "plot_stage_ap",
    "write_overlays",
]
