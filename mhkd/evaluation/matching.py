"""Which detections are right and which annotations were missed, by COCO's rule.

COCO's own scores are faster-coco-eval's (see box_scores.py). It keeps its matches to itself but for one IoU
threshold and without crowds, so what needs them (intervals, FROC, counts, pictures) matches here. A test
holds both against each other.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pycocotools.mask as mask_util

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)  # COCO's


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What a picture shows of an image with N detections and M annotations.

    Attributes:
        hit: bool, shape (N,).
        false: bool, shape (N,); there is nothing of any class.
        confused_with: int, shape (N,); index of a missed annotation of another class, or -1. Scores count
            such a pair twice, as a false positive and as a miss.
        missed: bool, shape (M,); no detection of any class is there.
    """

    hit: np.ndarray
    false: np.ndarray
    confused_with: np.ndarray
    missed: np.ndarray

    @property
    def confused(self) -> np.ndarray:
        """Detections that are an annotation of another class: bool, shape (N,)."""
        return self.confused_with >= 0


def match_detections(
    boxes: npt.ArrayLike,
    scores: npt.ArrayLike,
    classes: npt.ArrayLike,
    gt_boxes: npt.ArrayLike,
    gt_classes: npt.ArrayLike,
    iou_threshold: float = 0.5,
    gt_crowd: npt.ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Tell hits from misses in one image.

    Args:
        boxes: shape (N, 4), XYXY.
        scores: shape (N,).
        classes: int, shape (N,).
        gt_boxes: shape (M, 4), XYXY.
        gt_classes: int, shape (M,).
        iou_threshold: the least IoU of a hit.
        gt_crowd: bool, shape (M,); a crowd region is never missed, and what lies in it is neither a true nor
            a false positive. None: there is none.

    Returns:
        True positives, bool, shape (N,), and false negatives, bool, shape (M,).
    """
    crowd = _crowd(gt_crowd, gt_classes)
    assigned = assign(boxes, scores, classes, gt_boxes, gt_classes, crowd, [iou_threshold])[0]
    return _hits(assigned, crowd), _misses(assigned, crowd)


def judge(
    boxes: npt.ArrayLike,
    scores: npt.ArrayLike,
    classes: npt.ArrayLike,
    gt_boxes: npt.ArrayLike,
    gt_classes: npt.ArrayLike,
    gt_crowd: npt.ArrayLike,
    iou_threshold: float = 0.5,
) -> Verdicts:
    """Tell hits, false positives, misses and confusions of classes in one image.

    What is a false positive and what was missed, whatever the class, is matched once more.

    Args:
        boxes, scores, classes, gt_boxes, gt_classes, gt_crowd, iou_threshold: see :func:`match_detections`.
    """
    boxes, scores, gt_boxes = as_boxes(boxes), np.asarray(scores), as_boxes(gt_boxes)
    crowd = _crowd(gt_crowd, gt_classes)
    assigned = assign(boxes, scores, classes, gt_boxes, gt_classes, crowd, [iou_threshold])[0]
    false, missed = assigned < 0, _misses(assigned, crowd)
    false_at, missed_at = np.flatnonzero(false), np.flatnonzero(missed)
    one_class = [np.zeros(len(k), int) for k in (false_at, missed_at)]
    columns = (boxes[false_at], scores[false_at], one_class[0], gt_boxes[missed_at], one_class[1])
    found = assign(*columns, np.zeros(len(missed_at), bool), [iou_threshold])[0]
    confused_with = np.full(len(boxes), -1)
    confused_with[false_at[found >= 0]] = missed_at[found[found >= 0]]
    missed[confused_with[confused_with >= 0]] = False
    return Verdicts(_hits(assigned, crowd), false & (confused_with < 0), confused_with, missed)


def assign(
    boxes: npt.ArrayLike,
    scores: npt.ArrayLike,
    classes: npt.ArrayLike,
    gt_boxes: npt.ArrayLike,
    gt_classes: npt.ArrayLike,
    gt_crowd: np.ndarray,
    iou_thresholds: npt.ArrayLike = IOU_THRESHOLDS,
) -> np.ndarray:
    """The annotation that each detection takes at each of T IoU thresholds.

    By falling score each detection takes the annotation of its class that it overlaps most, of those that are
    still free (of equal overlaps the last, as COCO does); one that finds none free may lie in a crowd region.

    Args:
        boxes, scores, classes, gt_boxes, gt_classes, gt_crowd: see :func:`match_detections`.
        iou_thresholds: shape (T,).

    Returns:
        Index of an annotation, crowd or not, or -1; int, shape (T, N).
    """
    boxes, gt_boxes = as_boxes(boxes), as_boxes(gt_boxes)
    classes, gt_classes = np.asarray(classes), np.asarray(gt_classes)
    thresholds = np.asarray(iou_thresholds, np.float64)
    assigned = np.full((len(thresholds), len(boxes)), -1)
    if not len(boxes) or not len(gt_boxes):
        return assigned
    # With a crowd region, COCO's IoU is the share of the detection that lies in it.
    iou = mask_util.iou(_xywh(boxes), _xywh(gt_boxes), gt_crowd.astype(np.uint8).tolist())
    iou[classes[:, None] != gt_classes[None, :]] = -1
    free = np.tile(~gt_crowd, (len(thresholds), 1))
    kinds = (False, True) if gt_crowd.any() else (False,)
    for i in np.argsort(-np.asarray(scores), kind="stable"):
        near = np.flatnonzero(iou[i] >= thresholds.min())
        if not len(near):
            continue
        for of_crowd in kinds:  # a crowd takes all that is left over
            candidates = (assigned[:, i] < 0)[:, None] & (gt_crowd[near] if of_crowd else free[:, near])
            overlap = np.where(candidates, iou[i, near], -1)[:, ::-1]
            best = overlap.argmax(axis=1)
            at = np.flatnonzero(overlap[np.arange(len(thresholds)), best] >= thresholds)
            taken = near[::-1][best[at]]
            assigned[at, i] = taken
            free[at, taken] = False
    return assigned


def as_boxes(boxes: npt.ArrayLike) -> np.ndarray:
    """Boxes as float64 of shape (N, 4), also where there are none."""
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)


def _crowd(gt_crowd: npt.ArrayLike | None, gt_classes: npt.ArrayLike) -> np.ndarray:
    return np.zeros(len(np.asarray(gt_classes)), bool) if gt_crowd is None else np.asarray(gt_crowd, bool)


def _hits(assigned: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Detections with an annotation that is no crowd region; -1 finds the False at the end."""
    return np.append(~crowd, False)[assigned]


def _misses(assigned: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    missed = ~crowd
    missed[assigned[assigned >= 0]] = False
    return missed


def _xywh(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
