"""The score threshold with the highest F1."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .pooled import Pooled

DIGITS = range(2, 8)


@dataclass(frozen=True)
class Choice:
    """A score threshold and what it gives.

    Attributes:
        score_threshold: the choice.
        f1, precision, sensitivity: percent, of the detections with at least that score.
        annotated: objects that they were measured on.
    """

    score_threshold: float
    f1: float
    precision: float
    sensitivity: float
    annotated: int


def best_f1(pooled: Iterable[Pooled], lowest: float = 0.0) -> Choice | None:
    """Choose the threshold with the highest F1 over all classes together at IoU 0.5.

    Of equal ones it is the highest.

    Args:
        pooled: detections of each class, matched.
        lowest: score that those below it were left out of; the choice is no lower.

    Returns:
        None where no detection is right.
    """
    pooled = list(pooled)
    annotated = int(sum(p.annotated.sum() for p in pooled))
    scores = np.concatenate([p.scores for p in pooled])
    hit = np.concatenate([p.hit[0] for p in pooled])
    false = np.concatenate([p.false[0] for p in pooled])
    if not annotated or not hit.any():
        return None
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True))  # of those with equal scores
    hits, false = (np.cumsum(column[order])[last] for column in (hit, false))
    f1 = 2 * hits / (annotated + hits + false)
    best = int(np.argmax(f1))
    below = scores[last[best] + 1] if last[best] + 1 < len(scores) else np.float32(0)
    return Choice(
        score_threshold=max(_between(below, scores[last[best]]), lowest),
        f1=float(100 * f1[best]),
        precision=float(100 * hits[best] / (hits[best] + false[best])),
        sensitivity=float(100 * hits[best] / annotated),
        annotated=annotated,
    )


def _between(low: np.float32, high: np.float32) -> float:
    """The number with the fewest digits, near the middle, that is above ``low`` and not above ``high``."""
    middle = (float(low) + float(high)) / 2
    for digits in DIGITS:
        score = round(middle, digits)
        if low < np.float32(score) <= high:
            return score
    return float(high)
