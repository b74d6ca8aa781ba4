"""GeoJSON of QuPath, which is also the polygon JSON of HuBMAP's kidney data on Kaggle, and of the Digital
Slide Archive.

Where QuPath writes what: an object's type in ``properties.objectType`` (0.2: ``id``), its class in
``classification`` (``name``; since 0.5 ``names``), its own name in ``name``, and objects within it, if asked
for, in ``childObjects``. The Archive has the keys of its own JSON in ``properties``, for a rectangle, an
ellipse or a circle of any rotation the corners around it, and the annotation with its name in the first
feature only.
"""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from .collect import MAX_COORDINATE_PX, Collector
from .dsa import DSA, SIZED, element_classes, sized
from .files import AnnotationFile
from .formats import AnnotationFormat
from .names import ObjectName, class_name, first_class, word

GEOJSON = "QuPath GeoJSON"
_POINTS = {"Point", "MultiPoint"}
_LINES = {"LineString", "MultiLineString"}
_NO_OBJECTS = {"tile", "pathtileobject", "tmacore", "tmacoreobject", "root", "pathrootobject"}
_CHILDREN = ("childObjects", "children")
_OUR_NAME = re.compile(r"Glomerulus \d+")  # what mhkd detect calls an object, whose class was taken away


def recognise(file: AnnotationFile) -> list[Any] | None:
    """The features."""
    content = file.json
    if isinstance(content, dict):
        if word(content, "type") == "Feature":
            return [content]
        if word(content, "type") == "FeatureCollection":
            features = content.get("features")
            return features if isinstance(features, list) else None
    elif isinstance(content, list):
        first = content[0] if content else {"type": "Feature"}
        if word(first, "type") == "Feature":
            return content
    return None


def read(features: list[Any], collector: Collector) -> str:
    """Fill the collector; returns DSA for features of the Digital Slide Archive, else GEOJSON."""
    annotation: dict[str, Any] = {}
    is_dsa = False
    for where, feature in _flat(features, "feature", collector):
        properties = feature.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        if isinstance(properties.get("annotation"), dict):
            annotation = properties["annotation"]
        is_dsa |= bool(annotation) or word(properties, "type") in SIZED | {"polyline"}
        if (kind := _object_type(feature, properties)) in _NO_OBJECTS:
            counted = {"tmacore": "TMA cores", "tile": "tiles", "root": "root objects"}
            kind = kind.removeprefix("path").removesuffix("object")
            collector.counts[f"{counted[kind]} of QuPath left out"] += 1
            continue
        name = _class(properties, annotation.get("name"), collector, where)
        geometry = feature.get("geometry")
        if geometry is None or geometry == {}:
            collector.no_geometry()
        elif not _sized(geometry, properties, name, collector, where):
            _geometry(geometry, name, collector, where)
    return DSA if is_dsa else GEOJSON


def _flat(features: list[Any], what: str, collector: Collector) -> Iterator[tuple[str, Any]]:
    """Yields features, and those within them, with what to call them."""
    for number, feature in enumerate(features, 1):
        where = f"{what} {number}"
        if word(feature, "type") != "Feature":
            raise collector.error(where, "is no GeoJSON feature")
        yield where, feature
        properties = feature.get("properties")
        for key in _CHILDREN if isinstance(properties, dict) else ():
            children = properties.get(key)
            if isinstance(children, list):
                yield from _flat(children, f"{where}, child", collector)


def _object_type(feature: dict[str, Any], properties: dict[str, Any]) -> str:
    kinds = (word(properties, "objectType"), word(properties, "object_type"), word(feature, "id"))
    return next((k for k in kinds if k), "").replace("_", "").lower()


def _geometry(geometry: Any, name: str | None, collector: Collector, where: str) -> None:
    kind = word(geometry, "type")
    if kind == "GeometryCollection":  # of areas: one object; of anything else: each by itself
        parts = list(_parts(geometry, collector, where))
        if parts and all(word(g, "type") in ("Polygon", "MultiPolygon") for g in parts):
            collector.polygons([p for g in parts for p in _polygons(g, collector, where)], name, where)
        elif not parts:
            collector.no_geometry()
        else:
            for part in parts:
                _geometry(part, name, collector, where)
    elif kind in _LINES:
        collector.line()
    elif kind in _POINTS:
        points = _list(geometry.get("coordinates"), collector, where)
        points = [points] if kind == "Point" else points
        if not len(points):
            collector.no_geometry()
        for point in points:
            collector.point(point, name, where)
    elif kind in ("Polygon", "MultiPolygon"):
        collector.polygons(_polygons(geometry, collector, where), name, where)
    else:
        raise collector.error(where, f"has a geometry of the type {str(kind)[:40]}")


def _parts(collection: dict[str, Any], collector: Collector, where: str) -> Iterator[Any]:
    """Yields what is in a collection, and in collections in it."""
    for part in _list(collection.get("geometries"), collector, where):
        if word(part, "type") == "GeometryCollection":
            yield from _parts(part, collector, where)
        elif part is not None:
            yield part


def _polygons(geometry: dict[str, Any], collector: Collector, where: str) -> list[Any]:
    coordinates = _list(geometry.get("coordinates"), collector, where)
    if word(geometry, "type") == "Polygon":
        return [coordinates]
    return [_list(p, collector, where) for p in coordinates]


def _sized(
    geometry: Any, properties: dict[str, Any], name: str | None, collector: Collector, where: str
) -> bool:
    """Whether corners stand for a shape, which is added.

    The Archive's own measures are used where they are given: releases of it turn the corners wrongly.
    """
    kind = word(properties, "type")
    is_ellipse = isinstance(geometry, dict) and geometry.get("isEllipse") is True  # QuPath
    if word(geometry, "type") != "Polygon" or not (kind in SIZED or is_ellipse):
        return False
    rings = _list(geometry.get("coordinates"), collector, where)
    ring = collector.ring(rings[0], where) if len(rings) == 1 else np.empty((0, 2))
    if len(ring) not in (4, 5) or (len(ring) == 5 and not np.allclose(ring[0], ring[4], rtol=0, atol=0.1)):
        return False
    centre, sides = ring[:4].mean(axis=0), ring[1:3] - ring[:2]
    size: Any = np.hypot(*sides.T)
    rotation: float = np.arctan2(sides[0, 1], sides[0, 0])
    if kind not in SIZED:  # QuPath's ellipses are upright, whatever points are within their box
        low, high = ring.min(axis=0), ring.max(axis=0)
        kind, centre, size, rotation = "ellipse", (low + high) / 2, high - low, 0.0
    elif kind == "circle":
        radius = _measure(properties.get("radius"))
        size = (2 * radius,) * 2 if radius else size
    else:
        given = [_measure(properties.get(k)) for k in ("width", "height")]
        if all(given):
            size, turned = given, _measure(properties.get("rotation"))
            rotation = rotation if turned is None else turned
        elif kind == "rectangle":
            return False
    sized(kind, centre, size, rotation, collector, name, where)
    return True


def _measure(value: Any) -> float | None:
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if known and abs(value) <= MAX_COORDINATE_PX else None


def _list(value: Any, collector: Collector, where: str) -> Any:
    """Lists, and the arrays they were packed into."""
    if value is None:
        return []
    if isinstance(value, (list, np.ndarray)):
        return value
    raise collector.error(where, "has no list of coordinates")


def _class(properties: dict[str, Any], annotation_name: Any, collector: Collector, where: str) -> str | None:
    """QuPath's classification, else the Archive's places, else QuPath's name of the object."""
    found = properties.get("classification")
    if isinstance(found, dict):
        name, names = found.get("name"), found.get("names")
        if name is None:  # as QuPath shows derived classes
            name = ": ".join(map(str, names)) if isinstance(names, list) else names
        found = name
    own = class_name(word(properties, "name"), collector, where)
    own = None if own and _OUR_NAME.fullmatch(own) else own
    places = (found, *element_classes(properties), annotation_name, own and ObjectName(own))
    return first_class(places, collector, where)


FORMAT = AnnotationFormat(GEOJSON, recognise, read)
