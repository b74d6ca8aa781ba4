"""Digital Slide Archive / HistomicsTK: annotations of elements, alone or in a list.

``rotation`` is in radians from x towards y, as the server's own conversion to GeoJSON turns.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .collect import Collector, rotated
from .files import AnnotationFile
from .formats import AnnotationFormat
from .names import first_class, word

DSA = "Digital Slide Archive JSON"
_LINES = {"arrow"}
SIZED = {"rectangle", "ellipse", "circle"}


def recognise(file: AnnotationFile) -> list[dict[str, Any]] | None:
    """The annotations, each {"elements": [...]}."""
    content = file.json
    documents = content if isinstance(content, list) else [content]
    found = []
    for document in documents:
        if isinstance(document, dict) and isinstance(document.get("annotation"), dict):
            document = document["annotation"]  # as the server returns it
        if not isinstance(document, dict) or not isinstance(document.get("elements"), list):
            return None
        found.append(document)
    return found or None


def read(annotations: list[dict[str, Any]], collector: Collector) -> None:
    """Fill the collector."""
    for a, annotation in enumerate(annotations, 1):
        for e, element in enumerate(annotation["elements"], 1):
            where = f"annotation {a}, element {e}"
            if not isinstance(element, dict):
                raise collector.error(where, "is no element")
            _element(element, _class(element, annotation, collector, where), collector, where)


def _element(element: dict[str, Any], name: str | None, collector: Collector, where: str) -> None:
    kind = word(element, "type")
    if kind == "polyline":
        if element.get("closed") is not True:
            collector.line()
            return
        holes = element.get("holes")
        holes = [] if holes is None else _rings(holes, collector, where)
        collector.polygons([[element.get("points", []), *holes]], name, where)
    elif kind == "point":
        collector.point(element.get("center"), name, where)
    elif kind in _LINES:
        collector.line()
    elif kind in SIZED:
        centre = collector.ring([element.get("center")], where)
        if len(centre) != 1:
            raise collector.error(where, "has no center")
        if kind == "circle":
            size = [2 * _number(element.get("radius"), collector, where)] * 2
        else:
            size = [_number(element.get(k), collector, where) for k in ("width", "height")]
        rotation = element.get("rotation")
        rotation = 0.0 if rotation is None else _number(rotation, collector, where)
        sized(kind, centre, size, rotation, collector, name, where)
    else:  # heat maps, grids, overlays, pixel maps
        collector.counts["elements that are no outlines left out"] += 1


def _rings(rings: Any, collector: Collector, where: str) -> list[Any]:
    try:
        return list(rings)
    except TypeError as e:
        raise collector.error(where, "has holes that are no lists") from e


def _number(value: Any, collector: Collector, where: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e8:
        return float(value)
    raise collector.error(where, f"has the measure {str(value)[:40]}")


def sized(
    kind: str,
    centre: np.ndarray,
    size: Sequence[float],
    rotation: float,
    collector: Collector,
    name: str | None,
    where: str,
) -> None:
    """One element of the kinds ``SIZED``: middle, full width and height, radians."""
    if kind == "rectangle":
        corners = np.array(size) / 2 * [(-1, -1), (1, -1), (1, 1), (-1, 1)]
        collector.polygons([[rotated(corners, rotation) + centre]], name, where)
    else:
        collector.ellipse(centre, size[0], size[1], rotation, name, where)


def element_classes(element: dict[str, Any]) -> tuple[Any, Any]:
    """Where an element may have its class, in order: the group, as HistomicsTK does ("default" is the web
    client's word for none), then the label. The name of the annotation comes after them."""
    label, group = element.get("label"), element.get("group")
    is_none = isinstance(group, str) and group.strip().lower() in ("default", "none")
    label = label.get("value") if isinstance(label, dict) else word(element, "label")
    return (None if is_none else group, label)


def _class(
    element: dict[str, Any], annotation: dict[str, Any], collector: Collector, where: str
) -> str | None:
    return first_class([*element_classes(element), annotation.get("name")], collector, where)


FORMAT = AnnotationFormat(DSA, recognise, read)
