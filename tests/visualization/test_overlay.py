from pathlib import Path

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.evaluation.matching import match_detections
from mhkd.visualization.overlay import draw_overlay, draw_pair, write_overlays

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, BoxMode, Instances
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

RED, YELLOW, BLUE, LIGHT_BLUE = (255, 42, 26), (255, 213, 0), (31, 95, 255), (0, 200, 255)


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
        hit, missed = match_detections(
            boxes, scores, classes, gt_boxes, gt_classes, gt_crowd=gt_crowd
        )

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
            is_hit = (result["dtMatches"][0] > 0) & ~result["dtIgnore"][0].astype(bool)
            expected_hit[np.array(result["dtIds"], int) - 1] = is_hit
            is_missed = (result["gtMatches"][0] == 0) & ~np.array(result["gtIgnore"], bool)
            expected_missed[np.array(result["gtIds"], int) - 1] = is_missed
        assert hit.tolist() == expected_hit.tolist()
        assert missed.tolist() == expected_missed.tolist()
        total_hits += hit.sum()
    assert total_hits > 50


def found(boxes, scores, classes=None, size=(256, 256)):
    result = Instances(size)
    result.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    result.scores = torch.tensor(scores, dtype=torch.float32)
    result.pred_classes = torch.tensor(classes or [0] * len(scores), dtype=torch.int64)
    return result


def annotated(*boxes_xyxy, **more):
    return [
        {"bbox": list(box), "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0, **more}
        for box in boxes_xyxy
    ]


def is_near(image, x, y, color):
    """The colour occurs within a line's width of the point."""
    patch = image[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).astype(int)
    return bool((np.abs(patch - color).max(axis=1) < 20).any())


def has_color(image, color):
    return bool((np.abs(image.astype(int) - color).max(axis=-1) < 3).any())


HIT, FALSE, MISSED = (40, 40, 80, 80), (120, 40, 160, 80), (40, 140, 80, 180)


def test_overlay_colours_and_enlargement():
    image = np.full((256, 256, 3), 128, np.uint8)
    picture = draw_overlay(
        image, found([HIT, FALSE], [0.9, 0.8]), annotated(HIT, MISSED), ["glomerulus"]
    )
    assert picture.shape == (768, 768, 3) and picture.dtype == np.uint8  # 3 x
    for box, color in ((HIT, BLUE), (FALSE, RED), (MISSED, YELLOW)):
        right_edge = (3 * box[2], 3 * (box[1] + box[3]) // 2)
        assert is_near(picture, *right_edge, color)
    assert tuple(picture[3 * 60, 3 * 60]) == (128, 128, 128)  # nothing drawn on the tissue


def test_another_class_has_a_colour_of_its_own_on_both_sides():
    """Scores count it twice; a picture shows that it is one glomerulus."""
    image = np.full((256, 256, 3), 128, np.uint8)
    names = ["normal", "sclerotic"]
    picture = draw_overlay(image, found([HIT, FALSE], [0.9, 0.8], [1, 0]), annotated(HIT, MISSED), names)
    for box, color in ((HIT, LIGHT_BLUE), (FALSE, RED), (MISSED, YELLOW)):
        assert is_near(picture, 3 * box[2], 3 * (box[1] + box[3]) // 2, color)
    pair = draw_pair(image, image[::4, ::4], found([HIT], [0.9], [1]), annotated(HIT), names)
    assert not has_color(pair[60:], BLUE) and not has_color(pair[60:], YELLOW)
    assert all(has_color(half, LIGHT_BLUE) for half in (pair[60:, :768], pair[60:, -768:]))


def test_overlay_leaves_out_low_scores():
    image = np.full((256, 256, 3), 128, np.uint8)
    picture = draw_overlay(image, found([HIT], [0.4]), annotated(HIT), ["glomerulus"], 0.5)
    assert has_color(picture, YELLOW)
    assert not has_color(picture, BLUE)
    picture = draw_overlay(image, found([HIT], [0.4]), annotated(HIT), ["glomerulus"], 0.3)
    assert has_color(picture, BLUE)
    assert not has_color(picture, YELLOW)


def test_overlay_of_nothing_is_the_image():
    image = np.random.default_rng(0).integers(0, 255, (800, 900, 3), dtype=np.uint8)
    assert np.array_equal(draw_overlay(image, found([], []), [], ["glomerulus"]), image)


def test_crowd_is_not_drawn_as_missed_or_false():
    image = np.full((256, 256, 3), 128, np.uint8)
    crowd = annotated((20, 20, 200, 200), iscrowd=1)
    picture = draw_overlay(image, found([HIT], [0.9]), crowd, ["glomerulus"])
    assert not any(has_color(picture, color) for color in (RED, YELLOW, BLUE))


def test_pair_has_hr_left_and_lr_right_with_the_same_colours():
    hr = np.full((256, 256, 3), 200, np.uint8)
    lr = np.full((64, 64, 3), 100, np.uint8)
    shifted = (44, 40, 84, 80)  # IoU 36/44 with the annotated box
    picture = draw_pair(
        hr, lr, found([shifted, FALSE], [0.9, 0.8]), annotated(HIT, MISSED), ["glomerulus"]
    )
    strip = picture.shape[0] - 768 - 8
    assert 30 < strip < 100
    left, right = picture[strip:-8, :768], picture[strip:-8, -768:]
    assert tuple(left[600, 600]) == (200, 200, 200)
    assert tuple(right[600, 600]) == (100, 100, 100)
    for panel in (left, right):
        assert is_near(panel, 3 * FALSE[2], 180, RED)
        assert is_near(panel, 3 * MISSED[2], 480, YELLOW)
    assert is_near(left, 3 * HIT[2], 180, BLUE)  # the annotated box
    assert is_near(right, 3 * shifted[2], 180, BLUE)  # the detected one
    assert not is_near(right, 3 * HIT[2], 180, BLUE)


def test_pair_of_a_narrow_image_has_room_for_its_text():
    hr = np.zeros((400, 40, 3), np.uint8)
    picture = draw_pair(hr, hr[::4, ::4], found([], []), [], ["glomerulus"], title="a")
    assert picture.shape[1] > 300  # two panels of 77 px


def dataset(tmp_path, sizes=((100, 130),) * 6, annotated_images=(1, 2, 4)):
    entries = []
    for k, (height, width) in enumerate(sizes):
        path = tmp_path / f"region.{k}.png"
        Image.fromarray(np.full((height, width, 3), 40 * k, np.uint8)).save(path)
        entries.append(
            {
                "file_name": str(path),
                "image_id": 10 + k,
                "height": height,
                "width": width,
                "annotations": annotated((10, 10, 40, 40)) if k in annotated_images else [],
            }
        )
    return entries


def read_view(entry, view, lr_factor, lr_filter):
    image = np.asarray(Image.open(entry["file_name"]))
    h, w = (n // lr_factor for n in image.shape[:2])
    image = image[: h * lr_factor, : w * lr_factor]
    return image if view == "hr" else cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)


def detects(entry):
    return found([(10, 10, 40, 40)], [0.9])


def test_write_overlays(tmp_path):
    entries = dataset(tmp_path)
    out_dir = tmp_path / "new" / "overlays"
    paths = write_overlays(detects, entries, ["glomerulus"], out_dir, read_view, 4)
    assert [p.name for p in paths] == [f"region.{k}_{10 + k}.png" for k in range(6)]
    assert sorted(out_dir.iterdir()) == sorted(paths)  # and nothing half written
    pictures = [np.asarray(Image.open(p)) for p in paths]
    annotated_ones = [has_color(p[60:], BLUE) for p in pictures]  # below the legend
    assert annotated_ones == [k in (1, 2, 4) for k in range(6)]
    assert tuple(pictures[5][600, 700]) == (200, 200, 200)


@pytest.mark.parametrize(
    "limit,expected",
    [(1, [11]), (2, [11, 12]), (3, [11, 12, 14]), (4, [10, 11, 12, 14]), (99, [*range(10, 16)])],
)
def test_limit_prefers_annotated_images(tmp_path, limit, expected):
    paths = write_overlays(
        detects, dataset(tmp_path), ["glomerulus"], tmp_path / "o", read_view, 4, limit=limit
    )
    assert [int(Path(p).stem.split("_")[-1]) for p in paths] == expected


def test_limit_spreads_over_the_dataset(tmp_path):
    entries = dataset(tmp_path, annotated_images=range(6))
    paths = write_overlays(
        detects, entries, ["glomerulus"], tmp_path / "o", read_view, 4, limit=3
    )
    assert [p.stem for p in paths] == ["region.0_10", "region.2_12", "region.4_14"]
