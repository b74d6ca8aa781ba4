"""Annotated fields: within them everything is annotated, outside them nothing is known.

What lies outside is a crowd region to COCO (``iscrowd``): boxes on it get no label in training and no score.
Scores of boxes know the box of a region only, and that of what lies around a field is the whole tile. So the
region is told as rectangles, *all* those that are as large as the outside allows: they overlap, and whatever
box lies outside lies whole in one of them. Box and mask of each are the same, whatever tool reads them.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import shapely
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry

from ..annotations import AnnotationSet
from ..errors import InputError
from ..slides.slide import Slide

SLANTED_EDGE_UM = 40.0  # steps of an edge that is no rectangle's; a small glomerulus is 50
MAX_STEPS = 64  # along an image
WHOLE_SHARE = 0.99  # of an object's area: it lies inside, or outside; outlines are drawn by hand


def take_fields(
    found: AnnotationSet, within: Sequence[str], slide: Slide
) -> tuple[AnnotationSet, BaseGeometry | None]:
    """The fields of a slide, which are no objects, apart from the objects.

    Args:
        found: annotations of the slide.
        within: classes of fields, as the file calls them; none: the whole slide is annotated.
        slide: for the message.

    Returns:
        The annotations without the fields; and the fields' union in base pixels, None without ``within``.

    Raises:
        InputError: the slide has no such field.
    """
    if not within:
        return found, None
    within = [within] if isinstance(within, str) else within
    fields = [a.geometry for a in found if a.name in within]
    field = shapely.union_all(fields)
    if not field.area > 0:
        known = sorted({repr(str(a.name)) for a in found if a.name}) or ["none"]
        raise InputError(
            f"{slide.path}: {found.path} has no field of the class {' or '.join(map(repr, within))} "
            f"(--within), and its classes are {', '.join(known)}: outline one, or leave the slide out"
        )
    shapely.prepare(field)
    return replace(found, annotations=[a for a in found if a.name not in within]), field


def shares_inside(geometries: Sequence[BaseGeometry] | np.ndarray, field: BaseGeometry) -> np.ndarray:
    """How much of the area of each lies in the field: float64, shape (N,)."""
    areas = shapely.area(geometries)
    return np.divide(
        shapely.area(shapely.intersection(geometries, field)), areas, where=areas > 0, out=areas * 0
    )


def by_field(
    objects: Iterable[tuple[BaseGeometry, str, bool]], field: BaseGeometry | None, counts: Counter[str]
) -> list[tuple[BaseGeometry, str, bool]]:
    """Objects without those outside the field; those that its edge cuts are ignored.

    Args:
        objects: outline in base pixels, class, whether it is ignored.
        field: None: all stay as they are.
        counts: both are added to it, in words.
    """
    objects = list(objects)
    if field is None or not objects:
        return objects
    kept = []
    for (geometry, name, ignored), share in zip(objects, shares_inside([o[0] for o in objects], field)):
        if share <= 1 - WHOLE_SHARE:
            counts["objects outside the annotated fields left out"] += 1
            continue
        if cut := share < WHOLE_SHARE:
            counts["objects cut by the edge of an annotated field ignored"] += 1
        kept.append((geometry, name, ignored or cut))
    return kept


def outside(
    field: BaseGeometry, window: tuple[float, float, int, int], mpp: float, max_steps: int = MAX_STEPS
) -> list[tuple[int, int, int, int]]:
    """The largest rectangles of a window that lie outside the field.

    Their sides are whole pixels. A slanted edge becomes steps of SLANTED_EDGE_UM, or of 1/``max_steps`` of
    the window if that is more, and is off by half a step; the edges of rectangles are where they are.

    Args:
        field: prepared, in pixels of ``mpp``.
        window: x, y, width and height, in the same pixels.
        mpp: micrometres per pixel.

    Returns:
        XYWH in pixels of the window, of which they are parts, or the whole.
    """
    x, y, width, height = window
    frame = shapely.box(x, y, x + width, y + height)
    if field.covers(frame):
        return []
    parts = shapely.get_parts(field.intersection(frame)) if field.intersects(frame) else np.array([])
    parts = shapely.transform(parts[shapely.area(parts) > 0], lambda xy: xy - (x, y))  # no touching lines
    step = max(1, math.ceil(max(SLANTED_EDGE_UM / mpp, max(width, height) / max_steps)))
    bounds = np.round(shapely.bounds(parts)).astype(int).reshape(-1, 4)
    columns = np.union1d(np.append(np.arange(0, width, step), width), bounds[:, [0, 2]])
    rows = np.union1d(np.append(np.arange(0, height, step), height), bounds[:, [1, 3]])
    middles = np.meshgrid((columns[1:] + columns[:-1]) / 2, (rows[1:] + rows[:-1]) / 2)
    is_outside = ~np.asarray(shapely.contains_xy(MultiPolygon(list(parts)), *middles))
    return [
        (int(columns[c0]), int(rows[r0]), int(columns[c1] - columns[c0]), int(rows[r1] - rows[r0]))
        for r0, c0, r1, c1 in _largest_rectangles(is_outside)
    ]


def _largest_rectangles(free: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Every rectangle of ``free`` cells that is part of no other: first row and column, last (exclusive)."""
    found = []
    above = np.zeros(free.shape[1] + 1, int)  # free cells up from each cell of a row; 0 ends it
    for row, cells in enumerate(free):
        above[:-1] = np.where(cells, above[:-1] + 1, 0)
        begun: list[tuple[int, int]] = []  # first column and height, both rising
        for column, height in enumerate(above.tolist()):
            first = column
            while begun and begun[-1][1] > height:
                first, tall = begun.pop()
                if row + 1 == len(free) or not free[row + 1, first:column].all():
                    found.append((row + 1 - tall, first, row + 1, column))
            if height and (not begun or begun[-1][1] < height):
                begun.append((first, height))
    return found
