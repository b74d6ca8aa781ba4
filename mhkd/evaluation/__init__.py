"""Tile- and slide-level metrics."""

from .coco import CocoEvaluator

__all__ = ["CocoEvaluator"]
