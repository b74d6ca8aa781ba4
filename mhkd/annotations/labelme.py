"""LabelMe's JSON: shapes with labels on one image, the slide or a smaller image of it.

A rectangle has two opposite corners, or all four, a circle its middle and a point of its rim. The pixels,
which the file may hold, are not looked at.
"""

from typing import Any

import numpy as np

from ..coco import schema as coco_schema
from ..errors import InputError
from .collect import Collector
from .files import AnnotationFile
from .formats import AnnotationFormat
from .frames import scale_to_slide
from .names import class_name, is_called, word

LABELME = "LabelMe JSON"
_OUTLINES = {"polygon", "oriented_rectangle", "rotation"}  # the last is AnyLabeling's
_LINES = {"line", "linestrip"}
_POINTS = {"point", "points"}


def recognise(file: AnnotationFile) -> dict[str, Any] | None:
    """The content."""
    content = file.json
    is_ours = isinstance(content, dict) and "imagePath" in content and isinstance(content.get("shapes"), list)
    return content if is_ours else None


def read(content: dict[str, Any], collector: Collector) -> None:
    """Fill the collector."""
    image, slide_name = word(content, "imagePath"), collector.slide_name
    if image and slide_name and not is_called(image, slide_name):
        raise InputError(
            f"{collector.path}: is of the image {image[:100]}, not of {slide_name}: put the right file "
            "there, or correct its imagePath"
        )
    size = {"width": content.get("imageWidth"), "height": content.get("imageHeight")}
    image_px = coco_schema.size_px(size, f"{collector.path}: its image (imageWidth, imageHeight)")
    if collector.size_px is not None:
        collector.scale = scale_to_slide(collector.path, image_px, collector.size_px)
    for number, shape in enumerate(content["shapes"], 1):
        where = f"shape {number}"
        if not isinstance(shape, dict):
            raise collector.error(where, "is no shape")
        _shape(shape, class_name(shape.get("label"), collector, where), collector, where)


def _shape(shape: dict[str, Any], name: str | None, collector: Collector, where: str) -> None:
    kind = word(shape, "shape_type") or "polygon"  # older files have polygons without a type
    if kind in _LINES:
        collector.line()
        return
    points = collector.ring(shape.get("points"), where)
    if kind in _POINTS:
        for point in points:
            collector.point(point, name, where)
    elif kind in _OUTLINES:
        collector.polygons([[points]], name, where)
    elif kind == "rectangle":
        if len(points) < 2:
            raise collector.error(where, "has no two corners")
        (x, y), (width, height) = points.min(axis=0), np.ptp(points, axis=0)
        collector.box(x, y, width, height, name, where)
    elif kind == "circle":
        if len(points) != 2:
            raise collector.error(where, "has no middle and point of its rim")
        diameter = 2 * float(np.hypot(*(points[1] - points[0])))
        collector.ellipse(points[0], diameter, diameter, 0.0, name, where)
    else:  # masks above all
        collector.unreadable += 1
        collector.counts[f"shapes of the type {kind[:40]!r} left out"] += 1


FORMAT = AnnotationFormat(LABELME, recognise, read)
