from mhkd.evaluation.matching import assign, judge, match_detections

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def match(detections, ground_truth, **kwargs):
    """detections: (box, score, class) each; ground_truth: (box, class) each."""
    boxes, scores, classes = zip(*detections) if detections else ([], [], [])
    gt_boxes, gt_classes = zip(*ground_truth) if ground_truth else ([], [])
    hit, missed = match_detections(boxes, scores, classes, gt_boxes, gt_classes, **kwargs)
    assert hit.dtype == bool and missed.dtype == bool
    return hit.tolist(), missed.tolist()


def test_a_hit_a_false_positive_and_a_miss():
    hit, missed = match(
        [([0, 0, 10, 10], 0.9, 0), ([50, 50, 60, 60], 0.8, 0)],
        [([0, 0, 10, 10], 0), ([80, 80, 90, 90], 0)],
    )
    assert hit == [True, False]
    assert missed == [False, True]


def test_iou_threshold_is_inclusive():
    detections, ground_truth = [([0, 0, 10, 5], 0.9, 0)], [([0, 0, 10, 10], 0)]  # IoU 0.5
    assert match(detections, ground_truth) == ([True], [False])
    assert match(detections, ground_truth, iou_threshold=0.51) == ([False], [True])


def test_second_detection_of_the_same_glomerulus_is_false():
    box = [0, 0, 10, 10]
    hit, missed = match([(box, 0.5, 0), ([0, 0, 10, 9], 0.9, 0)], [(box, 0)])
    assert hit == [False, True]  # the higher score takes it, though it overlaps less
    assert missed == [False]


def test_best_overlap_is_taken():
    """The first detection could take either; it must leave the other one to the second."""
    hit, missed = match(
        [([0, 0, 10, 10], 0.9, 0), ([0, 0, 10, 7], 0.8, 0)],
        [([0, 0, 10, 7], 0), ([0, 0, 10, 10], 0)],
    )
    assert hit == [True, True]
    assert missed == [False, False]


def test_of_equal_overlaps_the_last_is_taken():
    """As COCO does: the second detection, on the left one alone, would find nothing otherwise."""
    right, left = ([2, 0, 12, 10], 0), ([0, 0, 10, 10], 0)
    detections = [([1, 0, 11, 10], 0.9, 0), ([0, 0, 9, 10], 0.8, 0)]
    assert match(detections, [left, right], iou_threshold=0.7) == ([True, True], [False, False])
    assert match(detections, [right, left], iou_threshold=0.7) == ([True, False], [True, False])


def test_wrong_class_is_false_and_missed():
    assert match([([0, 0, 10, 10], 0.9, 1)], [([0, 0, 10, 10], 0)]) == ([False], [True])


@pytest.mark.parametrize("num_detections,num_gt", [(0, 0), (0, 2), (2, 0)])
def test_empty(num_detections, num_gt):
    box = [0, 0, 10, 10]
    hit, missed = match([(box, 0.9, 0)] * num_detections, [(box, 0)] * num_gt)
    assert hit == [False] * num_detections
    assert missed == [True] * num_gt


def test_crowd_is_never_missed_nor_hit():
    hit, missed = match(
        [([10, 10, 20, 20], 0.9, 0), ([30, 30, 40, 40], 0.8, 0), ([200, 200, 210, 210], 0.7, 0)],
        [([0, 0, 100, 100], 0), ([200, 200, 210, 210], 0)],
        gt_crowd=[True, False],
    )
    assert hit == [False, False, True]
    assert missed == [False, False]


def test_agrees_with_cocoeval():
    rng = np.random.default_rng(0)
    total_hits = 0
    for _ in range(30):
        gt_xy = rng.uniform(0, 100, (rng.integers(1, 12), 2))
        gt_boxes = np.hstack([gt_xy, gt_xy + rng.uniform(20, 40, gt_xy.shape)])
        gt_classes = rng.integers(0, 2, len(gt_boxes))
        gt_crowd = rng.random(len(gt_boxes)) < 0.2
        source = rng.integers(0, len(gt_boxes), rng.integers(1, 20))
        boxes = gt_boxes[source] + rng.normal(0, 3, (len(source), 4))
        classes = np.where(rng.random(len(source)) < 0.8, gt_classes[source], 1)
        scores = rng.random(len(source)).round(1)
        hit, missed = match_detections(boxes, scores, classes, gt_boxes, gt_classes, gt_crowd=gt_crowd)
        assigned = assign(boxes, scores, classes, gt_boxes, gt_classes, gt_crowd)

        def to_coco(boxes, classes, **columns):
            return [
                {
                    "id": k + 1,
                    "image_id": 1,
                    "category_id": int(classes[k]),
                    "bbox": [*box[:2], *(box[2:] - box[:2])],
                    "area": float(np.prod(box[2:] - box[:2])),
                    **{name: values[k] for name, values in columns.items()},
                }
                for k, box in enumerate(boxes)
            ]

        coco = COCO()
        coco.dataset = {
            "images": [{"id": 1}],
            "categories": [{"id": 0}, {"id": 1}],
            "annotations": to_coco(gt_boxes, gt_classes, iscrowd=gt_crowd.astype(int)),
        }
        coco.createIndex()
        coco_eval = COCOeval(coco, coco.loadRes(to_coco(boxes, classes, score=scores)), "bbox")
        coco_eval.params.areaRng = [[0, 1e10]]
        coco_eval.evaluate()
        expected_hit = np.zeros(len(boxes), bool)
        expected_missed = np.zeros(len(gt_boxes), bool)
        for result in filter(None, coco_eval.evalImgs):
            # At every IoU threshold the same annotation, crowds included.
            taken = assigned[:, np.array(result["dtIds"], int) - 1] + 1
            assert np.array_equal(taken, np.asarray(result["dtMatches"]).reshape(taken.shape))
            is_hit = (result["dtMatches"][0] > 0) & ~result["dtIgnore"][0].astype(bool)
            expected_hit[np.array(result["dtIds"], int) - 1] = is_hit
            is_missed = (result["gtMatches"][0] == 0) & ~np.array(result["gtIgnore"], bool)
            expected_missed[np.array(result["gtIds"], int) - 1] = is_missed
        assert hit.tolist() == expected_hit.tolist()
        assert missed.tolist() == expected_missed.tolist()
        total_hits += hit.sum()
    assert total_hits > 50


def test_a_confusion_of_classes_is_told_from_a_false_positive_and_a_miss():
    """One right, one of another class, one where nothing is, one missed, one in a crowd region."""
    boxes = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [82, 2, 88, 8]]
    annotated = [[0, 0, 10, 10], [20, 0, 30, 10], [60, 0, 70, 10], [80, 0, 100, 10]]
    crowd = [False, False, False, True]
    found = judge(boxes, [0.9, 0.8, 0.7, 0.6], [0, 0, 1, 1], annotated, [0, 1, 1, 1], crowd)
    assert found.hit.tolist() == [True, False, False, False]
    assert found.false.tolist() == [False, False, True, False]
    assert found.confused_with.tolist() == [-1, 1, -1, -1]
    assert found.confused.tolist() == [False, True, False, False]
    assert found.missed.tolist() == [False, False, True, False]
