"""Overlays and curves."""

from .overlay import draw_overlay, draw_pair, match_detections, write_overlays

__all__ = ["draw_overlay", "draw_pair", "match_detections", "write_overlays"]
