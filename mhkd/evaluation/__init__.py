"""Tile- and slide-level metrics."""

from .evaluator import CocoEvaluator

__all__ = ["CocoEvaluator"]
