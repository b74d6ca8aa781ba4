"""Which detections are hits and which annotations were missed, in one image, by COCO's rule."""

import numpy as np
import pycocotools.mask as mask_util


def match_detections(
    boxes, scores, classes, gt_boxes, gt_classes, iou_threshold=0.5, gt_crowd=None
):
    """Tell hits from misses in one image by COCO's rule: the detection with the highest score takes
    the best overlapping annotation of its class that is still free.

    Args:
        boxes (array): shape (N, 4), XYXY.
        scores (array): shape (N,).
        classes (array): shape (N,), int.
        gt_boxes (array): shape (M, 4), XYXY.
        gt_classes (array): shape (M,), int.
        iou_threshold (float): the least IoU of a hit.
        gt_crowd (array): shape (M,), bool; a crowd region is never missed, and what lies in it is
            neither a true nor a false positive. None: there is none.

    Returns:
        tuple[ndarray, ndarray]: true positives, bool, shape (N,), and false negatives, bool,
        shape (M,).
    """
    gt_crowd = np.zeros(len(gt_classes), bool) if gt_crowd is None else np.asarray(gt_crowd, bool)
    assigned = assign(boxes, scores, classes, gt_boxes, gt_classes, iou_threshold, gt_crowd)
    return hits_and_misses(assigned, gt_crowd)


def assign(boxes, scores, classes, gt_boxes, gt_classes, iou_threshold, gt_crowd):
    """The annotation that each detection takes, see :func:`match_detections`.

    Returns:
        ndarray: index of an annotation, crowd or not, or -1; shape (N,).
    """
    boxes, gt_boxes = as_boxes(boxes), as_boxes(gt_boxes)
    classes, gt_classes = np.asarray(classes), np.asarray(gt_classes)
    assigned = np.full(len(boxes), -1)
    if not len(boxes) or not len(gt_boxes):
        return assigned
    # With a crowd region, COCO's IoU is the share of the detection that lies in it.
    iou = mask_util.iou(_xywh(boxes), _xywh(gt_boxes), gt_crowd.astype(np.uint8).tolist())
    iou[classes[:, None] != gt_classes[None, :]] = -1
    free = np.ones(len(gt_boxes), bool)
    for i in np.argsort(-np.asarray(scores), kind="stable"):
        for candidates in (free & ~gt_crowd, gt_crowd):  # a crowd takes all that is left over
            overlap = np.where(candidates, iou[i], -1)
            j = int(np.argmax(overlap))
            if overlap[j] >= iou_threshold:
                assigned[i] = j
                free[j] = False
                break
    return assigned


def hits_and_misses(assigned, gt_crowd):
    """What :func:`match_detections` returns, from what :func:`assign` does."""
    true_positive = assigned >= 0
    true_positive[true_positive] = ~gt_crowd[assigned[true_positive]]
    false_negative = ~gt_crowd
    false_negative[assigned[assigned >= 0]] = False
    return true_positive, false_negative


def confused(boxes, scores, false, gt_boxes, missed, iou_threshold=0.5):
    """Of the false positives those that are a missed annotation of another class. Scores count both.

    Args:
        boxes, scores, gt_boxes, iou_threshold: see :func:`match_detections`.
        false (ndarray): the false positives, bool, shape (N,).
        missed (ndarray): the false negatives, bool, shape (M,).

    Returns:
        ndarray: index of an annotation, or -1; shape (N,).
    """
    boxes, gt_boxes, scores = as_boxes(boxes), as_boxes(gt_boxes), np.asarray(scores)
    false_at, missed_at = np.flatnonzero(false), np.flatnonzero(missed)
    one_class = [np.zeros(len(k), int) for k in (false_at, missed_at)]
    nothing = np.zeros(len(missed_at), bool)
    columns = (boxes[false_at], scores[false_at], one_class[0], gt_boxes[missed_at], one_class[1])
    found = assign(*columns, iou_threshold, nothing)
    result = np.full(len(boxes), -1)
    result[false_at[found >= 0]] = missed_at[found[found >= 0]]
    return result


def as_boxes(boxes):
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)


def _xywh(boxes):
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
