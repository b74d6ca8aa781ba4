"""Scores of whole slides: what COCO says after stitching, FROC, how wrong the counts are, with intervals."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...evaluation.best_threshold import best_f1
from ...evaluation.bootstrap import group_samples, interval
from ...evaluation.box_scores import box_scores
from ...evaluation.pooled import Pooled, over_classes, sensitivity_at
from .scored_slide import ScoredSlide, coco_of

# False positives per slide, of the FROC of CAMELYON16 (Ehteshami Bejnordi et al., JAMA 2017).
FROC_POINTS = (0.25, 0.5, 1, 2, 4, 8)
ANY = "any class"
HEADLINE = ("AP", "AP50", "AP75", "AR")

Counts = tuple[np.ndarray, np.ndarray]  # true and false positives of each slide


def score_slides(
    slides: Sequence[ScoredSlide],
    patients: Sequence[str],
    *,
    score_threshold: float = 0.5,
    lowest: float = 0.0,
    num_samples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score detections against annotations. A detection is right at an IoU of 0.5 where no other is named.

    Args:
        slides: from :func:`mhkd.slide_detection.scores.scored_slide.load_slides`.
        patients: the patient of each.
        score_threshold: for counts, sensitivity and precision.
        lowest: score that those below it were left out of.
        num_samples: bootstrap samples; 0: no intervals.
        seed: of the samples.

    Returns:
        "scores", name -> {"value", "interval" ([low, high] at 95 % or None)}; percent, but count
        errors in glomeruli; None where there is nothing to measure it on. Names: AP, AP50, AP75, AR,
        AP-<class>; and for each class and "any class" <class>/sensitivity, /precision, /f1, /froc (mean
        sensitivity over the points), /count_error (mean of absolute values), /count_bias (mean).
        "froc", class -> list of {"fp_per_slide", "fp_per_mm2", "sensitivity", "score"}.
        "slides", one row a slide and class. "max_dets", detections per slide and class that count.
        "choice", the score threshold with the highest F1 (Choice or None).
    """
    names = slides[0].found.class_names
    pooled = {name: Pooled(slides, k) for k, name in enumerate(names)}
    with_any = {**pooled, ANY: Pooled(slides)} if len(names) > 1 else pooled
    counts = {name: p.counts(score_threshold) for name, p in with_any.items()}
    ones = np.ones(len(slides))
    values = _statistics(pooled, with_any, counts, ones)

    ground_truth, results = coco_of(slides)
    # All of them: COCO's 100 are fewer than a section may have glomeruli.
    per_slide = [np.bincount(s.found.classes, minlength=len(names)).max() for s in slides]
    max_dets = max(100, int(max(per_slide)))
    coco = box_scores(ground_truth, results, max_dets) if results else {}
    values.update({k: v for k, v in coco.items() if k in HEADLINE or k.startswith("AP-")})

    samples = group_samples(patients, num_samples if len(set(patients)) > 1 else 0, seed)
    drawn = [_statistics(pooled, with_any, counts, weights.astype(float)) for weights in samples]
    scores = {}
    for name, value in values.items():
        known = not np.isnan(value)
        between = interval([d[name] for d in drawn]) if known and drawn else None
        scores[name] = {
            "value": round(float(value), 4) if known else None,
            "interval": between and [round(v, 4) for v in between],
        }
    return {
        "scores": scores,
        "froc": {name: _froc_table(p, slides, ones) for name, p in with_any.items()},
        "slides": list(_rows(slides, patients, with_any, counts, score_threshold)),
        "max_dets": max_dets,
        "choice": best_f1(pooled.values(), lowest),
    }


def _statistics(
    pooled: dict[str, Pooled], with_any: dict[str, Pooled], counts: dict[str, Counts], weights: np.ndarray
) -> dict[str, float]:
    """All scores for slides of these weights; nan where there is nothing to measure one on."""
    precision = np.array([p.average_precision(weights) for p in pooled.values()])  # (class, IoU)
    recall = np.array([p.average_recall(weights) for p in pooled.values()])
    mean = over_classes(precision)
    found = {"AP": mean.mean(), "AP50": mean[0], "AP75": mean[5], "AR": over_classes(recall).mean()}
    found.update({f"AP-{name}": p.mean() for name, p in zip(pooled, precision)})
    for name, p in with_any.items():
        hits, false = (column @ weights for column in counts[name])
        annotated = p.annotated @ weights
        found[f"{name}/sensitivity"] = 100 * _ratio(hits, annotated)
        found[f"{name}/precision"] = 100 * _ratio(hits, hits + false)
        found[f"{name}/f1"] = 100 * _ratio(2 * hits, annotated + hits + false)
        curve = p.froc(weights)
        points = [sensitivity_at(curve, r)[0] for r in FROC_POINTS]
        found[f"{name}/froc"] = float(np.mean(points)) if annotated else np.nan
        error = counts[name][0] + counts[name][1] - p.annotated
        found[f"{name}/count_error"] = np.abs(error) @ weights / weights.sum()
        found[f"{name}/count_bias"] = error @ weights / weights.sum()
    return found


def _froc_table(pooled: Pooled, slides: Sequence[ScoredSlide], weights: np.ndarray) -> list[dict[str, Any]]:
    if not pooled.annotated.sum():
        return []
    curve = pooled.froc(weights)
    tissue = [s.tissue_mm2 or 0.0 for s in slides]
    per_mm2 = len(slides) / sum(tissue) if all(tissue) else None
    table = []
    for rate in FROC_POINTS:
        sensitivity, score = sensitivity_at(curve, rate)
        table.append(
            {
                "fp_per_slide": rate,
                "fp_per_mm2": per_mm2 and round(rate * per_mm2, 4),
                "sensitivity": round(sensitivity, 4),
                "score": score and round(score, 4),
            }
        )
    return table


def _rows(
    slides: Sequence[ScoredSlide],
    patients: Sequence[str],
    pooled: dict[str, Pooled],
    counts: dict[str, Counts],
    score_threshold: float,
) -> Iterator[dict[str, Any]]:
    for k, (one, patient) in enumerate(zip(slides, patients)):
        for name, p in pooled.items():
            hits, false = (int(column[k]) for column in counts[name])
            annotated = int(p.annotated[k])
            yield {
                "slide": one.name,
                "patient": patient,
                "tissue_mm2": one.tissue_mm2,
                "class": name,
                "score_threshold": score_threshold,
                "annotated": annotated,
                "detected": hits + false,
                "count_error": hits + false - annotated,
                "true_positives": hits,
                "false_positives": false,
                "false_negatives": annotated - hits,
            }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else np.nan
