"""Overlays and curves."""
