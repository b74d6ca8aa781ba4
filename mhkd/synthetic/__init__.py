"""Kidney-like synthetic slides, for trying the whole pipeline where real slides cannot go."""

from .layout import CLASSES
from .render import render_slide
from .slides import make_slides

__all__ = ["CLASSES", "make_slides", "render_slide"]
