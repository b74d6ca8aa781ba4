"""Detections as a person corrected them."""

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import shapely

from ..evaluation.detections import Detections
from .journal import ACCEPTED, FIELD, REJECTED, Correction

SAME_IOU = 0.5  # from which on a box is the one that was corrected, found anew
_NAMESPACE = uuid.UUID("5f1f0f0c-9d0b-5c39-8a3d-0b8d8a6f3a57")  # any fixed one


def object_ids(detections: Detections, standing: Mapping[str, Correction]) -> list[str]:
    """The id of each detection, by which corrections speak of it.

    It is made of box and class. What was corrected in results of another student is found again: the
    detection that overlaps such a box best, by at least SAME_IOU, has its id.

    Args:
        detections: in base pixels, all that are kept.
        standing: see :meth:`mhkd.corrections.journal.CorrectionFile.standing`.
    """
    names = [detections.class_names[c] for c in detections.classes]
    ids = [
        str(uuid.uuid5(_NAMESPACE, f"{[round(v, 2) for v in box]} {name}"))
        for box, name in zip(detections.boxes_px.tolist(), names)
    ]
    known = set(ids)
    others = [c for c in standing.values() if c.id not in known and c.verdict in (ACCEPTED, REJECTED)]
    free = np.array([k for k, number in enumerate(ids) if number not in standing], np.int64)
    boxes = np.reshape([c.box_px for c in others], (-1, 4))
    for k, j in _best_pairs(detections.boxes_px[free], boxes):
        ids[free[k]] = others[j].id
    return ids


def _best_pairs(boxes: np.ndarray, others: np.ndarray) -> list[tuple[int, int]]:
    """Indices of those that overlap by SAME_IOU, the best first, each in one pair at most."""
    first, second = shapely.box(*boxes.T), shapely.box(*others.T)
    j, k = (
        shapely.STRtree(first).query(second, predicate="intersects")
        if len(boxes)
        else np.empty((2, 0), np.int64)
    )
    shared = shapely.area(shapely.intersection(first[k], second[j]))
    iou = shared / (shapely.area(first[k]) + shapely.area(second[j]) - shared)
    pairs, taken_k, taken_j = [], set(), set()
    for n in np.argsort(-iou, kind="stable"):
        if iou[n] >= SAME_IOU and k[n] not in taken_k and j[n] not in taken_j:
            taken_k.add(k[n])
            taken_j.add(j[n])
            pairs.append((int(k[n]), int(j[n])))
    return pairs


class Corrected(NamedTuple):
    """What is on a slide after correction.

    Attributes:
        detections: those that were not rejected, then what a person drew, whose scores are 1 and whose
            outlines, where the others have some, are their boxes; its classes may be more than the student's.
            Where one was found, a drawn box takes its place; what was accepted keeps its outline.
        drawn: bool, shape (N,): which ones a person drew.
        fields_px: float64, shape (M, 4), XYXY: fields within which all is corrected.
    """

    detections: Detections
    drawn: np.ndarray
    fields_px: np.ndarray


def corrected(found: Detections, standing: Mapping[str, Correction], score_threshold: float) -> Corrected:
    """Detections with the corrections made.

    Args:
        found: in base pixels, all that are kept.
        standing: see :meth:`mhkd.corrections.journal.CorrectionFile.standing`.
        score_threshold: what nobody corrected counts from this score on.
    """
    accepted = {c.id: c for c in standing.values() if c.verdict == ACCEPTED}
    said = [c.class_name or "" for c in accepted.values()]
    class_names = tuple(dict.fromkeys((*found.class_names, *said)))
    ids = object_ids(found, standing)
    boxes, classes = found.boxes_px.copy(), found.classes.copy()
    keep = found.scores >= np.float32(score_threshold)
    for k, number in enumerate(ids):
        word = accepted.get(number)
        if number in standing:
            keep[k] = word is not None and not word.drawn
        if word:
            classes[k] = class_names.index(word.class_name or "")
            if found.outlines is None:
                boxes[k] = word.box_px
    known = set(ids)
    drawn = [c for c in accepted.values() if c.drawn or c.id not in known]
    drawn_px = np.reshape([c.box_px for c in drawn], (-1, 4))
    parts = (
        replace(found, boxes_px=boxes, classes=classes, class_names=class_names).select(keep),
        Detections(
            drawn_px,
            np.ones(len(drawn)),
            np.array([class_names.index(c.class_name or "") for c in drawn], np.int64),
            class_names,
            outlines=None if found.outlines is None else shapely.box(*drawn_px.T),
        ),
    )
    fields = [c.box_px for c in standing.values() if c.verdict == FIELD]
    is_drawn = np.repeat([False, True], [len(parts[0]), len(drawn)])
    return Corrected(Detections.concatenate(parts), is_drawn, np.reshape(fields, (-1, 4)).astype(np.float64))
