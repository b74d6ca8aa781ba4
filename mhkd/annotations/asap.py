"""ASAP's XML: outlines whose class is the group they are in, else their name; it knows no holes.

A spline is read as the polygon of its points. Groups that a study uses for exclusions (CAMELYON's
"Exclusion", "_2") are classes like the others: drop them by the class map.
"""

from .names import ObjectName, class_name, first_class, is_default
from .xml_points import Points

ASAP = "ASAP XML"
_POINTS = ("Dot", "PointSet")


class AsapHandler:
    """SAX handler."""

    format = ASAP

    def __init__(self, collector):
        self._out = collector
        self._number = 0
        self._shape = None

    def startElement(self, name, attrs):
        if name == "Annotation":
            self._number += 1
            points = Points(self._out, f"annotation {self._number}")
            self._shape = (attrs.get("Type"), self._class(attrs, points.where), points)
        elif name == "Coordinate" and self._shape is not None:
            self._shape[2].add(attrs.get("X"), attrs.get("Y"))

    def endElement(self, name):
        if name != "Annotation" or self._shape is None:
            return
        kind, group, points = self._shape
        self._shape = None
        xy = points.xy()
        if kind in _POINTS:
            for point in xy:
                self._out.point(point, group, points.where)
        elif kind == "Measurement":
            self._out.line()
        else:
            self._out.polygons([[xy]], group, points.where)

    def _class(self, attrs, where):
        group = class_name(attrs.get("PartOfGroup"), self._out, where)
        name = class_name(attrs.get("Name"), self._out, where)
        own = None if name is None or is_default(name) else ObjectName(name)
        return first_class([None if group == "None" else group, own], self._out, where)
