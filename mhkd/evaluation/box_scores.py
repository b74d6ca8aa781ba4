"""COCO's metrics of faster-coco-eval, by class and with AR; of boxes, or of masks."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster


def box_scores(
    ground_truth: dict[str, Any],
    detections: Sequence[dict[str, Any]],
    max_dets: int,
    img_ids: Iterable[int] | None = None,
    iou_type: str = "bbox",
) -> dict[str, float]:
    """COCO's metrics, in percent; nan for what has no ground truth.

    Args:
        ground_truth: content of a COCO annotation file, "categories" in the order of the result.
        detections: COCO results.
        max_dets: detections per image and class that count; less than 0: all.
        img_ids: images to score; all if None.
        iou_type: "bbox", or "segm" of masks.

    Returns:
        "AP", "AP50", "AP75", "APs", "APm", "APl", "AR", "AP-<class>", ...
    """
    categories = ground_truth["categories"]
    coco = COCO(ground_truth)
    coco_eval = COCOeval_faster(coco, coco.loadRes(detections), iou_type)
    coco_eval.params.maxDets = [max_dets if max_dets >= 0 else len(detections)]
    if img_ids is not None:
        coco_eval.params.imgIds = list(img_ids)
    coco_eval.evaluate()
    coco_eval.accumulate()

    # Not COCOeval.stats, whose layout assumes maxDets 1, 10, 100.
    precision = coco_eval.eval["precision"][..., -1]  # (IoU, recall, class, area)
    recall = coco_eval.eval["recall"][..., -1]  # (IoU, class, area)
    results = {
        "AP": _percent(precision[..., 0]),
        "AP50": _percent(precision[0, ..., 0]),
        "AP75": _percent(precision[5, ..., 0]),
        "APs": _percent(precision[..., 1]),
        "APm": _percent(precision[..., 2]),
        "APl": _percent(precision[..., 3]),
        "AR": _percent(recall[..., 0]),
    }
    # COCOeval sorts the category ids, which need not be the order of the contiguous ones.
    column = {category_id: k for k, category_id in enumerate(coco_eval.params.catIds)}
    for category in categories:
        results[f"AP-{category['name']}"] = _percent(precision[:, :, column[category["id"]], 0])
    return results


def _percent(values: np.ndarray) -> float:
    """COCOeval marks with -1 what has no ground truth."""
    values = values[values > -1]
    return float(100 * np.mean(values)) if values.size else float("nan")
