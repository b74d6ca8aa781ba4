"""Outlines of masks, and their union over tiles.

OpenCV is not part of every installation, so outlines are those of :mod:`mhkd.coco.runs`. One outline without
holes stands for each object: a glomerulus is one piece, and what else a mask has is noise.
"""

from collections.abc import Sequence

import numpy as np
import shapely
from shapely.geometry import Polygon, box

from ..coco.runs import TooManyRuns, outlines
from ..pieces import runs_of_mask

THRESHOLD = 0.5  # Detectron2's
MOST_SAMPLES = 4096  # of a mask along one axis: 16 MPixels, and a glomerulus at HR has a tenth of them
SMOOTHED = 0.75  # in steps of the grid: what a line may leave out of the stairs of its pixels


def outline_of_mask(probabilities: np.ndarray, box_px: np.ndarray, steps: int) -> Polygon:
    """The outline of a mask head's output, where Detectron2 would paste it.

    Args:
        probabilities: shape (M, M), over the box.
        box_px: x0, y0, x1, y1.
        steps: sampled at so many points per pixel along each axis; at fewer where these would be more than
            MOST_SAMPLES.

    Returns:
        In the pixels of the box; accurate to a step. The box itself where no point is in the mask, or where
        it is noise.
    """
    steps = max(1, min(steps, int(MOST_SAMPLES / max(1, *(box_px[2:] - box_px[:2])))))
    (x, in_x), (y, in_y) = (
        _samples(low, high, steps, n)
        for low, high, n in zip(box_px[:2], box_px[2:], probabilities.shape[::-1])
    )
    mask = in_y @ probabilities.astype(np.float64) @ in_x.T >= THRESHOLD
    try:
        pieces = outlines(*runs_of_mask(np.ascontiguousarray(mask.T)))
    except TooManyRuns:
        pieces = []
    if not pieces:
        return box(*box_px.tolist())
    outline = largest_piece(pieces).simplify(SMOOTHED)
    return Polygon(shapely.get_coordinates(outline) / steps + (x, y))


def outlines_as_text(boxes_px: np.ndarray, masks: np.ndarray, steps: int) -> np.ndarray:
    """As WKT, shape (n,), the outlines of masks (n, M, M); see :func:`outline_of_mask`."""
    polygons = [outline_of_mask(mask, box_px, steps) for mask, box_px in zip(masks, boxes_px)]
    return np.array(shapely.to_wkt(polygons, rounding_precision=3), object)


def _samples(low: float, high: float, steps: int, n: int) -> tuple[float, np.ndarray]:
    """Along one axis: where the samples begin, and the weights (samples, n) of bilinear interpolation between
    the n cells of the box, beyond which all is 0."""
    begin, end = np.floor(low * steps), np.ceil(high * steps)
    centres = (np.arange(begin, end) + 0.5) / steps
    at = (centres - low) / max(high - low, 1e-9) * n - 0.5
    return begin / steps, np.maximum(0, 1 - np.abs(at[:, None] - np.arange(n)))


def largest_piece(shapes: Sequence[shapely.Geometry]) -> Polygon:
    """Of all shapes the largest polygon, its holes filled."""
    parts = shapely.get_parts(np.asarray(shapes, object))
    filled = shapely.polygons(shapely.get_exterior_ring(parts[shapely.get_type_id(parts) == 3]))
    return filled[np.argmax(shapely.area(filled))]


def union(pieces: np.ndarray, gap_px: float) -> Polygon:
    """One outline of the pieces of an object that tiles have cut.

    Args:
        pieces: Polygons, shape (n,).
        gap_px: they may be twice as far from each other.

    Returns:
        The larger one, should there be two left.
    """
    joined = shapely.union_all(shapely.make_valid(pieces))
    if joined.area == 0:
        return pieces[0]
    if joined.geom_type != "Polygon":
        joined = joined.buffer(gap_px, join_style="mitre").buffer(-gap_px, join_style="mitre")
    return largest_piece([joined])
