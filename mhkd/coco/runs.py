"""From runs of mask pixels to outlines along the pixels' edges.

A run is pixels that follow each other along one axis: ``line`` is its column (or row), ``begin``
and ``end`` (exclusive) its extent along it. Masks of any size are worked on as runs; nothing of the
mask's own size is ever made. Written by hand because pycocotools and OpenCV need the whole mask, gigabytes
for a slide.
"""

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

from ..pieces import pieces_of_runs

MAX_RUNS = 1_000_000  # a mask of outlined objects has some ten thousand
MAX_OBJECTS = 50_000


class TooManyRuns(ValueError):
    """The mask is noise, not outlined objects."""


def split_runs(
    start: np.ndarray, length: np.ndarray, line_px: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs of the flattened mask cut at the ends of its lines.

    Args:
        start: int64, 0-based, in any order; runs may overlap.
        length: int64, of each run.
        line_px: pixels per line (the height of a column-major mask).

    Returns:
        Line, begin and end of runs that are sorted and have gaps between them.

    Raises:
        TooManyRuns: more runs than MAX_RUNS.
    """
    if not len(start):
        return start, start, start
    order = np.argsort(start, kind="stable")
    start, reach = start[order], np.maximum.accumulate((start + length)[order])
    first = np.ones(len(start), bool)
    first[1:] = start[1:] > reach[:-1]
    start = start[first]
    last = np.append(np.flatnonzero(first)[1:], len(first)) - 1
    stop = reach[last]

    first_line, last_line = start // line_px, (stop - 1) // line_px
    pieces = last_line - first_line + 1
    if pieces.sum() > MAX_RUNS:
        raise TooManyRuns
    run = np.repeat(np.arange(len(start)), pieces)
    line = first_line[run] + np.arange(len(run)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    begin = np.maximum(start[run] - line * line_px, 0)
    end = np.minimum(stop[run] - line * line_px, line_px)
    return line, begin, end


def outlines(line: np.ndarray, begin: np.ndarray, end: np.ndarray) -> list[Polygon | MultiPolygon]:
    """The objects of a mask: pixels that touch, at corners too, are one.

    Args:
        line: int64; sorted by line and begin, with gaps between runs of one line, as :func:`split_runs` gives
            them.
        begin: int64, of each run on its line.
        end: int64, exclusive.

    Returns:
        Outlines with x across the lines and y along them; pixel (0, 0) covers the square from (0, 0) to
        (1, 1).

    Raises:
        TooManyRuns: more runs or objects than MAX_RUNS, MAX_OBJECTS.
    """
    if len(line) > MAX_RUNS:
        raise TooManyRuns
    if not len(line):
        return []
    n, labels = pieces_of_runs(line, begin, end)
    if n > MAX_OBJECTS:
        raise TooManyRuns
    order = np.argsort(labels, kind="stable")
    cuts = np.flatnonzero(np.diff(labels[order])) + 1
    return [_outline(line[i], begin[i], end[i]) for i in np.split(order, cuts)]


def _outline(line: np.ndarray, begin: np.ndarray, end: np.ndarray) -> Polygon | MultiPolygon:
    """The edges between pixels in and out of the object, put together by GEOS.

    Along a border between two lines the ends of both lines' runs, sorted, are in turn where the
    lines begin and cease to differ. No edge passes the end of another, which GEOS asks for.
    """
    if (begin == begin[0]).all() and (end == end[0]).all():  # a rectangle, as most of a noisy mask's are
        (x0, x1), (y0, y1) = (line[0], line[-1] + 1), (begin[0], end[0])
        return shapely.polygons([[x0, y0], [x0, y1], [x1, y1], [x1, y0], [x0, y0]])
    x, y = np.concatenate([line, line, line + 1, line + 1]), np.tile(np.append(begin, end), 2)
    order = np.lexsort((y, x))
    borders = np.stack([x[order], y[order]], axis=1).reshape(-1, 2, 2)
    borders = borders[borders[:, 0, 1] != borders[:, 1, 1]]

    ends = np.append(begin, end)
    lines = np.tile(line, 2)
    tips = np.stack([np.stack([lines, ends], 1), np.stack([lines + 1, ends], 1)], axis=1)
    edges = np.asarray(shapely.linestrings(np.concatenate([borders, tips]).astype(np.float64)))
    faces = shapely.get_parts(shapely.polygonize(edges))  # of the object and of its holes
    faces = shapely.simplify(faces[_are_inside(faces, line, begin, end)], 0)
    return faces[0] if len(faces) == 1 else MultiPolygon(list(faces))


def _are_inside(faces: np.ndarray, line: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Whether a pixel of each face is in a run: bool, shape (n,)."""
    points = shapely.get_coordinates(shapely.point_on_surface(faces))
    x, y = np.floor(points).astype(np.int64).T
    span = int(end.max()) + 1
    run = np.searchsorted(line * span + begin, x * span + y, side="right") - 1
    return (run >= 0) & (line[run] == x) & (y < end[run])
