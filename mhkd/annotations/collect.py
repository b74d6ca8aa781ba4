"""Makes valid shapely geometry of what annotation files hold, and counts what was amiss.

Every reader hands its outlines to a :class:`Collector`, so that all formats treat empty,
self-crossing, non-finite and absurd outlines alike.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Point, Polygon
from shapely.geometry.base import BaseGeometry

from ..coco.runs import TooManyRuns, outlines, split_runs
from ..errors import InputError
from ..slides.slide import Slide
from .annotation import Annotation

NOISE = "has a mask of noise, not of outlined objects"

MAX_COORDINATE_PX = 1e8  # far beyond any slide: such a number is a fault in the file
MAX_TANGLES = 100_000  # of edges in a file's self-crossing outlines: repair takes time for each
_LOOKED_AT = 5_000_000  # pairs of edges, to estimate an outline's tangles


class Collector:
    """What a reader fills, and what it is told of the slide.

    Attributes:
        path: the file.
        slide_name: stem of the slide's file, which picks it from a file of many; None where the file has
            one only.
        size_px: width and height of the slide in base pixels; None where nobody knows.
        slide: the slide itself, for formats that need more of it; None where there is none.
        scale: base pixels per pixel of the file, along x and y; a reader of masks or smaller images sets it
            before it hands out objects.
        annotations: what was collected.
        counts: what was repaired or left out, in words; a reader may add to it.
    """

    def __init__(
        self,
        path: str,
        point_diameter_px: float | None = None,
        slide_name: str | None = None,
        size_px: tuple[int, int] | None = None,
        slide: Slide | None = None,
    ) -> None:
        """
        Args:
            path: the file.
            point_diameter_px: points become circles of this size.
            slide_name: see the class.
            size_px: see the class.
            slide: see the class.
        """
        self.path = path
        self.point_diameter_px = point_diameter_px
        self.slide_name, self.size_px, self.slide = slide_name, size_px, slide
        self.scale = (1.0, 1.0)
        self.annotations: list[Annotation] = []
        self.counts: Counter[str] = Counter()
        self.unreadable = 0  # objects that should have an outline, and have none
        self._tangles = 0.0

    def error(self, where: str, what: str) -> InputError:
        """For a reader to raise: what is wrong with one object of the file."""
        return InputError(f"{self.path}: {where} {what}: export the annotations again")

    def polygons(
        self, polygons: Iterable[Iterable[Any]], name: str | None, where: str, iscrowd: bool = False
    ) -> None:
        """One object.

        Args:
            polygons: its parts, each a list of rings, the first the outline, the others holes; a ring is a
                sequence of (x, y, ...).
            name: class.
            where: which object of the file this is.
            iscrowd: see :class:`Annotation`.
        """
        parts = []
        for given in polygons:
            rings = [self.ring(r, where) for r in given]
            if rings and len(rings[0]) >= 3:
                parts.append(Polygon(rings[0], [r for r in rings[1:] if len(r) >= 3]))
        area: BaseGeometry = MultiPolygon(parts) if len(parts) != 1 else parts[0]
        if not area.is_valid:
            area = shapely.union_all([self._repaired(p, where) for p in parts])
            parts = [p for p in shapely.get_parts(area) if p.area > 0]  # not where they touch
            area = parts[0] if len(parts) == 1 else MultiPolygon(parts)
            self.counts["outlines that cross themselves repaired"] += area.area > 0
        self.area(area, name, iscrowd)

    def mask(
        self,
        start: np.ndarray,
        length: np.ndarray,
        size_px: tuple[int, int],
        name: str | None,
        where: str,
        as_one: bool = False,
        iscrowd: bool = False,
    ) -> None:
        """The objects of a column-major mask.

        Args:
            start: int64, of the mask's runs, 0-based.
            length: int64, of each.
            size_px: width and height of the mask.
            name: class.
            where: which mask this is.
            as_one: the whole mask is one object, not every connected part of it.
            iscrowd: see :class:`Annotation`.
        """
        width, height = size_px
        start, length = start[length != 0], length[length != 0]
        if len(start) and (start.min() < 0 or length.min() < 0 or (start + length).max() > width * height):
            raise self.error(where, f"does not fit an image of {width}x{height} px (is it another slide's?)")
        if not len(start):
            return
        try:
            objects = outlines(*split_runs(start, length, height))
        except TooManyRuns as e:
            raise self.error(where, NOISE) from e
        if as_one and len(objects) > 1:
            objects = [MultiPolygon([p for o in objects for p in shapely.get_parts(o)])]
        for geometry in objects:
            self.area(geometry, name, iscrowd)

    def area(self, area: BaseGeometry, name: str | None, iscrowd: bool = False) -> None:
        """One object that is valid geometry in the file's pixels already."""
        if not area.area > 0:
            self.empty()
            return
        if self.scale != (1.0, 1.0):
            area = shapely.transform(area, lambda xy: xy * self.scale)
        self.annotations.append(Annotation(area, name, iscrowd))

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        name: str | None,
        where: str,
        iscrowd: bool = False,
    ) -> None:
        """One upright rectangle."""
        corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
        self.polygons([[corners]], name, where, iscrowd)

    def ellipse(
        self,
        centre: Sequence[float] | np.ndarray,
        width: float,
        height: float,
        rotation: float,
        name: str | None,
        where: str,
    ) -> None:
        """One ellipse with its full axes; rotation in radians, from x towards y."""
        angle = np.linspace(0, 2 * np.pi, 128, endpoint=False)
        ring = np.stack([width / 2 * np.cos(angle), height / 2 * np.sin(angle)], axis=1)
        self.polygons([[rotated(ring, rotation) + centre]], name, where)

    def point(self, point: Any, name: str | None, where: str) -> None:
        """One point: a circle, or left out where no size was given."""
        ring = np.empty((0, 2)) if point is None else self.ring([point], where)
        if not len(ring):
            self.no_geometry()
            return
        if self.point_diameter_px is None:
            self.counts["points left out, since no diameter for them was given"] += 1
            return
        centre = Point(ring[0] * self.scale)
        circle = centre.buffer(self.point_diameter_px / 2, quad_segs=16)
        self.annotations.append(Annotation(circle, name))

    def empty(self) -> None:
        """An outline without an area."""
        self.unreadable += 1
        self.counts["outlines without an area left out"] += 1

    def no_geometry(self) -> None:
        """An object that is nowhere."""
        self.unreadable += 1
        self.counts["objects without a geometry left out"] += 1

    def line(self) -> None:
        """A line, arrow or ruler: it has no area."""
        self.counts["lines left out"] += 1

    def ring(self, points: Any, where: str) -> np.ndarray:
        """The (x, y) of points, checked: float64, shape (n, 2)."""
        try:
            try:
                xy = np.asarray(points)
            except ValueError:  # points with and without z
                xy = np.array([(p[0], p[1]) for p in points])
        except (TypeError, ValueError, LookupError, OverflowError) as e:
            raise self.error(where, "has coordinates that are no numbers") from e
        if xy.size == 0:
            return np.empty((0, 2))
        if xy.dtype.kind not in "iuf":
            raise self.error(where, "has coordinates that are no numbers")
        if xy.ndim != 2 or xy.shape[1] < 2:
            raise self.error(where, "has no list of (x, y) points")
        xy = xy[:, :2].astype(np.float64)
        if not (np.abs(xy) <= MAX_COORDINATE_PX).all():  # also false for NaN
            raise self.error(where, "has coordinates that are not finite or far off any slide")
        return xy

    def _repaired(self, polygon: Polygon, where: str) -> BaseGeometry:
        """What the outline goes around, once or more, in either direction, less the holes."""
        if polygon.is_valid:
            return polygon
        self._tangles += _tangles(polygon)
        if self._tangles > MAX_TANGLES:
            raise self.error(where, "crosses itself all over: it is no outline")
        shell, *holes = (
            shapely.make_valid(Polygon(r), method="structure", keep_collapsed=False)
            for r in (polygon.exterior, *polygon.interiors)
        )
        return shell.difference(shapely.union_all(holes)) if holes else shell


def rotated(xy: np.ndarray, rotation: float) -> np.ndarray:
    """Points turned about the origin by radians, from x towards y (clockwise on the screen)."""
    cos, sin = np.cos(rotation), np.sin(rotation)
    return np.asarray(xy) @ np.array([[cos, sin], [-sin, cos]])


def _tangles(polygon: Polygon) -> float:
    """About how many pairs of edges that are not neighbours overlap with their boxes."""
    ring = shapely.get_coordinates(polygon)
    edges = np.asarray(shapely.linestrings(np.stack([ring[:-1], ring[1:]], axis=1)))
    sample = edges[:: max(1, len(edges) ** 2 // _LOOKED_AT)]
    pairs = shapely.STRtree(edges).query(sample).shape[1]
    return max(0, pairs / len(sample) - 3) * len(edges) / 2  # itself and two neighbours
