"""NDPA of Hamamatsu's NDP.view (``case.ndpi.ndpa``): XML in nanometres from the middle of the glass.

An object is a view (``ndpviewstate``) with a title, which is its class, and an annotation: freehand, closed
or not, as rectangles are too; circle; pin; arrow (``pointer``) or ruler (``linearmeasure``).
"""

from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl

import numpy as np

from .collect import Collector
from .files import AnnotationFile, parse_xml
from .formats import AnnotationFormat
from .frames import NDPA, glass_frame
from .names import class_name
from .xml_points import Points

_LINES = {"pointer", "linearmeasure"}


def recognise(file: AnnotationFile) -> str | None:
    """The path."""
    return file.path if file.xml_root == "annotations" else None


def read(path: str, collector: Collector) -> None:
    """Fill the collector; it needs the slide, which says where the middle of the glass is."""
    parse_xml(path, _Handler(collector, *glass_frame(path, collector.slide)))


class _Handler(ContentHandler):
    """``_view`` and ``_shape`` hold the texts of the elements of a view and of its annotation, by name."""

    def __init__(self, collector: Collector, corner_nm: np.ndarray, nm_per_px: np.ndarray) -> None:
        super().__init__()
        self._out, self._corner_nm, self._nm_per_px = collector, corner_nm, nm_per_px
        self._number = 0
        self._text: list[str] = []
        self._view: dict[str, str] = {}
        self._shape: dict[str, str] | None = None
        self._shapes: list[tuple[dict[str, str], Points]] = []

    def startElement(self, name: str, attrs: AttributesImpl) -> None:
        self._text.clear()
        if name == "ndpviewstate":
            self._number += 1
            self._view, self._shapes = {}, []
        elif name == "annotation":
            self._shape = {"type": attrs.get("type", "")}
            self._shapes.append((self._shape, Points(self._out, f"view {self._number}")))

    def characters(self, content: str) -> None:
        self._text.append(content)

    def endElement(self, name: str) -> None:
        if name == "ndpviewstate":
            self._end_view()
        elif name == "annotation":
            self._shape = None
        elif self._shape is None:
            self._view[name] = "".join(self._text).strip()
        elif name == "point":
            self._shapes[-1][1].add(self._shape.pop("x", None), self._shape.pop("y", None))
        else:
            self._shape[name] = "".join(self._text).strip()
        self._text.clear()

    def _end_view(self) -> None:
        where = f"view {self._number}"
        unit = self._view.get("coordformat", "nanometers")
        if unit.lower() != "nanometers":
            raise self._out.error(where, f"counts in {unit[:40]}, not in nanometers")
        title = class_name(self._view.get("title"), self._out, where)
        for shape, points in self._shapes:
            self._add(shape, points, title)

    def _add(self, shape: dict[str, str], points: Points, title: str | None) -> None:
        kind = shape["type"].strip().lower()
        if kind in _LINES or (kind == "freehand" and shape.get("closed", "1") == "0"):
            self._out.line()
        elif kind == "freehand":
            self._out.polygons([[self._px(points)]], title, points.where)
        elif kind == "circle":
            points.add(shape.get("x"), shape.get("y"))
            points.add(shape.get("radius"), shape.get("radius"))
            width, height = 2 * points.xy()[-1] / self._nm_per_px
            self._out.ellipse(self._px(points)[-2], width, height, 0.0, title, points.where)
        elif kind == "pin":
            points.add(shape.get("x"), shape.get("y"))
            self._out.point(self._px(points)[-1], title, points.where)
        else:
            self._out.counts[f"annotations of the type {kind[:40]!r} left out"] += 1

    def _px(self, points: Points) -> np.ndarray:
        return (points.xy() - self._corner_nm) / self._nm_per_px


FORMAT = AnnotationFormat(NDPA, recognise, read)
