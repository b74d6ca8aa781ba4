"""ASAP's XML: outlines whose class is the group they are in; it knows no holes.

A spline is read as the polygon of its points. Groups that a study uses for exclusions (CAMELYON's
"Exclusion", "_2") are classes like the others: drop them by the class map.
"""

from mhkd.wsi.annotations.names import class_name
from mhkd.wsi.annotations.xml_points import Points

_POINTS = ("Dot", "PointSet")


class AsapHandler:
    """SAX handler."""

    def __init__(self, collector):
        self._out = collector
        self._number = 0
        self._shape = None

    def startElement(self, name, attrs):
        if name == "Annotation":
            self._number += 1
            points = Points(self._out, f"annotation {self._number}")
            self._shape = (attrs.get("Type"), attrs.get("PartOfGroup"), points)
        elif name == "Coordinate" and self._shape is not None:
            self._shape[2].add(attrs.get("X"), attrs.get("Y"))

    def endElement(self, name):
        if name != "Annotation" or self._shape is None:
            return
        kind, group, points = self._shape
        self._shape = None
        xy = points.xy()
        group = class_name(group, self._out, points.where)
        group = None if group == "None" else group
        if kind in _POINTS:
            for point in xy:
                self._out.point(point, group, points.where)
        elif kind == "Measurement":
            self._out.line()
        else:
            self._out.polygons([[xy]], group, points.where)
