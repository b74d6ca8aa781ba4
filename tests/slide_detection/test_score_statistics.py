"""What `mhkd score` counts, without files."""

from mhkd.evaluation.bootstrap import group_samples, interval
from mhkd.evaluation.box_scores import box_scores
from mhkd.evaluation.pooled import Pooled, sensitivity_at
from mhkd.slide_detection.scores.scored_slide import coco_of

import numpy as np
import pytest
from slides_by_hand import at, scored


def two_slides():
    """Of one class: 4 objects, hits at 0.9 and 0.7, a false positive at 0.8 and another at 0.3."""
    first = scored(
        found=[(at(0), 0.9, 0), (at(5000), 0.8, 0)], there=[(at(0), 0), (at(1000), 0)], class_names=("g",)
    )
    second = scored(
        found=[(at(0), 0.7, 0), (at(5000), 0.3, 0)], there=[(at(0), 0), (at(1000), 0)], class_names=("g",)
    )
    return [first, second]


def test_average_precision_by_hand():
    # Precision 1 up to a recall of 1/4 (26 of the 101 recalls), 2/3 up to 1/2 (25 more), then 0.
    pooled = Pooled(two_slides())
    assert pooled.average_precision(np.ones(2)) == pytest.approx(100 * (26 + 25 * 2 / 3) / 101)
    assert pooled.average_recall(np.ones(2)) == pytest.approx(50)
    # The second slide twice: 1/6, 3/6; precision 1 up to 1/6 (17 recalls), then 3/4 up to 1/2 (34).
    weights = np.array([1.0, 2.0])
    assert pooled.average_precision(weights) == pytest.approx(100 * (17 + 34 * 3 / 4) / 101)


def test_froc_by_hand():
    curve = Pooled(two_slides()).froc(np.ones(2))
    assert curve[0].tolist() == pytest.approx([0.9, 0.8, 0.7, 0.3])
    assert curve[1].tolist() == [0, 0.5, 0.5, 1]
    assert curve[2].tolist() == [25, 25, 50, 50]
    for rate, sensitivity, score in ((0.25, 25, 0.9), (0.5, 50, 0.7), (0.99, 50, 0.7), (8, 50, 0.3)):
        assert sensitivity_at(curve, rate) == pytest.approx((sensitivity, score))
    # Two with the same score come together: there is no threshold between them.
    tied = Pooled([scored(found=[(at(0), 0.9, 0), (at(5000), 0.9, 0)], there=[(at(0), 0)])])
    assert tied.froc(np.ones(1))[1].tolist() == [1]
    assert sensitivity_at(tied.froc(np.ones(1)), 0.5) == (0.0, None)


def test_counts_by_hand():
    hits, false = Pooled(two_slides()).counts(0.5)
    assert hits.tolist() == [1, 1] and false.tolist() == [1, 0]
    hits, false = Pooled(two_slides()).counts(0.3)  # of a float32 score
    assert hits.tolist() == [1, 1] and false.tolist() == [1, 1]


def test_what_lies_in_a_region_to_be_ignored_is_neither_right_nor_wrong():
    one = scored(found=[(at(0), 0.9, 0), (at(2000), 0.8, 0)], there=[(at(0), 0)], ignored=[at(1900, 0, 400)])
    pooled = Pooled([one], 0)
    assert pooled.annotated.tolist() == [1]
    assert [c.tolist() for c in pooled.counts(0)] == [[1], [0]]
    assert pooled.average_precision(np.ones(1)) == pytest.approx(100)


def test_without_detections_or_objects():
    nothing = Pooled([scored(there=[(at(0), 0)])], 0)
    assert nothing.average_precision(np.ones(1)).tolist() == [0] * 10
    assert nothing.average_recall(np.ones(1)).tolist() == [0] * 10
    assert sensitivity_at(nothing.froc(np.ones(1)), 1) == (0.0, None)
    assert np.isnan(Pooled([scored(found=[(at(0), 0.9, 0)])], 0).average_precision(np.ones(1))).all()


def random_slides(seed, n=5):
    rng = np.random.default_rng(seed)
    slides = []
    for _ in range(n):
        corners = rng.permutation(20)[: rng.integers(3, 12)] * 300
        there = [(at(x), int(rng.integers(2))) for x in corners]
        found = [
            ([v + e for v, e in zip(b, rng.normal(0, 6, 4))], float(rng.random()), int(rng.integers(2)))
            for b, _ in there + [(at(x), 0) for x in rng.integers(6000, 9000, 4)]
        ]
        slides.append(scored(found, there))
    return slides


@pytest.mark.parametrize("seed", range(4))
def test_pooled_scores_are_cocos(seed):
    slides = random_slides(seed)
    coco = box_scores(*coco_of(slides), max_dets=100)
    ones = np.ones(len(slides))
    ap = np.array([Pooled(slides, c).average_precision(ones) for c in (0, 1)])
    assert ap.mean() == pytest.approx(coco["AP"], abs=1e-6)
    assert ap[:, 0].mean() == pytest.approx(coco["AP50"], abs=1e-6)
    assert ap[:, 5].mean() == pytest.approx(coco["AP75"], abs=1e-6)
    assert ap.mean(axis=1) == pytest.approx([coco["AP-normal"], coco["AP-sclerotic"]], abs=1e-6)
    ar = [Pooled(slides, c).average_recall(ones).mean() for c in (0, 1)]
    assert np.mean(ar) == pytest.approx(coco["AR"], abs=1e-6)


def test_a_slide_of_weight_two_is_two_slides():
    slides = random_slides(7, 3)
    doubled = Pooled([slides[0], slides[0], slides[1]])
    weighted = Pooled(slides)
    weights = np.array([2.0, 1.0, 0.0])
    assert doubled.average_precision(np.ones(3)) == pytest.approx(weighted.average_precision(weights))
    for rate in (0.5, 1, 4):
        expected = sensitivity_at(doubled.froc(np.ones(3)), rate)[0]
        assert sensitivity_at(weighted.froc(weights), rate)[0] == pytest.approx(expected)


def test_samples_keep_patients_together_and_have_as_many():
    samples = group_samples(["a", "b", "a", "c"], 200, seed=1)
    assert samples.shape == (200, 4)
    assert (samples[:, 0] == samples[:, 2]).all()
    assert (samples[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert (samples == group_samples(["a", "b", "a", "c"], 200, seed=1)).all()
    assert samples.mean(axis=0) == pytest.approx([1] * 4, abs=0.25)


def test_interval_is_of_percentiles():
    assert interval(np.arange(1001) / 10) == pytest.approx((2.5, 97.5))
    assert interval([np.nan, 3, 3]) == (3, 3)
    assert interval([np.nan]) is None
