"""The score threshold with the highest F1."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from .detections import Detections
from .pooled import Pooled

DIGITS = range(2, 8)


@dataclass(frozen=True)
class Choice:
    """Attributes:
    score_threshold (float): the choice.
    f1, precision, sensitivity (float): percent, of the detections with at least that score.
    annotated (int): objects that they were measured on.
    """

    score_threshold: float
    f1: float
    precision: float
    sensitivity: float
    annotated: int


def best_f1(pooled):
    """Args:
        pooled (Iterable[Pooled]): detections of each class, matched.

    Returns:
        Choice or None: of all thresholds the one with the highest F1 over all classes together at IoU 0.5; of
        equal ones the highest. None where no detection is right.
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
        score_threshold=_between(below, scores[last[best]]),
        f1=float(100 * f1[best]),
        precision=float(100 * hits[best] / (hits[best] + false[best])),
        sensitivity=float(100 * hits[best] / annotated),
        annotated=annotated,
    )


@dataclass
class _Image:
    """What Pooled asks of a slide."""

    found: Detections
    boxes_px: np.ndarray
    classes: np.ndarray
    ignored: np.ndarray


def pooled_of_coco(ground_truth, results):
    """Args:
        ground_truth (dict): content of a COCO annotation file.
        results (list[dict]): COCO results.

    Returns:
        list[Pooled]: of each category, in the order of the file.
    """
    names = tuple(c["name"] for c in ground_truth["categories"])
    position = {c["id"]: k for k, c in enumerate(ground_truth["categories"])}
    of_image, of_truth = defaultdict(list), defaultdict(list)
    for records, by_image in ((results, of_image), (ground_truth["annotations"], of_truth)):
        for record in records:
            by_image[record["image_id"]].append(record)
    images = []
    for image in ground_truth["images"]:
        found, truth = of_image[image["id"]], of_truth[image["id"]]
        classes = [[position[r["category_id"]] for r in records] for records in (found, truth)]
        scores = [r["score"] for r in found]
        images.append(
            _Image(
                Detections(_boxes(found), scores, classes[0], names),
                _boxes(truth),
                np.array(classes[1], np.int64),
                np.array([bool(r.get("iscrowd", 0)) for r in truth], bool),
            )
        )
    return [Pooled(images, k) for k in range(len(names))]


def _boxes(records):
    boxes = np.array([r["bbox"] for r in records], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _between(low, high):
    """The number with the fewest digits, near the middle, that is above ``low`` and not above ``high``."""
    middle = (float(low) + float(high)) / 2
    for digits in DIGITS:
        score = round(middle, digits)
        if low < np.float32(score) <= high:
            return score
    return float(high)
