"""Annotations of many tools, as valid shapely geometry in base pixels of the slide."""

from .annotation import Annotation, AnnotationSet
from .class_map import ClassMap
from .find import find_annotations
from .reader import FORMATS, read_annotations

__all__ = [
    "FORMATS",
    "Annotation",
    "AnnotationSet",
    "ClassMap",
    "find_annotations",
    "read_annotations",
]
