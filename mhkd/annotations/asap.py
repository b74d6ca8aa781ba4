"""ASAP's XML: outlines whose class is the group they are in, else their name; it knows no holes.

A spline is read as the polygon of its points. Groups that a study uses for exclusions (CAMELYON's
"Exclusion", "_2") are classes like the others: drop them by the class map.
"""

from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl

from .collect import Collector
from .files import AnnotationFile, parse_xml
from .formats import AnnotationFormat
from .names import ObjectName, class_name, first_class, is_default
from .xml_points import Points

ASAP = "ASAP XML"
_POINTS = ("Dot", "PointSet")


def recognise(file: AnnotationFile) -> str | None:
    """The path."""
    return file.path if file.xml_root == "ASAP_Annotations" else None


def read(path: str, collector: Collector) -> None:
    """Fill the collector."""
    parse_xml(path, _Handler(collector))


class _Handler(ContentHandler):
    def __init__(self, collector: Collector) -> None:
        super().__init__()
        self._out = collector
        self._number = 0
        self._shape: tuple[str | None, str | None, Points] | None = None

    def startElement(self, name: str, attrs: AttributesImpl) -> None:
        if name == "Annotation":
            self._number += 1
            points = Points(self._out, f"annotation {self._number}")
            self._shape = (attrs.get("Type"), self._class(attrs, points.where), points)
        elif name == "Coordinate" and self._shape is not None:
            self._shape[2].add(attrs.get("X"), attrs.get("Y"))

    def endElement(self, name: str) -> None:
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

    def _class(self, attrs: AttributesImpl, where: str) -> str | None:
        group = class_name(attrs.get("PartOfGroup"), self._out, where)
        name = class_name(attrs.get("Name"), self._out, where)
        own = None if name is None or is_default(name) else ObjectName(name)
        return first_class([None if group == "None" else group, own], self._out, where)


FORMAT = AnnotationFormat(ASAP, recognise, read)
