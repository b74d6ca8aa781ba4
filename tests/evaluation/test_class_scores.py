"""Scores of a classifier: by hand, by counting pairs, and whatever is drawn."""

import itertools
import math

import mhkd  # noqa: F401
from mhkd.evaluation.bootstrap import group_samples, interval, sample_blocks
from mhkd.evaluation.class_scores import bootstrap_class_scores, class_scores, confusion, weighted_scores
from mhkd.evaluation.predictions import Predictions, vote

import numpy as np
import pytest

ABC = ("a", "b", "c")


def sure(predicted, labels, names=ABC, patients=None, **kwargs):
    """Predictions of probability 1."""
    entries = [{"file_name": f"{k}.png", "image_id": k} for k in range(len(labels))]
    for entry, patient in zip(entries, patients or ()):
        entry["patient"] = patient
    return Predictions(np.eye(len(names))[list(predicted)], np.array(labels), names, entries, **kwargs)


def random(n=40, classes=3, patients=12, seed=0, ordered=False):
    rng = np.random.default_rng(seed)
    probabilities = np.round(rng.dirichlet(np.ones(classes), n), 1)  # with many ties
    labels, of = rng.integers(0, classes, n), rng.integers(0, patients, n)
    entries = [{"file_name": f"{k}.png", "image_id": k, "patient": f"p{p}"} for k, p in enumerate(of)]
    return Predictions(probabilities, labels, ABC[:classes], entries, ordered)


def test_scores_of_six_images():
    """a: 2 of 3 found, 1 false; b: 1 of 2 found, 1 false; c: 1 of 1 found, none false."""
    found = class_scores(sure([0, 0, 1, 1, 0, 2], [0, 0, 0, 1, 1, 2]))
    assert found["accuracy"] == pytest.approx(100 * 4 / 6)
    # One against the rest: of a 4 of 6 are right, of b 4, of c 6.
    assert found["accuracy_ovr"] == pytest.approx(100 * (4 + 4 + 6) / 18)
    assert found["recall-a"] == pytest.approx(100 * 2 / 3)
    assert found["precision-a"] == pytest.approx(100 * 2 / 3)
    assert found["f1-b"] == pytest.approx(50)
    assert found["macro_recall"] == found["balanced_accuracy"] == pytest.approx(100 * (2 / 3 + 1 / 2 + 1) / 3)
    assert found["macro_precision"] == pytest.approx(100 * (2 / 3 + 1 / 2 + 1) / 3)
    assert found["macro_f1"] == pytest.approx(100 * (2 / 3 + 1 / 2 + 1) / 3)
    assert "kappa" not in found


def test_accuracy_of_one_against_the_rest_is_what_the_confusion_matrix_says():
    predictions = random()
    matrix = confusion(predictions)
    right = [matrix[c, c] + np.delete(np.delete(matrix, c, 0), c, 1).sum() for c in range(3)]
    assert class_scores(predictions)["accuracy_ovr"] == pytest.approx(100 * np.mean(right) / len(predictions))


def test_auroc_counts_pairs():
    predictions = random()
    by_class = []
    for c, p in enumerate(predictions.probabilities.T):
        there = predictions.labels == c
        pairs = itertools.product(p[there], p[~there])
        by_class.append(np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs]))
    assert class_scores(predictions)["auroc"] == pytest.approx(100 * np.mean(by_class))


def test_kappa_of_grades():
    """Observed: one image off by one, penalty 1. Expected by chance, of rows 2, 1, 1 and columns 2, 2, 0:
    (2*2*1 + 1*2*1 + 1*2*4 + 1*2*1) / 4 images = 4."""
    predictions = sure([0, 0, 1, 1], [0, 0, 1, 2], ordered=True)
    assert confusion(predictions).tolist() == [[2, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert class_scores(predictions)["kappa"] == pytest.approx(100 * (1 - 1 / 4))
    perfect = sure([0, 1, 2], [0, 1, 2], ordered=True)
    assert class_scores(perfect)["kappa"] == pytest.approx(100)
    reversed_ = sure([2, 0], [0, 2], ordered=True)
    assert class_scores(reversed_)["kappa"] == pytest.approx(-100)


def test_a_class_without_images_has_no_scores_and_no_part_in_means():
    found = class_scores(sure([0, 0, 1, 2], [0, 0, 1, 1]))
    assert math.isnan(found["recall-c"]) and math.isnan(found["precision-c"]) and math.isnan(found["f1-c"])
    assert found["balanced_accuracy"] == pytest.approx(75)
    assert found["macro_precision"] == pytest.approx(100)
    assert not math.isnan(found["auroc"])


def test_one_class_that_is_always_predicted():
    found = class_scores(sure([0, 0, 0, 0], [0, 0, 1, 2], ordered=True))
    assert found["balanced_accuracy"] == pytest.approx(100 / 3)
    assert found["precision-b"] == found["f1-b"] == 0
    assert found["auroc"] == pytest.approx(50)
    assert found["kappa"] == pytest.approx(0)


def test_one_class_that_is_all_there_is():
    found = class_scores(sure([0, 0], [0, 0], ordered=True))
    assert found["accuracy"] == found["balanced_accuracy"] == 100
    assert math.isnan(found["auroc"]) and math.isnan(found["kappa"])


def test_weights_are_as_good_as_copies():
    predictions = random(ordered=True)
    weights = np.random.default_rng(1).integers(0, 4, (5, len(predictions)))
    weighted = weighted_scores(predictions, weights)
    for k, w in enumerate(weights):
        index = np.repeat(np.arange(len(w)), w)
        copies = Predictions(
            predictions.probabilities[index],
            predictions.labels[index],
            ABC,
            [predictions.entries[i] for i in index],
            True,
        )
        expected = class_scores(copies)
        assert weighted.keys() == expected.keys()
        for name, value in expected.items():
            assert weighted[name][k] == pytest.approx(value, nan_ok=True), name


def test_bootstrap_draws_patients_whole():
    """Two patients, one all right, one all wrong: a sample has only 0, 50 or 100 percent."""
    predictions = sure([0, 0, 1, 1], [0, 0, 0, 0], patients=["p", "p", "q", "q"])
    drawn = bootstrap_class_scores(predictions, predictions.groups.of, 400)["accuracy"]
    assert set(drawn) == {0.0, 50.0, 100.0}
    assert interval(drawn) == (0.0, 100.0)


def test_differences_of_two_methods_are_paired():
    """The second method is right wherever the first is, and on one patient more: it is never worse."""
    labels, patients = [0, 1, 2] * 4, [f"p{k // 3}" for k in range(12)]
    first = sure([0, 1, 2] * 2 + [1, 2, 0] * 2, labels, patients=patients)
    second = sure([0, 1, 2] * 3 + [1, 2, 0], labels, patients=patients)
    low, high = (bootstrap_class_scores(p, p.groups.of, 1000)["balanced_accuracy"] for p in (first, second))
    assert (high >= low).all() and (high > low).any()
    assert np.array_equal(low, bootstrap_class_scores(first, first.groups.of, 1000)["balanced_accuracy"])


def test_one_patient_gives_no_samples():
    predictions = sure([0, 1], [0, 1], patients=["p", "p"])
    drawn = bootstrap_class_scores(predictions, predictions.groups.of)
    assert set(drawn) == set(class_scores(predictions))
    assert all(len(v) == 0 and interval(v) is None for v in drawn.values())


def test_blocks_are_the_samples():
    groups = [f"p{k % 7}" for k in range(20)]
    blocks = list(sample_blocks(groups, 50, seed=3, block_numbers=60))
    assert [len(b) for b in blocks] == [3] * 16 + [2]
    rng = np.random.default_rng(3)
    names, of = np.unique(groups, return_inverse=True)
    assert np.array_equal(np.concatenate(blocks), rng.multinomial(7, np.full(7, 1 / 7), size=50)[:, of])
    assert np.array_equal(np.concatenate(blocks), group_samples(groups, 50, seed=3))


def test_a_vote_is_the_mean_of_a_patients_images():
    entries = [{"file_name": f"{k}", "image_id": k, "patient": p} for k, p in enumerate("ppqqr")]
    probabilities = [[0.4, 0.6], [0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]]
    voted = vote(Predictions(np.array(probabilities), np.array([0, 0, 0, 1, 1]), ("a", "b"), entries))
    # q has images of both classes.
    assert voted.probabilities.tolist() == [[pytest.approx(0.65), pytest.approx(0.35)], [0.6, 0.4]]
    assert voted.labels.tolist() == [0, 1]
    assert class_scores(voted)["accuracy"] == 50


def test_no_vote_where_every_image_is_a_patient_or_none_has_a_class():
    assert vote(sure([0, 1], [0, 1])) is None
    assert vote(sure([0, 1], [0, 1], patients=["p", "p"])) is None


def test_folds_are_pooled():
    first, second = random(seed=1), random(seed=2)
    both = Predictions.concatenate([first, second])
    assert len(both) == 80 and both.labels.tolist() == [*first.labels, *second.labels]
    with pytest.raises(ValueError, match="classes"):
        Predictions.concatenate([first, random(classes=2)])


def test_predictions_that_cannot_be():
    with pytest.raises(ValueError, match="not finite"):
        Predictions([[np.nan, 1]], [0], ("a", "b"), [{}])
    with pytest.raises(ValueError, match="labels"):
        Predictions([[0, 1]], [2], ("a", "b"), [{}])
    with pytest.raises(ValueError, match="2 labels"):
        Predictions([[0, 1]], [0, 1], ("a", "b"), [{}])
