"""Detections of one class over all slides, matched once, so that any weighting of the slides is cheap.

A bootstrap sample is nothing but a weight for each slide: how often it was drawn. All functions take such
weights; with ones they give COCO's numbers.
"""

import numpy as np

from .matching import assign, hits_and_misses

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)


class Pooled:
    """Matches of one class.

    Attributes:
        scores (ndarray): of the detections, highest first, shape (N,).
        slide_of (ndarray): the slide each is on, int, shape (N,).
        hit (ndarray): bool, shape (10, N): at which IoU thresholds it is a true positive.
        false (ndarray): bool, shape (10, N): ... a false positive; neither where it lies in a region to be
            ignored.
        annotated (ndarray): objects on each slide, int, shape (S,).
    """

    def __init__(self, slides, class_id=None):
        """
        Args:
            slides (list[ScoredSlide]): slides.
            class_id (int, optional): class; None: whatever the class.
        """
        parts = [_matched(one, class_id) for one in slides]
        scores, hit, false, self.annotated = (list(column) for column in zip(*parts))
        self.annotated = np.array(self.annotated)
        slide_of = np.repeat(np.arange(len(slides)), [len(s) for s in scores])
        scores = np.concatenate(scores)
        order = np.argsort(-scores, kind="stable")  # COCO's: ties stay in the order of the slides
        self.scores, self.slide_of = scores[order], slide_of[order]
        self.hit, self.false = (np.concatenate(m, axis=1)[:, order] for m in (hit, false))

    def average_precision(self, weights):
        """COCO's AP: precision at 101 recalls.

        Args:
            weights (ndarray): of the slides, shape (S,).

        Returns:
            ndarray: percent at each IoU threshold, shape (10,); nan without an annotated object.
        """
        annotated = self.annotated @ weights
        if not annotated:
            return np.full(len(IOU_THRESHOLDS), np.nan)
        w = weights[self.slide_of]
        hits, false = np.cumsum(self.hit * w, axis=1), np.cumsum(self.false * w, axis=1)
        recall = hits / annotated
        precision = hits / np.maximum(hits + false, np.spacing(1))
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        precision = np.hstack([precision, np.zeros((len(hits), 1))])  # of recalls that are not reached
        at = [np.searchsorted(r, RECALLS, side="left") for r in recall]
        return 100 * np.array([p[i].mean() for p, i in zip(precision, at)])

    def average_recall(self, weights):
        """ndarray: percent found of all, at each IoU threshold, shape (10,); nan without any object."""
        annotated = self.annotated @ weights
        if not annotated:
            return np.full(len(IOU_THRESHOLDS), np.nan)
        return 100 * (self.hit @ weights[self.slide_of]) / annotated

    def froc(self, weights):
        """Free-response ROC at IoU 0.5: one point for each score threshold.

        Args:
            weights (ndarray): of the slides, shape (S,).

        Returns:
            tuple[ndarray, ndarray, ndarray]: scores, falling, each one of the detections'; false positives
            per slide and sensitivity (percent) of the detections with at least that score.
        """
        w = weights[self.slide_of]
        last = np.append(np.diff(self.scores) != 0, True)[: len(self.scores)]  # of those with equal scores
        false = np.cumsum(self.false[0] * w)[last] / weights.sum()
        annotated = self.annotated @ weights
        hits = np.cumsum(self.hit[0] * w)[last]
        sensitivity = 100 * hits / annotated if annotated else np.full(len(hits), np.nan)
        return self.scores[last], false, sensitivity

    def counts(self, score_threshold):
        """At IoU 0.5, of each slide.

        Returns:
            tuple[ndarray, ndarray]: true and false positives among detections with at least that score, int,
            shape (S,).
        """
        above = self.scores >= np.float32(score_threshold)
        n = len(self.annotated)
        return tuple(
            np.bincount(self.slide_of[above & column[0]], minlength=n) for column in (self.hit, self.false)
        )


def sensitivity_at(froc, false_per_slide):
    """The highest sensitivity with no more false positives than that.

    Args:
        froc (tuple): from :meth:`Pooled.froc`.
        false_per_slide (float): false positives per slide.

    Returns:
        tuple[float, float or None]: sensitivity in percent, and the score threshold that gives it (None:
        there is none, and the sensitivity is 0).
    """
    scores, false, sensitivity = froc
    allowed = np.searchsorted(false, false_per_slide * (1 + 1e-9), side="right")
    if not allowed:
        return 0.0, None
    return float(sensitivity[allowed - 1]), float(scores[allowed - 1])


def _matched(one, class_id):
    """Scores, hits, false positives and the number of annotated objects of one slide."""
    found, there = slice(None), slice(None)
    if class_id is not None:
        found, there = one.found.classes == class_id, one.classes == class_id
    boxes, scores = one.found.boxes_px[found], one.found.scores[found]
    truth, ignored = one.boxes_px[there], one.ignored[there]
    same, same_truth = np.zeros(len(boxes), int), np.zeros(len(truth), int)
    hit = np.zeros((len(IOU_THRESHOLDS), len(boxes)), bool)
    false = np.zeros_like(hit)
    for k, iou in enumerate(IOU_THRESHOLDS):
        assigned = assign(boxes, scores, same, truth, same_truth, iou, ignored)
        hit[k] = hits_and_misses(assigned, ignored)[0]
        false[k] = assigned < 0
    return scores, hit, false, int((~ignored).sum())
