"""Scores of masks, worked out by hand on squares."""

import json

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.evaluation.evaluator import CocoEvaluator

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, BoxMode, Instances

SQUARE = [100.0, 100, 120, 100, 120, 120, 100, 120]  # 400 px


def annotation(**more):
    box = {"bbox": [100, 100, 20, 20], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0, "iscrowd": 0}
    return {**box, "segmentation": [SQUARE], **more}


def found(rows=20, box=(100, 100, 120, 120), score=0.9):
    """The box, and a mask of the square's upper rows."""
    result = Instances((200, 200), scores=torch.tensor([score]), pred_classes=torch.tensor([0]))
    result.pred_boxes = Boxes(torch.tensor([box], dtype=torch.float32))
    result.pred_masks = torch.zeros(1, 200, 200, dtype=torch.bool)
    result.pred_masks[0, 100 : 100 + rows, 100:120] = True
    return result


@pytest.fixture
def evaluate(request, tmp_path):
    name = f"mask_scores_{request.node.name}"

    def _evaluate(annotations, result, size=(200, 200)):
        entry = {"file_name": "a.png", "image_id": 1, "height": size[0], "width": size[1]}
        DatasetCatalog.register(name, lambda: [{**entry, "annotations": annotations}])
        MetadataCatalog.get(name).set(thing_classes=["glomerulus"])
        evaluator = CocoEvaluator(name, str(tmp_path), masks=True)
        evaluator.process([{"image_id": 1}], [{"instances": result}])
        return evaluator.evaluate()

    yield _evaluate
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def test_half_a_mask_in_the_whole_box(evaluate):
    scores = evaluate([annotation()], found(rows=10))
    assert scores["bbox"]["AP"] == pytest.approx(100)
    # IoU 200 / 400: a hit at 0.50 alone, of ten thresholds; Dice 2 * 200 / (200 + 400)
    assert scores["segm"] == pytest.approx(
        {"AP": 10, "AP50": 100, "AP75": 0, "AR": 10, "Dice": 100 * 400 / 600}, abs=1e-4
    )


def test_a_mask_in_another_box_is_scored_by_coco_and_has_no_dice(evaluate):
    scores = evaluate([annotation()], found(box=(100, 100, 120, 160)))
    assert scores["segm"]["AP"] == pytest.approx(100)
    assert scores["bbox"]["AP50"] == 0 and np.isnan(scores["segm"]["Dice"])


def test_an_image_of_which_the_last_rows_and_columns_were_not_looked_at(evaluate, tmp_path):
    """As a network at x4 gives masks of 200 x 200 px of 203 x 201."""
    scores = evaluate([annotation()], found(), size=(203, 201))
    assert scores["segm"]["AP"] == scores["segm"]["Dice"] == pytest.approx(100)
    (result,) = json.loads((tmp_path / "coco_instances_results.json").read_text())
    mask = mask_util.decode(result["segmentation"])
    assert mask.shape == (203, 201) and mask[100:120, 100:120].all() and mask.sum() == 400


@pytest.mark.parametrize("form", ["compressed", "plain"])
def test_annotations_may_be_masks(evaluate, form):
    packed = mask_util.merge(mask_util.frPyObjects([SQUARE], 200, 200))
    flat = mask_util.decode(packed).ravel(order="F")
    counts = np.diff(np.flatnonzero(np.diff(np.r_[0, flat, 1 - flat[-1]])), prepend=0).tolist()
    outline = packed if form == "compressed" else {"size": [200, 200], "counts": counts}
    scores = evaluate([annotation(segmentation=outline)], found())
    assert scores["segm"]["AP"] == scores["segm"]["Dice"] == pytest.approx(100)


def test_crowds_do_not_count_and_may_be_boxes(evaluate):
    crowd = annotation(iscrowd=1)
    del crowd["segmentation"]
    scores = evaluate([annotation(), {**crowd, "bbox": [0, 0, 50, 50]}], found(rows=20))
    assert scores["segm"]["AP"] == scores["segm"]["Dice"] == pytest.approx(100)


def test_boxes_alone_are_scored_where_an_outline_is_missing(evaluate, caplog):
    plain = annotation()
    del plain["segmentation"]
    scores = evaluate([plain], found())
    assert scores["bbox"]["AP"] == pytest.approx(100) and "segm" not in scores
    assert "objects without an outline: masks are not scored" in caplog.text
