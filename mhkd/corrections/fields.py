"""Which slides and fields would teach a student most if a person corrected them.

A detection whose score is near the working threshold is one that the student is unsure of. It weighs 1 at
the threshold, 0 from BAND away from it on, and between in proportion (uncertainty sampling: Settles, Active
Learning Literature Survey, 2009, section 3.1). A field weighs what those in it do that nobody has corrected.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..slide_detection.finished import FinishedSlide
from .corrected import object_ids
from .journal import FIELD, CorrectionFile

logger = logging.getLogger(__name__)
BAND = 0.25  # of scores
FIELD_UM = 1000.0


@dataclass(frozen=True)
class Field:
    """A square on a slide, or what of it is on the slide.

    Attributes:
        box_px: x0, y0, x1, y1 in base pixels.
        unsure: how many detections in it are near the threshold and not corrected.
        weight: of them together.
    """

    box_px: tuple[float, float, float, float]
    unsure: int
    weight: float


@dataclass(frozen=True)
class SlideToCorrect:
    """A slide, and its fields, those that weigh most first.

    Attributes:
        slide: its results.
        unsure, weight: as of a field.
        fields: those that were chosen.
    """

    slide: FinishedSlide
    unsure: int
    weight: float
    fields: tuple[Field, ...]


def next_fields(
    slides: Iterable[FinishedSlide],
    count: int,
    field_um: float = FIELD_UM,
    score_threshold: float | None = None,
) -> list[SlideToCorrect]:
    """What to correct next.

    Args:
        slides: their results.
        count: of the fields of all slides together.
        field_um: side of a field.
        score_threshold: the student is least sure at this score; default: each result's own.

    Returns:
        The slides, the one that weighs most first, with the fields that weigh most; without those that cannot
        be read, which a warning names.
    """
    found = []
    for slide in slides:
        try:
            boxes, weights = _unsure(slide, score_threshold)
            fields = _choose(boxes, weights, _side_px(slide, field_um), slide.run.get("size_px"), count)
        except InputError as e:
            logger.warning("left out: %s", e)
            continue
        found.append(SlideToCorrect(slide, len(boxes), float(weights.sum()), tuple(fields)))
    found.sort(key=lambda s: -s.weight)
    ranked = sorted(
        ((f.weight, i, f) for i, s in enumerate(found) for f in s.fields), key=lambda r: (-r[0], r[1])
    )
    chosen = [(i, field) for _, i, field in ranked[:count]]
    return [replace(s, fields=tuple(f for j, f in chosen if j == i)) for i, s in enumerate(found)]


def _unsure(slide: FinishedSlide, score_threshold: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of detections that are near the threshold and not corrected, and their weights."""
    threshold = slide.score_threshold if score_threshold is None else score_threshold
    detections, standing = slide.detections(), CorrectionFile(slide).standing()
    weights = 1 - np.abs(detections.scores.astype(np.float64) - threshold) / BAND
    is_new = np.array([number not in standing for number in object_ids(detections, standing)], bool)
    centres = (detections.boxes_px[:, :2] + detections.boxes_px[:, 2:]) / 2
    for correction in standing.values():
        if correction.verdict == FIELD:
            x0, y0, x1, y1 = correction.box_px
            is_new &= ~((centres >= (x0, y0)) & (centres <= (x1, y1))).all(axis=1)
    keep = (weights > 0) & is_new
    return detections.boxes_px[keep], weights[keep]


def _side_px(slide: FinishedSlide, field_um: float) -> np.ndarray:
    mpp_xy = slide.run.get("mpp_xy")
    if not mpp_xy:
        raise InputError(
            f"{slide.folder}: does not record the slide's resolution: run mhkd detect again for it"
        )
    return field_um / np.asarray(mpp_xy, np.float64)


def _choose(
    boxes: np.ndarray, weights: np.ndarray, side_px: np.ndarray, size_px: list[int] | None, count: int
) -> list[Field]:
    """Fields on a grid of half their side: the heaviest, then the same without what lies in it."""
    cells = np.floor((boxes[:, :2] + boxes[:, 2:]) / side_px).astype(np.int64).tolist()  # of half a side
    members: dict[tuple[int, int], list[int]] = {}
    for k, cell in enumerate(cells):
        for corner in _corners(*cell):
            members.setdefault(corner, []).append(k)
    left = set(range(len(boxes)))
    sums = {corner: float(weights[inside].sum()) for corner, inside in members.items()}
    fields: list[Field] = []
    while left and len(fields) < count:
        corner = max(sums, key=lambda c: (sums[c], -c[1], -c[0]))
        inside = [k for k in members[corner] if k in left]
        left -= set(inside)
        for c in {c for k in inside for c in _corners(*cells[k])}:
            sums[c] = float(weights[[k for k in members[c] if k in left]].sum())
        x0, y0 = np.array(corner) * side_px / 2
        x1, y1 = np.minimum((x0, y0) + side_px, size_px or np.inf)
        fields.append(
            Field((float(x0), float(y0), float(x1), float(y1)), len(inside), float(weights[inside].sum()))
        )
    return fields


def _corners(x: int, y: int) -> set[tuple[int, int]]:
    """The fields that a cell lies in, 2 x 2 cells each, by their first cell."""
    return {(max(0, x - i), max(0, y - j)) for i in (0, 1) for j in (0, 1)}
