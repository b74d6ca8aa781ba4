"""XML of Aperio's ImageScope and of HALO: layers (``Annotation``) of regions, some of which are holes.

ImageScope's region types: 0 freehand, 1 rectangle, 2 ellipse, 3 arrow, 4 ruler; its points are ``Vertex``.
HALO spells the types out (Polygon, Rectangle, Ellipse, Ruler, Pin); its points are ``V``. Rectangles and
ellipses may be given by two opposite corners. ``NegativeROA`` regions are cut out of the others of their
layer.
"""

from typing import Any
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from .annotation import Annotation
from .collect import Collector
from .files import AnnotationFile, parse_xml
from .formats import AnnotationFormat
from .names import class_name, first_class
from .xml_points import Points

APERIO, HALO = "Aperio ImageScope XML", "HALO XML"
_LINES, _ELLIPSE, _RECTANGLE = {"3", "4", "arrow", "ruler"}, {"2", "ellipse"}, {"1", "rectangle"}
_POINTS = {"Vertex": APERIO, "V": HALO}
# Of a layer's attributes: headings of the columns in ImageScope's list, whose values say the class. Any
# other name is one itself, which is how MoNuSAC was annotated.
_HEADINGS = {"description", "name", "class", "classification", "label", "type", "text", "comment", "notes"}
_KNOWN = set(
    "Annotations Annotation Attributes Attribute Regions RegionAttributeHeaders AttributeHeader Region "
    "Vertices Vertex V Plots Comments Comment".split()
)


def recognise(file: AnnotationFile) -> str | None:
    """The path."""
    return file.path if file.xml_root == "Annotations" else None


def read(path: str, collector: Collector) -> str:
    """Fill the collector; returns APERIO or HALO."""
    handler = _Handler(collector)
    parse_xml(path, handler)
    return handler.format


class _Handler(ContentHandler):
    """``format`` is what the file turned out to be."""

    _attributes: list[tuple[Any, Any]]
    _region: tuple[dict[str, str], Points, list[Any]] | None
    _in_layer: int
    _holes: list[BaseGeometry]

    def __init__(self, collector: Collector) -> None:
        super().__init__()
        self._out = collector
        self.format = APERIO
        # of each layer: where, name, id, attributes; and of its regions, where they begin and end
        self._layers: list[tuple[str, str | None, str, list[tuple[Any, Any]], int, int]] = []
        self._number = self._regions = 0
        self._strange: str | None = None
        self._start_layer(None, None)

    def startElement(self, name: str, attrs: AttributesImpl) -> None:
        if name == "Annotation":
            self._number += 1
            self._start_layer(attrs.get("Name"), attrs.get("Id"))
        elif name == "Attribute":
            self._add_attribute(attrs)
        elif name == "Region":
            self._in_layer += 1
            self._regions += 1
            where = f"layer {self._number}, region {self._in_layer}"
            self._region = (dict(attrs.items()), Points(self._out, where), [attrs.get("Text")])
        elif name in _POINTS and self._region is not None:
            self.format = _POINTS[name]
            self._region[1].add(attrs.get("X"), attrs.get("Y"))
        elif name not in _KNOWN and self._strange is None:
            self._strange = name

    def endElement(self, name: str) -> None:
        if name == "Region" and self._region is not None:
            self._end_region(*self._region)
            self._region = None
        elif name == "Annotation":
            self._end_layer()
        elif name == "Annotations":
            self._end_file()

    def _start_layer(self, name: str | None, number: str | None) -> None:
        self._name, self._id = name, number or str(self._number)
        self._attributes = []
        self._region = None
        self._in_layer, self._holes = 0, []
        self._first = len(self._out.annotations)

    def _add_attribute(self, attrs: AttributesImpl) -> None:
        if self._region is not None:
            self._region[2].append(attrs.get("Value"))
        else:
            self._attributes.append((attrs.get("Name"), attrs.get("Value")))

    def _end_region(self, attrs: dict[str, str], points: Points, names: list[Any]) -> None:
        where, xy = points.where, points.xy()
        kind = attrs.get("Type", "0").strip().lower()
        begin = len(self._out.annotations)
        label = first_class(names, self._out, where)
        if kind in _LINES:
            self._out.line()
        elif len(xy) == 1:
            self._out.point(xy[0], label, where)
        elif kind in _ELLIPSE and len(xy) in (2, 4):
            low, high = xy.min(axis=0), xy.max(axis=0)
            width, height = high - low
            self._out.ellipse((low + high) / 2, width, height, 0.0, label, where)
        elif kind in _RECTANGLE and len(xy) == 2:
            (x, y), (width, height) = xy.min(axis=0), np.ptp(xy, axis=0)
            self._out.box(x, y, width, height, label, where)
        else:
            self._out.polygons([[xy]], label, where)
        if attrs.get("NegativeROA", "").strip().lower() in ("1", "true"):
            self._holes += [a.geometry for a in self._out.annotations[begin:]]
            del self._out.annotations[begin:]

    def _end_layer(self) -> None:
        """Cut the holes; the regions' classes are known when all layers are."""
        regions = self._out.annotations[self._first :]
        areas = [r.geometry for r in regions]
        if self._holes and areas:
            holes = shapely.STRtree(self._holes)
            for i, area in enumerate(areas):
                hit = holes.query(area, predicate="intersects")
                if len(hit):
                    areas[i] = area.difference(shapely.union_all([self._holes[h] for h in hit]))
        del self._out.annotations[self._first :]
        for region, area in zip(regions, areas):
            parts = [p for p in shapely.get_parts(area) if p.area > 0]
            if not parts:
                self._out.empty()
                continue
            area = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
            self._out.annotations.append(Annotation(area, region.name))
        where = f"layer {self._number}"
        name = class_name(self._name, self._out, where)
        last = len(self._out.annotations)
        self._layers.append((where, name, self._id, self._attributes, self._first, last))
        self._start_layer(None, None)

    def _end_file(self) -> None:
        if self._strange and not self._regions:
            raise self._out.error(f"the element {self._strange}", "is of another tool, and it has no regions")
        headings = [_headings(attributes) for _, _, _, attributes, *_ in self._layers]
        differ = len({tuple(h) for h in headings}) > 1
        for (where, name, number, attributes, first, last), own in zip(self._layers, headings):
            values = [value for _, value in attributes]
            layer = [name, *(own if differ else ()), *values, *own]
            for i in range(first, last):
                region = self._out.annotations[i]
                found = first_class([*layer, region.name], self._out, where)
                self._out.annotations[i] = Annotation(region.geometry, found or f"Layer {number}")


def _headings(attributes: list[tuple[Any, Any]]) -> list[str]:
    """Names of a layer's attributes that are no headings."""
    return [n for n, _ in attributes if n and n.strip() and n.strip().lower() not in _HEADINGS]


FORMAT = AnnotationFormat(APERIO, recognise, read)
