"""Sizes of boxes in micrometres."""

import numpy as np

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


def centers_px(detections: Detections) -> np.ndarray:
    """Centres of the boxes, float64, shape (N, 2): x and y in base pixels."""
    return (detections.boxes_px[:, :2] + detections.boxes_px[:, 2:]) / 2
