"""Aperio ImageScope's XML: layers (``Annotation``) of regions, some of which are holes.

Region types: 0 freehand, 1 rectangle, 2 ellipse, 3 arrow, 4 ruler. Rectangles and ellipses may be
given by two opposite corners. ``NegativeROA`` regions are cut out of the others of their layer.
"""

from mhkd.wsi.annotations.annotation import Annotation
from mhkd.wsi.annotations.names import class_name
from mhkd.wsi.annotations.xml_points import Points

import shapely


class AperioHandler:
    """SAX handler."""

    def __init__(self, collector):
        self._out = collector
        self._layers = 0
        self._start_layer({})

    def startElement(self, name, attrs):
        if name == "Annotation":
            self._layers += 1
            self._start_layer(attrs)
        elif name == "Attribute" and self._region is None and not self._description:
            self._description = attrs.get("Value")  # the layer's text in ImageScope's list
        elif name == "Region":
            self._regions += 1
            where = f"layer {self._layers}, region {self._regions}"
            self._region = (dict(attrs.items()), Points(self._out, where))
        elif name == "Vertex" and self._region is not None:
            self._region[1].add(attrs.get("X"), attrs.get("Y"))

    def endElement(self, name):
        if name == "Region" and self._region is not None:
            self._end_region(*self._region)
            self._region = None
        elif name == "Annotation":
            self._end_layer()

    def _start_layer(self, attrs):
        self._name, self._id = attrs.get("Name"), attrs.get("Id") or str(self._layers)
        self._description = self._region = None
        self._regions, self._holes = 0, []
        self._first = len(self._out.annotations)

    def _end_region(self, attrs, points):
        where, xy = points.where, points.xy()
        kind = attrs.get("Type", "0")
        begin = len(self._out.annotations)
        label = class_name(attrs.get("Text"), self._out, where)
        if len(xy) == 1:
            self._out.point(xy[0], label, where)
        elif kind in ("3", "4"):
            self._out.line()
        elif kind == "2" and len(xy) in (2, 4):
            low, high = xy.min(axis=0), xy.max(axis=0)
            self._out.ellipse((low + high) / 2, *(high - low), 0.0, label, where)
        elif kind == "1" and len(xy) == 2:
            low, high = xy.min(axis=0), xy.max(axis=0)
            self._out.box(*low, *(high - low), label, where)
        else:
            self._out.polygons([[xy]], label, where)
        if attrs.get("NegativeROA") == "1":
            self._holes += [a.geometry for a in self._out.annotations[begin:]]
            del self._out.annotations[begin:]

    def _end_layer(self):
        """Cut the holes and name the regions: the layer's name, else its text, else the region's
        own text, else "Layer <Id>"."""
        where = f"layer {self._layers}"
        regions = self._out.annotations[self._first :]
        areas = [r.geometry for r in regions]
        if self._holes and areas:
            holes = shapely.STRtree(self._holes)
            for i, area in enumerate(areas):
                hit = holes.query(area, predicate="intersects")
                if len(hit):
                    areas[i] = area.difference(shapely.union_all([self._holes[h] for h in hit]))
        layer = class_name(self._name, self._out, where) or class_name(self._description, self._out, where)
        del self._out.annotations[self._first :]
        for region, area in zip(regions, areas):
            parts = [p for p in shapely.get_parts(area) if p.area > 0]
            if not parts:
                self._out.counts["outlines without an area left out"] += 1
                continue
            area = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
            name = layer or region.name or f"Layer {self._id}"
            self._out.annotations.append(Annotation(area, name))
        self._first = len(self._out.annotations)
