"""Slides whose detections and annotations are a few boxes."""

from mhkd.slide_detection import Detections
from mhkd.slide_detection.scores.scored_slide import ScoredSlide

import numpy as np


class FlatSlide:
    """Stands for pixels where none are looked at."""

    size_px = (100_000, 100_000)


def at(x, y=0, side=100):
    return [x, y, x + side, y + side]


def scored(found=(), there=(), ignored=(), tissue_mm2=2.0, class_names=("normal", "sclerotic"), slide=None):
    """A slide; ``found`` (box, score, class), ``there`` (box, class), ``ignored`` boxes."""
    boxes = [b for b, _ in there] + list(ignored)
    return ScoredSlide(
        name="a.tiff",
        slide=slide or FlatSlide(),
        tissue_mm2=tissue_mm2,
        found=Detections(
            [b for b, _, _ in found], [s for _, s, _ in found], [c for _, _, c in found], class_names
        ),
        boxes_px=np.array(boxes, np.float64).reshape(-1, 4),
        classes=np.array([c for _, c in there] + [0] * len(ignored), np.int64),
        ignored=np.array([False] * len(there) + [True] * len(ignored), bool),
        counts={},
    )
