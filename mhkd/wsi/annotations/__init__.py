"""Annotations of many tools, as valid shapely geometry in base pixels of the slide."""

from mhkd.wsi.annotations.annotation import Annotation, AnnotationSet
from mhkd.wsi.annotations.class_map import ClassMap
from mhkd.wsi.annotations.find import find_annotations
from mhkd.wsi.annotations.reader import FORMATS, read_annotations

__all__ = [
    "FORMATS",
    "Annotation",
    "AnnotationSet",
    "ClassMap",
    "find_annotations",
    "read_annotations",
]
