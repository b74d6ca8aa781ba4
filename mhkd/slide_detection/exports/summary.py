"""What a slide comes to: how many glomeruli of which class, how dense, how many of them sclerotic."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ...evaluation.detections import Detections, SlideInfo
from ...files import write_text
from ...tables import csv_text

QUALITY = ("blurred_mm2", "pen_mm2", "black_mm2", "quality_left_out")
SCLEROTIC = "sclerotic"  # the class, in any case, of which the share is given


def summarize(detections: Detections, slide: SlideInfo, score_threshold: float = 0.0) -> dict[str, Any]:
    """Counts of a slide.

    Args:
        detections: of the slide, those that count.
        slide: slide.
        score_threshold: from which score on they do.

    Returns:
        "slide_file"; "glomeruli" and, by class, "counts"; "tissue_mm2"; "density_per_mm2" of tissue
        (None where there is no tissue); "sclerotic_share" of the glomeruli (None where there are none, or
        there is no class named sclerotic); "score_threshold"; "grades", how many of each, where a
        classifier was asked.
    """
    n = np.bincount(detections.classes, minlength=len(detections.class_names)).tolist()
    counts = dict(zip(detections.class_names, n))
    tissue_mm2 = slide.tissue_area_um2 / 1e6
    sclerotic = [count for name, count in counts.items() if name.casefold() == SCLEROTIC]
    share = sum(sclerotic) / len(detections) if sclerotic and len(detections) else None
    graded = [grade[0] for grade in detections.graded() if grade]
    grades = {name: graded.count(name) for name in detections.grade_names}
    return {
        "slide_file": slide.slide_file,
        "glomeruli": len(detections),
        "counts": counts,
        "tissue_mm2": round(tissue_mm2, 4),
        "density_per_mm2": round(len(detections) / tissue_mm2, 4) if tissue_mm2 > 0 else None,
        "sclerotic_share": None if share is None else round(share, 4),
        "score_threshold": score_threshold,
        **({"grades": grades} if grades else {}),
    }


def write_summary_csv(path: Path, slides: Iterable[tuple[str, dict[str, Any] | None, str]]) -> None:
    """Write a table with one row a slide.

    Args:
        path: CSV.
        slides: slide, its summary (with "student", whose results these are, and "warnings", where there
            are any), and what went wrong ("" where nothing did).
    """
    slides = list(slides)
    classes = list(dict.fromkeys(c for _, summary, _ in slides if summary for c in summary["counts"]))
    measures = ("tissue_mm2", "density_per_mm2", "sclerotic_share", "score_threshold", "student")
    checked = any("quality" in summary for _, summary, _ in slides if summary)
    warned = any(summary.get("warnings") for _, summary, _ in slides if summary)
    lines = []
    for slide, summary, error in slides:
        if summary:
            counts = [summary["counts"].get(c, "") for c in classes]
            values = [summary["glomeruli"], *counts, *(summary.get(m) for m in measures)]
            values += _quality(summary) * checked
            values += [_line(summary.get("warnings", ()))] * warned
        else:
            values = [""] * (1 + len(classes) + len(measures) + len(QUALITY) * checked + warned)
        lines.append([slide, *values, _line([error])])  # csv writes None as an empty field
    of_quality, of_warnings = QUALITY * checked, ("warnings",) * warned
    before, after = ("slide", "glomeruli"), (*measures, *of_quality, *of_warnings, "error")
    counted = (f"{c} (class)" if c in (*before, *after) else c for c in classes)
    write_text(csv_text((*before, *counted, *after), lines), path)


def _line(texts: Iterable[str]) -> str:
    """Of several, in one line."""
    return " ".join("; ".join(texts).split())


def _quality(summary: dict[str, Any]) -> list[Any]:
    """Of the columns of :data:`QUALITY`; of a slide that was finished before there were any, None."""
    quality = summary.get("quality")
    if not isinstance(quality, dict):
        return [None] * len(QUALITY)
    areas = quality.get("tissue_mm2", {})
    return [*(areas.get(name.removesuffix("_mm2")) for name in QUALITY[:-1]), quality.get("left_out")]
