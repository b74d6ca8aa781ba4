"""QuPath's GeoJSON, which is also the polygon JSON of HuBMAP's kidney data on Kaggle."""

from mhkd.wsi.annotations.names import class_name, word

import numpy as np

_POINTS = {"Point", "MultiPoint"}
_LINES = {"LineString", "MultiLineString"}


def features_of(content):
    """list or None: the features, where the JSON is GeoJSON."""
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


def read(features, collector):
    """Args:
    features (list): see :func:`features_of`.
    collector (Collector): to fill.
    """
    for number, feature in enumerate(features, 1):
        where = f"feature {number}"
        if word(feature, "type") != "Feature":
            raise collector.error(where, "is no GeoJSON feature")
        properties = feature.get("properties")
        name = _class(properties if isinstance(properties, dict) else {}, collector, where)
        geometry = feature.get("geometry")
        if geometry is None:
            collector.counts["objects without a geometry left out"] += 1
        else:
            _geometry(geometry, name, collector, where)


def _geometry(geometry, name, collector, where):
    kind = word(geometry, "type")
    coordinates = geometry.get("coordinates") if kind is not None else None
    if kind == "GeometryCollection":  # of areas: one object; of anything else: each by itself
        parts = _list(geometry.get("geometries"), collector, where)
        areas = [g for g in parts if word(g, "type") == "Polygon"]
        if areas and len(areas) == len(parts):
            polygons = [_list(g.get("coordinates"), collector, where) for g in areas]
            collector.polygons(polygons, name, where)
        elif any(word(g, "type") == "GeometryCollection" for g in parts):
            raise collector.error(where, "has a collection within a collection")
        else:
            for part in parts:
                _geometry(part, name, collector, where)
    elif kind in _LINES:
        collector.line()
    elif kind in _POINTS:
        for point in [coordinates] if kind == "Point" else _list(coordinates, collector, where):
            collector.point(point, name, where)
    elif kind == "Polygon":
        collector.polygons([_list(coordinates, collector, where)], name, where)
    elif kind == "MultiPolygon":
        collector.polygons(
            [_list(p, collector, where) for p in _list(coordinates, collector, where)], name, where
        )
    else:
        raise collector.error(where, f"has a geometry of the type {str(kind)[:40]}")


def _list(value, collector, where):
    """Lists, and the arrays they were packed into."""
    if isinstance(value, (list, np.ndarray)):
        return value
    raise collector.error(where, "has no list of coordinates")


def _class(properties, collector, where):
    """QuPath: {"classification": {"name"}}, since 0.5 also {"names": [...]}; DSA: {"label"}."""
    found = properties.get("classification")
    if isinstance(found, dict):
        name, names = found.get("name"), found.get("names")
        if name is None and isinstance(names, list):
            name = ": ".join(map(str, names))  # as QuPath shows derived classes
    elif found is None and isinstance(properties.get("label"), dict):
        name = properties["label"].get("value")
    else:
        name = found
    return class_name(name, collector, where)
