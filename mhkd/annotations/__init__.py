"""Annotations of many tools, as valid shapely geometry in base pixels of the slide.

How a format of one's own is added is shown in :mod:`mhkd.annotations.formats`.
"""

from .annotation import Annotation, AnnotationSet
from .class_map import ClassMap
from .find import belongs_to, find_annotations, is_named_like
from .formats import AnnotationFormat, register_format
from .reader import FORMATS, read_annotations
from .yolo import read_with

__all__ = [
    "FORMATS",
    "Annotation",
    "AnnotationFormat",
    "AnnotationSet",
    "ClassMap",
    "belongs_to",
    "find_annotations",
    "is_named_like",
    "read_annotations",
    "read_with",
    "register_format",
]
