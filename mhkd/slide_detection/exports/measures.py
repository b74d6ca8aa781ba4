"""Sizes of boxes in micrometres."""

import numpy as np


def sizes_um(detections, mpp_xy):
    """Args:
        detections (Detections): in base pixels.
        mpp_xy (tuple[float, float]): micrometres per base pixel along x and y.

    Returns:
        ndarray: float64, shape (3, N), rounded: widths, heights, and the diameters of circles that have the
        area of the boxes' ellipses.
    """
    boxes = detections.boxes_px
    width, height = ((boxes[:, 2:] - boxes[:, :2]) * mpp_xy).T
    return np.round([width, height, np.sqrt(width * height)], 2)


def centers_px(detections):
    """ndarray: float64, shape (N, 2), x and y of the boxes' centres in base pixels."""
    return (detections.boxes_px[:, :2] + detections.boxes_px[:, 2:]) / 2
