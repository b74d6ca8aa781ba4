"""Reads annotations as QuPath writes them: GeoJSON in base pixels of the slide."""

import json
import logging
import math
import os
from collections import Counter

from mhkd.errors import InputError

import shapely
from shapely.geometry import MultiPolygon, Polygon

logger = logging.getLogger(__name__)

MAX_COORDINATE_PX = 1e8  # far beyond any slide: such a number is a fault in the file
_NO_AREA = ("Point", "MultiPoint", "LineString", "MultiLineString")


def read_geojson(path):
    """Read the areas of a QuPath export.

    Args:
        path (str): a FeatureCollection, a list of features, or one feature.

    Returns:
        list[tuple[Polygon or MultiPolygon, str or None]]: valid shapely geometry in base pixels,
        and the name of its class. Points and lines are left out, self-crossing outlines repaired,
        outlines without an area dropped; each is counted in one warning.

    Raises:
        InputError: the file is missing, empty, no GeoJSON, or has coordinates that are no numbers.
    """
    counts = Counter()
    areas = []
    for number, feature in enumerate(_features(path), 1):
        where = f"{path}: feature {number}"
        if not isinstance(feature, dict) or feature.get("type") != "Feature":
            raise InputError(f"{where} is no GeoJSON feature: export the annotations again")
        geometry = _area(feature.get("geometry"), where, counts)
        if geometry is not None:
            areas.append((geometry, _class_name(feature.get("properties"), where)))
    if counts:
        summary = ", ".join(f"{n} {what}" for what, n in sorted(counts.items()))
        logger.warning("%s: %s", path, summary)
    return areas


def _features(path):
    try:
        with open(path, encoding="utf-8-sig") as f:
            content = json.load(f)
    except FileNotFoundError as e:
        raise InputError(f"{path}: there is no such annotation file: export it from QuPath") from e
    except (ValueError, RecursionError) as e:  # JSONDecodeError, UnicodeDecodeError
        what = "is empty" if os.path.getsize(path) == 0 else f"is no valid JSON ({e})"
        raise InputError(f"{path}: {what}: export the annotations again") from e
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror})") from e
    if isinstance(content, list):
        return content
    kind = content.get("type") if isinstance(content, dict) else None
    if kind == "Feature":
        return [content]
    if kind == "FeatureCollection" and isinstance(content.get("features"), list):
        return content["features"]
    raise InputError(
        f"{path}: is JSON but no GeoJSON: a FeatureCollection, a list of features or one feature "
        "is "
        "needed (QuPath: File > Export objects as GeoJSON)"
    )


def _area(geometry, where, counts):
    """The geometry's area as valid polygons, or None where it has none."""
    if geometry is None:
        counts["objects without a geometry left out"] += 1
        return None
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind in _NO_AREA:
        counts["points and lines left out"] += 1
        return None
    if kind == "GeometryCollection" and isinstance(geometry.get("geometries"), list):
        parts = [_area(g, where, counts) for g in geometry["geometries"]]
        area = shapely.union_all([p for p in parts if p is not None])
        return None if area.is_empty else area
    if kind == "Polygon":
        polygons = [geometry.get("coordinates")]
    elif kind == "MultiPolygon":
        polygons = geometry.get("coordinates")
    else:
        raise InputError(f"{where} has a geometry of type {kind!r}: polygons are needed")
    if not isinstance(polygons, list):
        raise InputError(f"{where} has no list of coordinates")

    parts = [_polygon(rings, where) for rings in polygons]
    area = MultiPolygon([p for p in parts if p is not None])
    if not area.is_valid:
        area = _polygonal(shapely.make_valid(area))
        if area.area > 0:
            counts["outlines that cross themselves repaired"] += 1
    if not area.area > 0:
        counts["outlines without an area dropped"] += 1
        return None
    return area.geoms[0] if isinstance(area, MultiPolygon) and len(area.geoms) == 1 else area


def _polygon(rings, where):
    if not isinstance(rings, list):
        raise InputError(f"{where} has a polygon that is no list of rings")
    rings = [_ring(ring, where) for ring in rings]
    if not rings or len(rings[0]) < 3:
        return None
    return Polygon(rings[0], [hole for hole in rings[1:] if len(hole) >= 3])


def _ring(ring, where):
    if not isinstance(ring, list):
        raise InputError(f"{where} has a ring that is no list of points")
    for point in ring:
        if not isinstance(point, list) or len(point) < 2 or not all(map(_is_coordinate, point[:2])):
            raise InputError(
                f"{where} has the point {str(point)[:60]}: its coordinates must be finite numbers, "
                "in "
                "base pixels of the slide: export the annotations again"
            )
    return [(point[0], point[1]) for point in ring]


def _is_coordinate(v):
    if isinstance(v, bool) or not isinstance(v, (int, float)):
        return False
    return math.isfinite(v) and abs(v) <= MAX_COORDINATE_PX


def _polygonal(geometry):
    """What make_valid returns may also have lines and points."""
    return shapely.union_all([g for g in shapely.get_parts(geometry) if g.area > 0])


def _class_name(properties, where):
    """QuPath: {"classification": {"name": ...}}, lately {"names": [...]}; others: a string."""
    if not isinstance(properties, dict):
        return None
    classification = properties.get("classification")
    if isinstance(classification, dict):
        name = classification.get("name")
        names = classification.get("names")
        if name is None and isinstance(names, list):
            name = ": ".join(map(str, names)) or None  # as QuPath shows derived classes
    else:
        name = classification
    if name is not None and not isinstance(name, str):
        raise InputError(f"{where} has the class name {str(name)[:60]}: a text is needed")
    return name or None
