from types import SimpleNamespace

from mhkd.comparison.statistics import average_precision, bootstrap, interval, match, verdict

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster


def truth(images, annotations, categories=(1,)):
    """A COCO file's content; annotations are (image_id, category_id, box, iscrowd)."""
    return {
        "images": [{"id": i, "width": 200, "height": 200} for i in images],
        "categories": [{"id": c, "name": str(c)} for c in categories],
        "annotations": [
            {"id": k, "image_id": i, "category_id": c, "bbox": list(box), "area": box[2] * box[3],
             "iscrowd": crowd}
            for k, (i, c, box, crowd) in enumerate(annotations, 1)
        ],
    }  # fmt: skip


def detection(image_id, box, score, category_id=1):
    return {"image_id": image_id, "category_id": category_id, "bbox": list(box), "score": score}


def reference(ground_truth, detections):
    """What the project's evaluator uses."""
    coco = COCO(ground_truth)
    evaluation = COCOeval_faster(coco, coco.loadRes([dict(d) for d in detections]), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, -1]
    return {
        "AP": 100 * precision[precision > -1].mean(),
        "AP50": 100 * precision[0][precision[0] > -1].mean(),
        "AP75": 100 * precision[5][precision[5] > -1].mean(),
    }


@pytest.fixture(scope="module")
def drawn():
    """Twelve images of two classes with crowds, and detections of every quality."""
    rng = np.random.default_rng(0)
    annotations, detections = [], []
    for image in range(1, 13):
        for _ in range(rng.integers(0, 7)):
            x, y, w, h = (*rng.uniform(0, 150, 2), *rng.uniform(15, 50, 2))
            c = int(rng.integers(1, 3))
            annotations.append((image, c, (x, y, w, h), int(rng.random() < 0.1)))
            for _ in range(rng.integers(0, 3)):
                box = np.array((x, y, w, h)) + rng.normal(0, 4, 4)
                detections.append(detection(image, box.tolist(), float(rng.random()), c))
        for _ in range(3):
            box = (*rng.uniform(0, 150, 2), *rng.uniform(15, 50, 2))
            detections.append(detection(image, box, float(rng.random()), int(rng.integers(1, 3))))
    return SimpleNamespace(annotations=annotations, detections=detections, images=list(range(1, 13)))


def test_ap_by_hand():
    boxes = [(10, 10, 20, 20), (100, 100, 20, 20)]
    ground_truth = truth([1], [(1, 1, b, 0) for b in boxes])
    half = match(ground_truth, [detection(1, boxes[0], 0.9)])
    # One of two found, nothing false: precision 1 at the 51 recalls from 0 to 0.5.
    expected = 100 * 51 / 101
    found = average_precision(half, np.array([1]))
    assert found == pytest.approx({"AP": expected, "AP50": expected, "AP75": expected})
    shifted = match(ground_truth, [detection(1, (12, 10, 20, 20), 0.9)])  # IoU 18 / 22 = 0.82
    assert average_precision(shifted, np.array([1]))["AP"] == pytest.approx(expected * 7 / 10)
    nothing = match(ground_truth, [])
    assert average_precision(nothing, np.array([1]))["AP"] == 0
    assert np.isnan(average_precision(match(truth([1], []), []), np.array([1]))["AP"])


def test_as_many_detections_count_as_the_row_may_find():
    boxes = [(15 * (k % 12), 15 * (k // 12), 10, 10) for k in range(144)]
    ground_truth = truth([1], [(1, 1, b, 0) for b in boxes])
    found = [detection(1, b, 1 - k / 1000) for k, b in enumerate(boxes)]
    for limit, recalls in ((36, 26), (100, 70), (144, 101), (300, 101), (-1, 101)):
        ap = average_precision(match(ground_truth, found, limit), np.array([1]))["AP"]
        assert ap == pytest.approx(100 * recalls / 101)


def test_ap_equals_coco_on_all_images(drawn):
    ground_truth = truth(drawn.images, drawn.annotations, (1, 2))
    mine = average_precision(match(ground_truth, drawn.detections), np.ones(12, int))
    assert mine == pytest.approx(reference(ground_truth, drawn.detections), abs=1e-9)


def test_an_image_drawn_several_times_equals_copies_of_it(drawn):
    times = np.array([0, 3, 1, 0, 2, 1, 1, 0, 2, 1, 0, 1])
    matches = match(truth(drawn.images, drawn.annotations, (1, 2)), drawn.detections)
    annotations, detections, images = [], [], []
    for image, n in zip(drawn.images, times):
        for copy in range(n):
            new = image + 100 * copy
            images.append(new)
            annotations += [(new, *a[1:]) for a in drawn.annotations if a[0] == image]
            detections += [d | {"image_id": new} for d in drawn.detections if d["image_id"] == image]
    copied = truth(images, annotations, (1, 2))
    assert average_precision(matches, times) == pytest.approx(reference(copied, detections), abs=1e-9)


def test_rows_are_compared_on_the_same_images(drawn):
    ground_truth = truth(drawn.images, drawn.annotations, (1, 2))
    perfect = [detection(i, box, 1.0, c) for i, c, box, crowd in drawn.annotations if not crowd]
    rows = {
        "a": [match(ground_truth, drawn.detections)],
        "again": [match(ground_truth, drawn.detections)] * 2,  # as of two seeds that agree
        "perfect": [match(ground_truth, perfect)],
    }
    samples = bootstrap(rows, 12, samples=50)
    assert np.array_equal(samples["a"], samples["again"])  # the images were the same
    assert samples["a"].std() > 0
    np.testing.assert_allclose(samples["perfect"], 100)
    assert verdict(interval(samples["a"] - samples["again"])) == "undecided"
    assert verdict(interval(samples["perfect"] - samples["a"])) == "higher"
    assert verdict(interval(samples["a"] - samples["perfect"])) == "lower"


def test_an_interval_is_the_middle_95_percent():
    assert interval(np.array([*range(1001), np.nan])) == pytest.approx((25.0, 975.0))
    assert verdict((-0.1, 5.0)) == verdict((0.0, 1.0)) == "undecided"
