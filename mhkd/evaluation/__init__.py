"""Tile- and slide-level metrics."""
