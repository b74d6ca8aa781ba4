"""Sizes of boxes and outlines in micrometres."""

import numpy as np
import shapely

from ...evaluation.detections import Detections


def sizes_um(detections: Detections, mpp_xy: tuple[float, float]) -> np.ndarray:
    """How large the boxes are.

    Args:
        detections: in base pixels.
        mpp_xy: micrometres per base pixel along x and y.

    Returns:
        Float64, shape (3, N), rounded: widths, heights, and the diameters of circles that have the area of
        the boxes' ellipses.
    """
    boxes = detections.boxes_px
    width, height = ((boxes[:, 2:] - boxes[:, :2]) * mpp_xy).T
    return np.round([width, height, np.sqrt(width * height)], 2)


def areas_um(detections: Detections, mpp_xy: tuple[float, float]) -> np.ndarray:
    """How large the outlines are.

    Returns:
        Float64, shape (2, N), rounded: areas in square micrometres, and the diameters of circles of the same
        area (mean diameters) in micrometres.
    """
    area = shapely.area(detections.outlines) * mpp_xy[0] * mpp_xy[1]
    return np.round([area, np.sqrt(4 / np.pi * area)], 2)


def centers_px(detections: Detections) -> np.ndarray:
    """Centres of the boxes, float64, shape (N, 2): x and y in base pixels."""
    return (detections.boxes_px[:, :2] + detections.boxes_px[:, 2:]) / 2
