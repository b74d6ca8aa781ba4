"""Annotation JSON of the Digital Slide Archive (large_image_annotation, HistomicsTK)."""

from typing import Any

from ...evaluation.detections import Detections
from ...palette import class_colors
from .coco_results import rows

LINE_WIDTH = 3  # of the screen


def dsa_annotation(detections: Detections, name: str, description: str) -> dict[str, Any]:
    """Detections as one annotation.

    Args:
        detections: in base pixels.
        name: of the annotation in the viewer's list.
        description: a line about it.

    Returns:
        Its elements are rectangles, or closed polylines of outlines, in a group for each class. The
        server gives the ids.
    """
    colors = {c: f"rgb({r}, {g}, {b})" for c, (r, g, b) in class_colors(detections.class_names).items()}
    elements = []
    for (box, score, c), ring, grade in zip(rows(detections), detections.rings(), detections.graded()):
        label = detections.class_names[c]
        elements.append(
            {
                **(_rectangle(box) if detections.outlines is None else _polyline(ring)),
                "lineColor": colors[label],
                "lineWidth": LINE_WIDTH,
                "group": label,
                "label": {"value": label},
                "user": {
                    "score": score,
                    **({"grade": grade[0], "grade_probability": grade[1]} if grade else {}),
                },
            }
        )
    return {"name": name, "description": description, "elements": elements}


def _rectangle(box: list[float]) -> dict[str, Any]:
    x0, y0, x1, y1 = box
    return {
        "type": "rectangle",
        "center": [round((x0 + x1) / 2, 3), round((y0 + y1) / 2, 3), 0],
        "width": round(x1 - x0, 2),
        "height": round(y1 - y0, 2),
        "rotation": 0,
        "normal": [0, 0, 1],
    }


def _polyline(ring: list[list[float]]) -> dict[str, Any]:
    return {"type": "polyline", "closed": True, "points": [[x, y, 0] for x, y in ring[:-1]]}
