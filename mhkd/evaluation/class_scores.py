"""Scores of a classifier, of all images or of any weighting of them: a bootstrap sample is a weight for each.

Precision, recall and F1 are of one class against the rest, then averaged over the classes that have images
(DiPalma et al., section 4.4). So is their accuracy: a wrong image is wrong for two classes and right for all
others, so ``accuracy_ovr`` is far above ``accuracy``, the share of images whose class is right; only the
former compares with their figures. The mean recall is the balanced accuracy.
"""

from collections.abc import Sequence

import numpy as np

from .bootstrap import sample_blocks
from .predictions import Predictions

SCORES = (
    "accuracy", "balanced_accuracy", "auroc", "accuracy_ovr", "macro_f1", "macro_precision", "macro_recall",
)  # fmt: skip
KAPPA = "kappa"  # of ordered classes, beside these


def class_scores(predictions: Predictions) -> dict[str, float]:
    """All scores in percent, nan where one does not exist.

    Returns:
        ``accuracy``; ``balanced_accuracy``; ``auroc``, the mean over classes, each against the rest;
        ``accuracy_ovr``, ``macro_f1``, ``macro_precision``, ``macro_recall``, see above; ``kappa``, Cohen's
        with quadratic weights, of ordered classes; ``f1-<class>``, ``precision-<class>``, ``recall-<class>``.
        A class without images has none of these, and no part in a mean. The precision of a class that is
        never predicted is 0.
    """
    of_one = weighted_scores(predictions, np.ones((1, len(predictions))))
    return {name: float(values[0]) for name, values in of_one.items()}


def bootstrap_class_scores(
    predictions: Predictions, groups: Sequence[str], num_samples: int = 10_000, seed: int = 0
) -> dict[str, np.ndarray]:
    """:func:`class_scores` of resampled images, shape (num_samples,) each.

    The same groups, number and seed give the same samples, so that what two methods have is paired: the
    interval of their difference is that of the difference of these.

    Args:
        groups: what is drawn together, of each image; one group alone gives no samples, as all would be the
            same.
        num_samples: samples; DiPalma et al. take 10,000.
        seed: of the samples.
    """
    wanted = num_samples if len(set(groups)) > 1 else 0
    blocks = [weighted_scores(predictions, w) for w in sample_blocks(groups, wanted, seed)]
    names = blocks[0] if blocks else class_scores(predictions)
    return {name: np.concatenate([b[name] for b in blocks]) if blocks else np.empty(0) for name in names}


def confusion(predictions: Predictions, weights: np.ndarray | None = None) -> np.ndarray:
    """How many images of each class (rows) are taken for each class (columns).

    Args:
        weights: shape (S, N), of the N images in each of S samples.

    Returns:
        Shape (C, C) without weights, else float64 of shape (S, C, C).
    """
    count = len(predictions.class_names)
    cell = predictions.labels * count + predictions.predicted
    if weights is None:
        return np.bincount(cell, minlength=count**2).reshape(count, count)
    cells = np.zeros((len(cell), count**2))
    cells[np.arange(len(cell)), cell] = 1
    return (weights @ cells).reshape(-1, count, count)


def weighted_scores(predictions: Predictions, weights: np.ndarray) -> dict[str, np.ndarray]:
    """:func:`class_scores` of each of S samples, shape (S,) each.

    Args:
        weights: how often each of the N images is in each sample, shape (S, N).
    """
    matrix = confusion(predictions, weights)
    right = np.diagonal(matrix, axis1=1, axis2=2)
    there, predicted = matrix.sum(2), matrix.sum(1)  # (S, C)
    recall = _ratio(right, there)
    precision = np.where(there > 0, right / np.maximum(predicted, 1e-12), np.nan)
    f1 = np.where(there > 0, 2 * right / np.maximum(there + predicted, 1e-12), np.nan)
    accuracy = _ratio(right.sum(1), there.sum(1))
    count = len(predictions.class_names)
    # Of each wrong image two of the C one-against-rest answers are wrong.
    found = {
        "accuracy": accuracy,
        "balanced_accuracy": _mean(recall),
        "auroc": _mean(_auroc(predictions, weights)),
        "accuracy_ovr": 1 - (1 - accuracy) * 2 / count,
        "macro_f1": _mean(f1),
        "macro_precision": _mean(precision),
        "macro_recall": _mean(recall),
    }
    if predictions.ordered:
        found[KAPPA] = _kappa(matrix)
    for kind, by_class in (("f1", f1), ("precision", precision), ("recall", recall)):
        found |= {f"{kind}-{name}": by_class[:, c] for c, name in enumerate(predictions.class_names)}
    return {name: 100 * values for name, values in found.items()}


def _auroc(predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """Of each class against the rest, shape (S, C): how often an image of it has the higher probability.

    Equal ones count half. nan where all images are of the class, or none.
    """
    columns = []
    for c, probabilities in enumerate(predictions.probabilities.T):
        order = np.argsort(probabilities, kind="stable")
        ranked, w = probabilities[order], weights[:, order]
        positive = predictions.labels[order] == c
        below = np.zeros((len(w), len(order) + 1))
        np.cumsum(w * ~positive, axis=1, out=below[:, 1:])
        first, last = (np.searchsorted(ranked, ranked[positive], side=side) for side in ("left", "right"))
        wins = (w[:, positive] * (below[:, first] + below[:, last])).sum(1) / 2
        columns.append(_ratio(wins, w[:, positive].sum(1) * below[:, -1]))
    return np.stack(columns, 1)


def _kappa(matrix: np.ndarray) -> np.ndarray:
    """Cohen's kappa with quadratic weights; nan where chance alone would never be wrong.

    Args:
        matrix: shape (S, C, C).
    """
    place = np.arange(matrix.shape[1])
    penalty = (place[:, None] - place) ** 2
    total = matrix.sum((1, 2))
    expected = matrix.sum(2)[:, :, None] * matrix.sum(1)[:, None, :] / np.maximum(total, 1)[:, None, None]
    return 1 - _ratio((penalty * matrix).sum((1, 2)), (penalty * expected).sum((1, 2)))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """nan where there is no whole."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def _mean(by_class: np.ndarray) -> np.ndarray:
    """Over the classes that have a value, shape (S,); nan without any."""
    known = ~np.isnan(by_class)
    return _ratio(np.where(known, by_class, 0).sum(1), known.sum(1))
