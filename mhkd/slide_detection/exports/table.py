"""A table of the glomeruli, one a row, for a spreadsheet."""

import numpy as np

from ...evaluation.detections import Detections
from ...tables import csv_text
from .coco_results import rows
from .measures import areas_um, centers_px, sizes_um

COLUMNS = (
    "number", "class", "score", "center_x_um", "center_y_um", "width_um", "height_um", "diameter_um",
    "center_x_px", "center_y_px", "width_px", "height_px", "score_threshold",
)  # fmt: skip
OUTLINE_COLUMNS = ("area_um2", "mean_diameter_um")  # where outlines were found
GRADE_COLUMNS = ("grade", "grade_probability")  # where a classifier was asked


def glomeruli_csv(detections: Detections, mpp_xy: tuple[float, float], score_threshold: float = 0.0) -> str:
    """The content of the table.

    Args:
        detections: in base pixels, those that count.
        mpp_xy: micrometres per base pixel along x and y.
        score_threshold: from which score on they do.

    Returns:
        CSV, see :func:`mhkd.tables.csv_text`; pixels are base pixels, all positions are from the slide's top
        left corner.
    """
    centers = centers_px(detections)
    centers_um = np.round(centers * mpp_xy, 2).tolist()
    measures_um = sizes_um(detections, mpp_xy).T.tolist()
    lines = []
    areas: list[list[float]] = [[] for _ in centers]
    if detections.outlines is not None:
        areas = areas_um(detections, mpp_xy).T.tolist()
    header = [*COLUMNS, *(OUTLINE_COLUMNS if detections.outlines is not None else ())]
    header += GRADE_COLUMNS if detections.grade_names else ()
    for k, (((x0, y0, x1, y1), score, c), grade) in enumerate(zip(rows(detections), detections.graded())):
        size_px = (round(x1 - x0, 2), round(y1 - y0, 2))
        name, center_px = detections.class_names[c], np.round(centers[k], 3).tolist()
        values = [*centers_um[k], *measures_um[k], *center_px, *size_px]
        lines.append([k + 1, name, score, *values, score_threshold, *areas[k], *(grade or ())])
    return csv_text(header, lines)
