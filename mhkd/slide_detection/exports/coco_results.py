"""COCO results, which pycocotools' ``loadRes`` reads."""

import hashlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...evaluation.detections import Detections

# pycocotools cannot load an empty list. This result has no area and the lowest score: it changes no AP or AR.
_NONE_FOUND = {"category_id": 1, "bbox": [0.0, 0.0, 0.0, 0.0], "score": 0.0}


def slide_image_id(slide_file: str | os.PathLike[str]) -> int:
    """The id of a slide as an image of a COCO file: of its file name alone, so the same wherever it is used.

    Args:
        slide_file: slide; its folder does not count.

    Returns:
        Positive, of 52 bits, which every JSON reader keeps; two slides of one id are not to be expected.
    """
    name = os.fsencode(os.path.basename(slide_file))
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "big") % (2**52 - 1) + 1


def coco_results(detections: Detections, image_id: int) -> list[dict[str, Any]]:
    """Detections as COCO's list of results.

    Args:
        detections: in base pixels.
        image_id: of the slide.

    Returns:
        Category ids count from 1 in the order of the classes; boxes are XYWH; "grades", where there are any,
        are the probabilities of each, "segmentation" the outline as a polygon. Without detections there is
        one of no size with a score of 0, since pycocotools does not load an empty list.
    """
    outlined = detections.outlines is not None
    return [
        {
            "image_id": image_id,
            "category_id": c + 1,
            "bbox": [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)],
            "score": score,
            **({"grades": grades} if grades else {}),
            **({"segmentation": [[v for at in ring[:-1] for v in at]]} if outlined else {}),
        }
        for ((x0, y0, x1, y1), score, c), grades, ring in zip(
            rows(detections), rounded_grades(detections), detections.rings()
        )
    ] or [{"image_id": image_id, **_NONE_FOUND}]


def rounded_grades(detections: Detections) -> list[list[float]]:
    """Probabilities of the grades of each detection, as JSON writes them short; empty without grades."""
    found: list[list[float]] = np.round(detections.grades, 6).tolist()
    return found


def rows(detections: Detections) -> Iterator[tuple[list[float], float, int]]:
    """Box (x0, y0, x1, y1), score and class of each detection, as Python numbers that JSON writes short."""
    scores = [round(s, 6) for s in detections.scores.tolist()]
    return zip(detections.boxes_px.tolist(), scores, detections.classes.tolist())
