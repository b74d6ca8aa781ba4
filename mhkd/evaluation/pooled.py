"""Detections of one class over all images, matched once, so that any weighting of the images is cheap.

An image is a tile or a whole slide. A bootstrap sample is nothing but a weight for each image: how often it
was drawn. All functions take such weights; with ones they give COCO's numbers.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .detections import Detections
from .matching import IOU_THRESHOLDS, assign

RECALLS = np.linspace(0, 1, 101)  # COCO's


class Annotated(Protocol):
    """An image with what was found and what is there.

    Attributes:
        found: detections.
        boxes_px: of the annotated objects, float64, shape (M, 4), XYXY, in the pixels of ``found``.
        classes: of the annotated objects, int64, shape (M,).
        ignored: bool, shape (M,): regions (crowds) in which nothing is scored.
    """

    @property
    def found(self) -> Detections: ...
    @property
    def boxes_px(self) -> np.ndarray: ...
    @property
    def classes(self) -> np.ndarray: ...
    @property
    def ignored(self) -> np.ndarray: ...


class Pooled:
    """Matches of one class.

    Attributes:
        scores: of the detections, highest first, shape (N,).
        image_of: the image each is on, int, shape (N,).
        hit: bool, shape (10, N): at which IoU thresholds it is a true positive.
        false: bool, shape (10, N): at which it is a false positive; neither where it lies in a region to be
            ignored.
        annotated: objects on each image, int, shape (S,).
    """

    def __init__(
        self,
        images: Sequence[Annotated],
        class_id: int | None = None,
        max_dets: int = -1,
        ids: Sequence[int] | None = None,
    ) -> None:
        """Match.

        Args:
            images: at least one.
            class_id: a class; None: whatever the class.
            max_dets: as many detections of an image count, those of the highest scores; less than 0: all.
            ids: of the images: detections of equal scores come in the order of these, as COCO takes them;
                None: in the order of ``images``.
        """
        parts = [_matched(one, class_id, max_dets) for one in images]
        scores = np.concatenate([p[0] for p in parts])
        image_of = np.repeat(np.arange(len(parts)), [len(p[0]) for p in parts])
        order = np.lexsort((image_of if ids is None else np.asarray(ids)[image_of], -scores))
        self.scores, self.image_of = scores[order], image_of[order]
        self.hit = np.concatenate([p[1] for p in parts], axis=1)[:, order]
        self.false = np.concatenate([p[2] for p in parts], axis=1)[:, order]
        self.annotated = np.array([p[3] for p in parts])

    def average_precision(self, weights: np.ndarray) -> np.ndarray:
        """COCO's AP: precision at 101 recalls.

        Args:
            weights: of the images, shape (S,).

        Returns:
            Percent at each IoU threshold, shape (10,); nan without an annotated object.
        """
        annotated = self.annotated @ weights
        if not annotated:
            return np.full(len(IOU_THRESHOLDS), np.nan)
        w = weights[self.image_of]
        hits, false = np.cumsum(self.hit * w, axis=1), np.cumsum(self.false * w, axis=1)
        recall = hits / annotated
        precision = hits / np.maximum(hits + false, np.spacing(1))
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        precision = np.hstack([precision, np.zeros((len(hits), 1))])  # of recalls that are not reached
        at = [np.searchsorted(r, RECALLS, side="left") for r in recall]
        return 100 * np.array([p[i].mean() for p, i in zip(precision, at)])

    def average_recall(self, weights: np.ndarray) -> np.ndarray:
        """Percent found of all, at each IoU threshold, shape (10,); nan without any object."""
        annotated = self.annotated @ weights
        if not annotated:
            return np.full(len(IOU_THRESHOLDS), np.nan)
        return 100 * (self.hit @ weights[self.image_of]) / annotated

    def froc(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Free-response ROC at IoU 0.5: one point for each score threshold.

        Args:
            weights: of the images, shape (S,).

        Returns:
            Scores, falling, each one of the detections'; false positives per image and sensitivity (percent)
            of the detections with at least that score.
        """
        w = weights[self.image_of]
        last = np.append(np.diff(self.scores) != 0, True)[: len(self.scores)]  # of those with equal scores
        false = np.cumsum(self.false[0] * w)[last] / weights.sum()
        annotated = self.annotated @ weights
        hits = np.cumsum(self.hit[0] * w)[last]
        sensitivity = 100 * hits / annotated if annotated else np.full(len(hits), np.nan)
        return self.scores[last], false, sensitivity

    def counts(self, score_threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """True and false positives among detections with at least that score, at IoU 0.5.

        Returns:
            Of each image, int, shape (S,) both.
        """
        above = self.scores >= np.float32(score_threshold)
        n = len(self.annotated)
        hits, false = (
            np.bincount(self.image_of[above & column[0]], minlength=n) for column in (self.hit, self.false)
        )
        return hits, false


def average_precision(classes: Iterable[Pooled], weights: np.ndarray) -> dict[str, float]:
    """COCO's AP, AP50 and AP75 in percent: means over the classes that have objects; nan without any.

    Args:
        classes: matches of each class on the same images.
        weights: of the images, shape (S,).
    """
    mean = over_classes(np.array([p.average_precision(weights) for p in classes]))
    return {"AP": float(mean.mean()), "AP50": float(mean[0]), "AP75": float(mean[5])}


def over_classes(by_class: np.ndarray) -> np.ndarray:
    """Mean over the classes that have objects; nan without any.

    Args:
        by_class: shape (C, 10), nan for a class without objects.

    Returns:
        At each IoU threshold, shape (10,).
    """
    known = by_class[~np.isnan(by_class[:, 0])]
    return known.mean(axis=0) if len(known) else np.full(by_class.shape[1], np.nan)


def sensitivity_at(
    froc: tuple[np.ndarray, np.ndarray, np.ndarray], false_per_image: float
) -> tuple[float, float | None]:
    """The highest sensitivity with no more false positives than that.

    Args:
        froc: from :meth:`Pooled.froc`.
        false_per_image: false positives per image.

    Returns:
        Sensitivity in percent, and the score threshold that gives it (None: there is none, and the
        sensitivity is 0).
    """
    scores, false, sensitivity = froc
    allowed = np.searchsorted(false, false_per_image * (1 + 1e-9), side="right")
    if not allowed:
        return 0.0, None
    return float(sensitivity[allowed - 1]), float(scores[allowed - 1])


@dataclass
class _Image:
    """An image of a COCO file as :class:`Annotated`."""

    found: Detections
    boxes_px: np.ndarray
    classes: np.ndarray
    ignored: np.ndarray


def pooled_of_coco(
    ground_truth: dict[str, Any], results: Iterable[dict[str, Any]], max_dets: int = -1
) -> list[Pooled]:
    """COCO results matched with a COCO annotation file.

    Args:
        ground_truth: content of the annotation file, with at least one image; weights are of its images, in
            its order.
        results: COCO results.
        max_dets: detections per image and class that count, as in :class:`mhkd.evaluation.CocoEvaluator`;
            less than 0: all.

    Returns:
        Matches of each category, in the order of the file.
    """
    names = tuple(c["name"] for c in ground_truth["categories"])
    position = {c["id"]: k for k, c in enumerate(ground_truth["categories"])}
    of_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    of_truth: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for record in results:
        of_image[record["image_id"]].append(record)
    for record in ground_truth["annotations"]:
        of_truth[record["image_id"]].append(record)
    images, ids = [], [image["id"] for image in ground_truth["images"]]
    for image_id in ids:
        found, truth = of_image[image_id], of_truth[image_id]
        found_classes, classes = ([position[r["category_id"]] for r in rows] for rows in (found, truth))
        scores = np.array([r["score"] for r in found])
        images.append(
            _Image(
                Detections(_boxes(found), scores, np.array(found_classes), names),
                _boxes(truth),
                np.array(classes, np.int64),
                np.array([bool(r.get("iscrowd", 0)) for r in truth], bool),
            )
        )
    return [Pooled(images, k, max_dets, ids) for k in range(len(names))]


def _matched(
    one: Annotated, class_id: int | None, max_dets: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Scores, hits, false positives and the number of annotated objects of one image."""
    found, there = one.found, np.ones(len(one.classes), bool)
    if class_id is not None:
        found, there = found.select(found.classes == class_id), one.classes == class_id
    if 0 <= max_dets < len(found):
        found = found.select(np.sort(np.argsort(-found.scores, kind="stable")[:max_dets]))
    truth, ignored = one.boxes_px[there], one.ignored[there]
    one_class = [np.zeros(len(k), int) for k in (found, truth)]
    assigned = assign(found.boxes_px, found.scores, one_class[0], truth, one_class[1], ignored)
    hit = np.append(~ignored, False)[assigned]  # -1, nothing, is the False at the end
    return found.scores, hit, assigned < 0, int((~ignored).sum())


def _boxes(records: Sequence[dict[str, Any]]) -> np.ndarray:
    """XYXY, float64, shape (N, 4)."""
    boxes = np.array([r["bbox"] for r in records], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes
