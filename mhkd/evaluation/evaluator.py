"""COCO box and mask metrics: Detectron2's evaluator with AR, zeros instead of gaps, and a fast matcher.

What Detectron2's COCOEvaluator keeps to itself is used here and nowhere else: its ``process`` and ``reset``
stay, the rest is ours. tests/evaluation/test_evaluator.py names the version.
"""

import itertools
import json
import logging
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import torch
from detectron2.data import DatasetCatalog, Metadata, MetadataCatalog
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import BoxMode, PolygonMasks
from detectron2.utils import comm
from detectron2.utils.logger import create_small_table

from ..coco.schema import is_number, outline
from ..errors import InputError
from ..files import replacing
from .box_scores import box_scores
from .mask_scores import mask_scores, of_whole_image

logger = logging.getLogger(__name__)


class CocoEvaluator(COCOEvaluator):
    """COCO's AP and AR of boxes, and of masks, in percent, of the predictions for a registered dataset.

    Differs from Detectron2's ``COCOEvaluator``, whose ``process`` it keeps:

    - The ground truth is what ``DatasetCatalog`` returns at the moment of evaluation. There is no
      ``json_file`` to keep and no converted copy on disk that could be out of date.
    - ``AR`` (mean over IoU 0.50:0.95 and classes) is part of the results, and ``AP-<class>`` is
      there even if the dataset has one class.
    - A model that finds nothing scores 0, not "missing". What cannot be measured, because there
      is no ground truth for it (a class, a size), is nan.
    - faster-coco-eval does the matching: the numbers of pycocotools, in a fraction of the time.

    Boxes are in the pixels of the image that the dataset names (HR), whichever view of it the
    model was fed.
    """

    def __init__(
        self, dataset_name: str, output_dir: str | None = None, *, max_dets: int = 100, masks: bool = False
    ) -> None:
        """Begin with no predictions.

        Args:
            dataset_name: a dataset registered with its ``thing_classes``.
            output_dir: where to write ``coco_instances_results.json`` (COCO's result format,
                with the category ids of the user's annotation file); None writes nothing.
            max_dets: detections per image and class that count, for AP and AR alike: as many as
                the network may find, its TEST.DETECTIONS_PER_IMAGE. 100 is COCO's; less than 0: all.
            masks: whether masks are predicted. They are scored where every object has an outline.
        """
        # Not the parent's __init__: all it adds is a COCO file, or a cached conversion into one.
        self._dataset_name = dataset_name
        self._metadata = MetadataCatalog.get(dataset_name)
        self._output_dir = output_dir
        self._max_dets = max_dets
        self._masks = masks
        self._cpu_device = torch.device("cpu")
        self.reset()

    def evaluate(self, img_ids: Iterable[int] | None = None) -> dict[str, dict[str, float]]:
        """Score what was processed, by all processes.

        Args:
            img_ids: images to score; all images of the dataset if None. An image for
                which no prediction was made counts as one in which nothing was found.

        Returns:
            ``{"bbox": {"AP", "AP50", "AP75", "APs", "APm", "APl", "AR",
            "AP-<class>", ...}}`` on the main process, ``{}`` on the others; of masks
            also ``"segm"``, see :func:`mhkd.evaluation.mask_scores.mask_scores`.

        Raises:
            InputError: if a predicted class does not exist in the dataset.
        """
        comm.synchronize()
        predictions = comm.gather(self._predictions, dst=0)
        if not comm.is_main_process():
            return {}
        predictions = list(itertools.chain(*predictions))
        if not predictions:
            logger.warning("No image of '%s' was processed: all is missed", self._dataset_name)

        detections = self._in_coco_format(predictions)
        if self._output_dir:
            self._write(detections, self._output_dir)
        results = self._score(detections, img_ids)
        limit = f"at most {self._max_dets}" if self._max_dets >= 0 else "all"
        for what, scores in results.items():
            logger.info(
                "%s in '%s' (%s detections an image):\n%s",
                {"bbox": "Boxes", "segm": "Masks"}[what],
                self._dataset_name,
                limit,
                create_small_table(scores),
            )
        return results

    def _in_coco_format(self, predictions: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        to_dataset_id = _category_ids(self._metadata)
        entries = DatasetCatalog.get(self._dataset_name) if self._masks else []
        sizes = {entry["image_id"]: (entry["height"], entry["width"]) for entry in entries}
        detections = []
        for detection in itertools.chain(*(p["instances"] for p in predictions)):
            if detection["category_id"] >= len(to_dataset_id):
                raise InputError(
                    f"The model predicts class {detection['category_id']}, but dataset "
                    f"'{self._dataset_name}' has only {len(to_dataset_id)}: "
                    f"{', '.join(self._metadata.thing_classes)}. Evaluate it on a dataset with the "
                    "classes it was trained on (MODEL.ROI_HEADS.NUM_CLASSES)"
                )
            found = {
                "image_id": detection["image_id"],
                "category_id": to_dataset_id[detection["category_id"]],
                "bbox": detection["bbox"],
                "score": detection["score"],
            }
            if self._masks:
                size = sizes[detection["image_id"]]
                found["segmentation"] = of_whole_image(detection["segmentation"], size)
            detections.append(found)
        return detections

    def _write(self, detections: list[dict[str, Any]], folder: str) -> None:
        with replacing(os.path.join(folder, "coco_instances_results.json")) as temporary:
            temporary.write_text(json.dumps(detections), encoding="utf-8")

    def _score(
        self, detections: list[dict[str, Any]], img_ids: Iterable[int] | None
    ) -> dict[str, dict[str, float]]:
        dicts = DatasetCatalog.get(self._dataset_name)
        return coco_scores(dicts, self._metadata, detections, self._max_dets, self._masks, img_ids)


def coco_scores(
    dataset_dicts: Sequence[dict[str, Any]],
    metadata: Metadata,
    detections: Sequence[dict[str, Any]],
    max_dets: int,
    masks: bool = False,
    img_ids: Iterable[int] | None = None,
) -> dict[str, dict[str, float]]:
    """What :meth:`CocoEvaluator.evaluate` returns, of detections in COCO's result format.

    Args:
        dataset_dicts: Detectron2's standard format.
        metadata: see :func:`coco_dict`.
        max_dets, masks: see :class:`CocoEvaluator`.
        img_ids: images to score; all if None.
    """
    ids = None if img_ids is None else list(img_ids)
    results = OrderedDict(bbox=box_scores(coco_dict(dataset_dicts, metadata), detections, max_dets, ids))
    if masks:
        ground_truth = coco_dict(dataset_dicts, metadata, masks=True)
        if all("segmentation" in a for a in ground_truth["annotations"]):
            results["segm"] = mask_scores(ground_truth, detections, max_dets, ids)
        else:
            logger.warning("'%s' has objects without an outline: masks are not scored", metadata.name)
    return results


def coco_dict(
    dataset_dicts: Iterable[dict[str, Any]], metadata: Metadata, masks: bool = False
) -> dict[str, Any]:
    """Dataset dicts as the content of a COCO annotation file, boxes unrounded.

    An annotation's area, which only decides whether it is small, medium or large, is its ``area``
    if it carries one, else that of its segmentation, else, or where these are none, that of its box.

    Args:
        dataset_dicts: Detectron2's standard format.
        metadata: with ``thing_classes`` and, where category ids are not contiguous,
            ``thing_dataset_id_to_contiguous_id``.
        masks: with the "segmentation" of what has one; of a crowd region without one, its box.

    Returns:
        With "images", "annotations" and "categories".
    """
    to_dataset_id = _category_ids(metadata)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for entry in dataset_dicts:
        images.append({"id": entry["image_id"], "height": entry["height"], "width": entry["width"]})
        for annotation in entry.get("annotations", []):
            bbox = np.array([annotation["bbox"]], dtype=np.float64)  # a list would become float32
            bbox = BoxMode.convert(bbox, annotation["bbox_mode"], BoxMode.XYWH_ABS)[0].tolist()
            annotations.append(
                {
                    "id": len(annotations) + 1,  # 0 would mean "unmatched" to COCOeval
                    "image_id": entry["image_id"],
                    "category_id": to_dataset_id[annotation["category_id"]],
                    "bbox": bbox,
                    "area": _area(annotation, bbox, (entry["width"], entry["height"])),
                    "iscrowd": int(annotation.get("iscrowd", 0)),
                    **(_segmentation(annotation, bbox, (entry["width"], entry["height"])) if masks else {}),
                }
            )
    categories = [{"id": i, "name": n} for i, n in zip(to_dataset_id, metadata.thing_classes)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _segmentation(
    annotation: dict[str, Any], bbox_xywh: Sequence[float], size_px: tuple[int, int]
) -> dict[str, Any]:
    try:
        found, _ = outline(annotation.get("segmentation"), size_px)
    except ValueError:
        found = None
    if isinstance(found, list):
        return {"segmentation": [ring.ravel().tolist() for ring in found]}
    if found is not None:
        size = [size_px[1], size_px[0]]
        return {"segmentation": mask_util.frPyObjects({"size": size, "counts": found.tolist()}, *size)}
    if not annotation.get("iscrowd", 0):
        return {}
    x, y, w, h = bbox_xywh
    return {"segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]]}


def _area(annotation: dict[str, Any], bbox_xywh: Sequence[float], image_size_px: tuple[int, int]) -> float:
    recorded: Any = annotation.get("area")
    if is_number(recorded) and recorded > 0:
        return float(recorded)
    try:
        found, _ = outline(annotation.get("segmentation"), image_size_px)
    except ValueError:  # datasets that others register are not checked when they are loaded
        found = None
    if isinstance(found, list):  # polygons
        area = float(PolygonMasks([[ring.ravel() for ring in found]]).area()[0])
    else:
        area = 0.0 if found is None else float(found[1::2].sum())
    return area or bbox_xywh[2] * bbox_xywh[3]


def _category_ids(metadata: Metadata) -> list[int]:
    """The dataset's category ids in the order of the contiguous ones."""
    to_contiguous = metadata.get("thing_dataset_id_to_contiguous_id")
    if to_contiguous is None:
        return list(range(len(metadata.thing_classes)))
    return sorted(to_contiguous, key=to_contiguous.get)
