"""COCO's AP of resampled images: intervals, and differences between rows on the same images."""

import contextlib
import io
from dataclasses import dataclass

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

RECALLS = np.linspace(0, 1, 101)
LEVEL = 95  # percent, of every interval


@dataclass(frozen=True)
class ClassMatches:
    """What COCO's matching says about one class, detections in the order of falling scores.

    Shape shorthand: T: 10 IoU thresholds 0.50:0.95, N: detections, I: images.

    Attributes:
        image: (N,) index of the image.
        hit, false: (T, N) bool; neither where a crowd region takes the detection.
        objects: (I,) annotated objects that count.
    """

    image: np.ndarray
    hit: np.ndarray
    false: np.ndarray
    objects: np.ndarray


def match(ground_truth: dict, detections: list[dict], max_dets: int = 100) -> list[ClassMatches]:
    """Match once, resample often.

    Args:
        ground_truth: content of a COCO annotation file; its order of images is that of all indices.
        detections: in COCO's result format.
        max_dets: detections per image and class that count, as in :class:`mhkd.evaluation.CocoEvaluator`.

    Returns:
        One entry a category, in the order of their ids.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = ground_truth
        coco.createIndex()
        found = coco.loadRes([dict(d) for d in detections]) if detections else COCO()
        evaluation = COCOeval(coco, found, "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [max_dets if max_dets >= 0 else len(detections)]
        evaluation.params.imgIds = ids = [image["id"] for image in ground_truth["images"]]
        evaluation.params.useCats = 1
        # evaluate() sorts the ids and drops equal ones; positions are taken from it afterwards.
        evaluation.evaluate()
    position = {image_id: k for k, image_id in enumerate(ids)}
    images = [position[i] for i in evaluation.params.imgIds]
    thresholds, matches = len(evaluation.params.iouThrs), []
    for c in range(len(evaluation.params.catIds)):
        objects = np.zeros(len(ids), int)
        image, scores = [np.zeros(0, int)], [np.zeros(0)]
        hit, ignored = [np.zeros((thresholds, 0), bool)], [np.zeros((thresholds, 0), bool)]
        for k, result in zip(images, evaluation.evalImgs[c * len(images) :]):
            if result is None:
                continue
            objects[k] = np.count_nonzero(np.asarray(result["gtIgnore"]) == 0)
            scores.append(np.asarray(result["dtScores"], float))
            image.append(np.full(len(result["dtScores"]), k))
            ignored.append(np.asarray(result["dtIgnore"], bool).reshape(thresholds, -1))
            hit.append(np.asarray(result["dtMatches"]).reshape(thresholds, -1) > 0)
        order = np.argsort(-np.concatenate(scores), kind="mergesort")
        hit, ignored = np.concatenate(hit, 1)[:, order], np.concatenate(ignored, 1)[:, order]
        matches.append(
            ClassMatches(np.concatenate(image)[order], hit & ~ignored, ~hit & ~ignored, objects)
        )
    return matches


def average_precision(matches: list[ClassMatches], times: np.ndarray) -> dict[str, float]:
    """AP, AP50 and AP75 in percent where image k is there ``times[k]`` times; nan without objects."""
    by_class = []
    for m in matches:
        objects = int((m.objects * times).sum())
        if not objects:
            continue
        weight = times[m.image]
        hits, false = np.cumsum(m.hit * weight, 1), np.cumsum(m.false * weight, 1)
        precision = hits / np.maximum(hits + false, 1)
        envelope = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
        envelope = np.concatenate([envelope, np.zeros((len(envelope), 1))], 1)  # recall never reached
        reached = [np.searchsorted(r, RECALLS, side="left") for r in hits / objects]
        by_class.append([row[k].mean() for row, k in zip(envelope, reached)])
    if not by_class:
        return dict.fromkeys(("AP", "AP50", "AP75"), float("nan"))
    mean = 100 * np.mean(by_class, 0)
    return {"AP": float(mean.mean()), "AP50": float(mean[0]), "AP75": float(mean[5])}


def bootstrap(
    rows: dict[str, list[list[ClassMatches]]], num_images: int, samples: int = 1000, seed: int = 0
) -> dict[str, np.ndarray]:
    """AP of every row on the same resampled images; (samples,) each.

    Args:
        rows: name -> one list of matches a training seed; a row's AP is the mean over its seeds.
    """
    rng = np.random.default_rng(seed)
    found = {name: np.empty(samples) for name in rows}
    for k in range(samples):
        times = np.bincount(rng.integers(num_images, size=num_images), minlength=num_images)
        for name, seeds in rows.items():
            found[name][k] = np.mean([average_precision(m, times)["AP"] for m in seeds])
    return found


def interval(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of ``values``, nan left out."""
    tail = (100 - LEVEL) / 2
    low, high = np.nanpercentile(values, [tail, 100 - tail])
    return float(low), float(high)


def verdict(difference: tuple[float, float]) -> str:
    """"higher", "lower", or "undecided" where the interval of a paired difference includes 0."""
    low, high = difference
    return "undecided" if low <= 0 <= high else "higher" if low > 0 else "lower"
