"""COCO's mask metrics, and how well the masks of what was found cover the objects (Dice)."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

from .box_scores import box_scores
from .matching import assign

METRICS = ("AP", "AP50", "AP75", "AR")
PREFIX = "segm_"  # of these metrics where they stand beside those of boxes
MASK_METRICS = tuple(PREFIX + m for m in (*METRICS, "Dice"))


def mask_scores(
    ground_truth: dict[str, Any],
    detections: Sequence[dict[str, Any]],
    max_dets: int,
    img_ids: Iterable[int] | None = None,
) -> dict[str, float]:
    """AP, AP50, AP75 and AR of masks, and the mean Dice of those of found objects, in percent.

    An object is found if a detection of its class takes it by COCO's rule with a box IoU of 0.5 or more,
    whatever its score; Dice is 2 |A and B| / (|A| + |B|) of the two masks.

    Args:
        ground_truth: content of a COCO annotation file whose annotations all have a "segmentation".
        detections: COCO results with "bbox" and "segmentation".
        max_dets, img_ids: see :func:`mhkd.evaluation.box_scores.box_scores`.

    Returns:
        nan for what cannot be measured.
    """
    masks = [{k: v for k, v in d.items() if k != "bbox"} for d in detections]
    scores = box_scores(ground_truth, masks, max_dets, img_ids, "segm")
    return {**{m: scores[m] for m in METRICS}, "Dice": _mean_dice(ground_truth, detections, img_ids)}


def _mean_dice(
    ground_truth: dict[str, Any], detections: Sequence[dict[str, Any]], img_ids: Iterable[int] | None
) -> float:
    sizes = {i["id"]: (i["height"], i["width"]) for i in ground_truth["images"]}
    found, objects = defaultdict(list), defaultdict(list)
    for detection in detections:
        found[detection["image_id"]].append(detection)
    for annotation in ground_truth["annotations"]:
        objects[annotation["image_id"]].append(annotation)
    dice: list[float] = []
    for image_id in sizes if img_ids is None else img_ids:
        of_image, truth = found[image_id], objects[image_id]
        crowd = np.array([a["iscrowd"] for a in truth], bool)
        taken = assign(
            _boxes(of_image),
            [d["score"] for d in of_image],
            [d["category_id"] for d in of_image],
            _boxes(truth),
            [a["category_id"] for a in truth],
            crowd,
            [0.5],
        )[0]
        for detection, k in zip(of_image, taken.tolist()):
            if k >= 0 and not crowd[k]:
                mask = as_rle(truth[k]["segmentation"], sizes[image_id])
                iou = float(mask_util.iou([detection["segmentation"]], [mask], [0])[0, 0])
                dice.append(2 * iou / (1 + iou))
    return 100 * float(np.mean(dice)) if dice else float("nan")


def of_whole_image(mask: dict[str, Any], size_px: tuple[int, int]) -> dict[str, Any]:
    """COCO's compressed mask of an image's upper left part as one of the image, as masks are compared.

    An image of which no whole number of LR pixels can be made is looked at without its last rows and columns.

    Args:
        size_px: height and width of the image.
    """
    missing = [(0, whole - seen) for whole, seen in zip(size_px, mask["size"])]
    if not np.any(missing):
        return mask
    whole = mask_util.encode(np.asfortranarray(np.pad(mask_util.decode(mask), missing)))
    return {"size": list(size_px), "counts": whole["counts"].decode()}  # text, as JSON has it


def as_rle(segmentation: Any, size_px: tuple[int, int]) -> Any:
    """COCO's compressed mask of an outline in any of its forms.

    Args:
        size_px: height and width of the image.
    """
    if isinstance(segmentation, list):
        return mask_util.merge(mask_util.frPyObjects(segmentation, *size_px))
    if isinstance(segmentation["counts"], list):
        return mask_util.frPyObjects(segmentation, *size_px)
    return segmentation


def _boxes(records: Sequence[dict[str, Any]]) -> np.ndarray:
    """XYXY, shape (n, 4)."""
    boxes = np.array([r["bbox"] for r in records], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes
