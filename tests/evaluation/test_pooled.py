from types import SimpleNamespace

from mhkd.evaluation.bootstrap import bootstrap_ap, groups_of, interval, verdict
from mhkd.evaluation.box_scores import box_scores
from mhkd.evaluation.pooled import average_precision, pooled_of_coco

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
    half = pooled_of_coco(ground_truth, [detection(1, boxes[0], 0.9)])
    # One of two found, nothing false: precision 1 at the 51 recalls from 0 to 0.5.
    expected = 100 * 51 / 101
    found = average_precision(half, np.array([1]))
    assert found == pytest.approx({"AP": expected, "AP50": expected, "AP75": expected})
    shifted = pooled_of_coco(ground_truth, [detection(1, (12, 10, 20, 20), 0.9)])  # IoU 18 / 22 = 0.82
    assert average_precision(shifted, np.array([1]))["AP"] == pytest.approx(expected * 7 / 10)
    nothing = pooled_of_coco(ground_truth, [])
    assert average_precision(nothing, np.array([1]))["AP"] == 0
    assert np.isnan(average_precision(pooled_of_coco(truth([1], []), []), np.array([1]))["AP"])


def test_as_many_detections_count_as_the_row_may_find():
    boxes = [(15 * (k % 12), 15 * (k // 12), 10, 10) for k in range(144)]
    ground_truth = truth([1], [(1, 1, b, 0) for b in boxes])
    found = [detection(1, b, 1 - k / 1000) for k, b in enumerate(boxes)]
    for limit, recalls in ((36, 26), (100, 70), (144, 101), (300, 101), (-1, 101)):
        ap = average_precision(pooled_of_coco(ground_truth, found, limit), np.array([1]))["AP"]
        assert ap == pytest.approx(100 * recalls / 101)


def test_ap_equals_coco_on_all_images(drawn):
    ground_truth = truth(drawn.images, drawn.annotations, (1, 2))
    mine = average_precision(pooled_of_coco(ground_truth, drawn.detections), np.ones(12, int))
    assert mine == pytest.approx(reference(ground_truth, drawn.detections), abs=1e-9)


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_equal_scores_count_in_cocos_order(drawn, limit):
    """By the images' ids, whatever their order in the file."""
    images = [5, 11, 1, 12, 2, 8, 3, 10, 4, 9, 6, 7]
    ground_truth = truth(images, drawn.annotations, (2, 1))
    detections = [d | {"score": round(d["score"], 1)} for d in drawn.detections]
    coco = box_scores(ground_truth, [dict(d) for d in detections], limit)
    mine = average_precision(pooled_of_coco(ground_truth, detections, limit), np.ones(12, int))
    assert mine == pytest.approx({k: coco[k] for k in mine}, abs=1e-9)


def test_an_image_drawn_several_times_equals_copies_of_it(drawn):
    times = np.array([0, 3, 1, 0, 2, 1, 1, 0, 2, 1, 0, 1])
    matches = pooled_of_coco(truth(drawn.images, drawn.annotations, (1, 2)), drawn.detections)
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
        "a": [pooled_of_coco(ground_truth, drawn.detections)],
        "again": [pooled_of_coco(ground_truth, drawn.detections)] * 2,  # as of two seeds that agree
        "perfect": [pooled_of_coco(ground_truth, perfect)],
    }
    samples = bootstrap_ap(rows, [str(i) for i in drawn.images], 50)
    assert np.array_equal(samples["a"], samples["again"])  # the images were the same
    assert samples["a"].std() > 0
    np.testing.assert_allclose(samples["perfect"], 100)
    assert verdict(interval(samples["a"] - samples["again"])) == "undecided"
    assert verdict(interval(samples["perfect"] - samples["a"])) == "higher"
    assert verdict(interval(samples["a"] - samples["perfect"])) == "lower"


def test_what_is_drawn_together_is_the_patient_else_the_slide_else_the_image():
    known = ((0, "a", "x"), (1, "a", "y"), (2, "b", "z"))
    entries = [{"image_id": k, "patient": patient, "slide": slide} for k, patient, slide in known]
    by_patient = groups_of(entries)
    assert len(by_patient) == 2 and by_patient.of[0] == by_patient.of[1] != by_patient.of[2]
    assert (by_patient.unit, by_patient.by) == ("patients", "patient")
    by_slide = groups_of({k: e[k] for k in ("image_id", "slide")} for e in entries * 2)
    assert len(by_slide) == 3 and by_slide.unit == "slides"
    by_image = groups_of({"image_id": e["image_id"], "slide": ""} for e in entries)
    assert len(by_image) == 3 and by_image.by == "image"
    some = groups_of([entries[0], {"image_id": 7, "slide": "a"}, {"image_id": 8, "slide": "a"}])
    assert len(some) == 2 and (some.unit, some.by) == ("patients or slides", "patient or slide")


def test_how_far_to_trust_an_interval_is_counted():
    groups = {n: groups_of({"image_id": k, "slide": str(k)} for k in range(n)) for n in (1, 2, 3, 9, 10)}
    assert groups[1].remark() == "without intervals: they need two slides or more"
    assert groups[2].remark() == "2 slides are few: an interval from so few means little"
    assert groups[3].remark() == "3 slides are few: the true intervals are wider"
    assert groups[9].remark() == "9 slides are few: the true intervals are wider"
    assert groups[10].remark() is None


def test_images_of_a_group_are_drawn_together():
    """One of two images of each slide is found: by slide no sample differs, by image they do."""
    box = (10, 10, 20, 20)
    ground_truth = truth([1, 2, 3, 4], [(i, 1, box, 0) for i in (1, 2, 3, 4)])
    rows = {"half": [pooled_of_coco(ground_truth, [detection(i, box, 0.9) for i in (1, 3)])]}
    expected = 100 * 51 / 101
    by_slide = bootstrap_ap(rows, ["x", "x", "y", "y"], 50)["half"]
    np.testing.assert_allclose(by_slide, expected)
    by_image = bootstrap_ap(rows, ["1", "2", "3", "4"], 50)["half"]
    assert by_image.min() < expected < by_image.max()
    # Of one group there is but one sample, which says nothing.
    alone = interval(bootstrap_ap(rows, ["x"] * 4, 50)["half"])
    assert alone is None and verdict(alone) == "undecided"


def test_an_interval_is_the_middle_95_percent():
    assert interval(np.array([*range(1001), np.nan])) == pytest.approx((25.0, 975.0))
    assert verdict((-0.1, 5.0)) == verdict((0.0, 1.0)) == "undecided"
