"""Scores of slides for people: Markdown, and a table with one row a slide and class."""

from collections.abc import Sequence
from typing import Any

from ...tables import csv_text, markdown_head, markdown_row
from .slide_scores import ANY, FROC_POINTS, HEADLINE

FILES = ("scores.json", "scores.md", "slides.csv", "coco_annotations.json")


def markdown(report: dict[str, Any]) -> str:
    """The scores of :func:`mhkd.slide_detection.scores.run.run_score` as tables.

    Args:
        report: what is written to scores.json.
    """
    scores, classes = report["scores"], list(report["froc"])
    known = report["unit"] == "patients"
    of_patients = f" of {_number(report['num_patients'], 'patients')}" if known else ""
    headline = [*HEADLINE, *(f"AP-{c}" for c in classes if c != ANY)]
    lines = [
        f"# {_number(report['num_slides'], 'slides')}" + of_patients,
        "",
        f"Percent. {_intervals(report)}",
        "",
        *markdown_head("", *headline),
        markdown_row("all slides", *(_cell(scores[k]) for k in headline)),
        "",
        f"AP and AR count detections with a score of {report['detections_from_score']:g} or more, up to "
        f"{report['max_dets']} of a class on a slide.",
        "",
        f"## Detections with a score of {report['score_threshold']:g} or more, IoU 0.5",
        "",
        *markdown_head(
            "", "annotated", "detected", "sensitivity", "precision", "F1", "count error", "count bias"
        ),
    ]
    for name in classes:
        rows = [r for r in report["slides"] if r["class"] == name]
        totals = (str(sum(r[k] for r in rows)) for k in ("annotated", "detected"))
        measures = ("sensitivity", "precision", "f1", "count_error", "count_bias")
        lines.append(markdown_row(name, *totals, *(_cell(scores[f"{name}/{m}"]) for m in measures)))
    lines += [
        "",
        "Count error: detected less annotated, per slide; mean of its absolute values, and (bias) its mean.",
        "",
        "## FROC: sensitivity at false positives per slide, IoU 0.5",
        "",
        *markdown_head("FP per slide", *(f"{r:g}" for r in FROC_POINTS), "mean"),
    ]
    tables = {name: table for name, table in report["froc"].items() if table}
    for name, table in tables.items():
        mean = _cell(scores[f"{name}/froc"])
        lines.append(markdown_row(name, *(f"{p['sensitivity']:.1f}" for p in table), mean))
    any_table = next(iter(tables.values()), ())
    if any_table and any_table[0]["fp_per_mm2"] is not None:
        lines.append(markdown_row("FP per mm² of tissue", *(f"{p['fp_per_mm2']:.3g}" for p in any_table), ""))
    lines.append("")
    for title, items in (
        ("Not scored: without annotations", report["without_annotations"].items()),
        ("Not scored: cannot be used", report["failed"].items()),
    ):
        if items:
            lines += [f"## {title}", "", *(f"- {name}: {_line(reason)}" for name, reason in items), ""]
    if report["choice"]:
        lines += [
            f"On these slides F1 is highest with a score of {report['choice']['score_threshold']:g} or more: "
            f"{report['choice']['f1']:.1f}, all classes together, where another class is wrong. Choices are "
            "made on one set of slides, figures come from another.",
            "",
        ]
    if report["warnings"]:
        lines += ["## Warnings", "", *(f"- {w}" for w in report["warnings"]), ""]
    return "\n".join(lines)


def slides_csv(rows: Sequence[dict[str, Any]]) -> str:
    """The rows of a report as CSV."""
    return csv_text(rows[0], (row.values() for row in rows))


def _intervals(report: dict[str, Any]) -> str:
    if report["num_patients"] < 2:
        return f"Without intervals: they need two {report['unit']} or more."
    if not report["bootstrap_samples"]:
        return "Without intervals."
    return (
        f"In brackets 95 % intervals: {report['bootstrap_samples']} bootstrap samples of the "
        f"{report['num_patients']} {report['unit']}."
    )


def _cell(score: dict[str, Any]) -> str:
    if score["value"] is None:
        return "–"
    text = f"{score['value']:.1f}"
    return text + (" [{:.1f}, {:.1f}]".format(*score["interval"]) if score["interval"] else "")


def _number(n: int, what: str) -> str:
    return f"{n} {what if n != 1 else what[:-1]}"


def _line(text: str) -> str:
    return " ".join(text.split())
