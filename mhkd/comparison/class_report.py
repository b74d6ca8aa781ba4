"""A table of classification as Markdown, CSV, JSON and pictures; a row that is not there says so."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..evaluation.bootstrap import FEW, LEVEL, interval, verdict
from ..evaluation.class_scores import KAPPA, SCORES, class_scores, confusion
from ..evaluation.classification import all_scores
from ..evaluation.predictions import Predictions
from ..files import write_json, write_text
from ..tables import csv_text, markdown_head, markdown_row
from ..visualization.classification import plot_cost
from ..visualization.confusion import plot_confusion
from .class_rows import PAPER_SCORES, PAPER_SETS, ClassTable
from .class_run import Asked, Line, interval_groups, line_key
from .provenance import commit, hardware

MAIN = "balanced_accuracy"  # which rows are compared in: classes are of different sizes
_TITLES = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "auroc": "AUROC",
    "kappa": "kappa",
    "vote_balanced_accuracy": "by vote",
    "accuracy_ovr": "accuracy, one against the rest",
    "macro_f1": "F1",
    "macro_precision": "precision",
    "macro_recall": "recall",
}


def write_class_table(table: ClassTable, lines: Sequence[Line], asked: Asked, root: Path) -> list[Path]:
    """Write ``table_<name>`` .md, .csv, .json and .png to ``root``, and the confusion matrix of each row to
    ``confusion_<name>/``; of a single fold its number ends the names.
    """
    content = collect(table, lines, asked)
    stem = root / f"table_{table.name}{asked.folds.suffix}"
    write_json(content, stem.with_suffix(".json"))
    write_text(to_csv(content), stem.with_suffix(".csv"))
    write_text(to_markdown(content), stem.with_suffix(".md"))
    plot_cost(content, stem.with_suffix(".png"))
    pictures = [
        plot_confusion(
            np.array(row["confusion"]),
            content["classes"],
            root / f"confusion{asked.folds.suffix}" / f"{row['key']}.png",
            f"{row['title']}{at_factor(row)}: {asked.dataset}",
        )
        for row in content["rows"]
        if row["status"] == "finished"
    ]
    return [*(stem.with_suffix(s) for s in (".md", ".csv", ".json", ".png")), *pictures]


def collect(table: ClassTable, lines: Sequence[Line], asked: Asked) -> dict[str, Any]:
    """The content of the JSON file, of which the others are views."""
    by_key = {line.key: line for line in lines}
    known = next((line.predictions for line in lines if line.predictions), None)
    folds = asked.folds
    groups = interval_groups(known, folds) if known else None
    return {
        "table": table.name,
        "title": table.title,
        "source": table.source,
        "told": table.told,
        "dataset": asked.dataset,
        "factors": list(asked.factors),
        "epochs": asked.epochs,
        "folds": folds.count,
        "fold": folds.only,
        "folds_by": folds.by,
        "patients": len({e["patient"] for e in known.entries if e.get("patient")}) if known else None,
        "classes": list(known.class_names) if known else [],
        "images": len(known) if known else None,
        "samples": asked.samples,
        "interval_percent": LEVEL,
        "interval_by": groups.by if groups else None,
        "interval_groups": len(groups) if groups else None,
        "interval_remark": groups.remark() if groups else None,
        "command": asked.command,
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "commit": commit(),
        "hardware": hardware(),
        "torch": torch.__version__,
        "rows": [_row_content(line, by_key) for line in lines],
    }


def _row_content(line: Line, by_key: dict[str, Line]) -> dict[str, Any]:
    row = line.row
    content: dict[str, Any] = {
        "key": line.key,
        "row": row.key,
        "title": row.title,
        "factor": line.factor,
        "schedule": row.schedule,
        "folds_finished": line.finished,
        "status": "finished" if line.predictions else "not run",
        "folders": [str(t.folder) for t in line.trainings],
        "paper": row.paper.get(line.factor, {}),
    }
    if not line.predictions:
        return content
    flops = line.cost["flops"]
    scores = all_scores(line.predictions)
    content |= {
        "scores": {k: None if math.isnan(v) else v for k, v in scores.items()},
        "intervals": {k: interval(v) for k, v in line.samples.items()},
        "by_group": _by_group(line.predictions),
        "confusion": confusion(line.predictions).tolist(),
        "training_seconds": sum(r["seconds"] for t in line.trainings for r in t.reports())
        / len(line.trainings),
        **line.cost,
    }
    teacher = by_key.get(row.teacher)
    if teacher and teacher.predictions:
        content["to_teacher"] = _difference(line, teacher)
        if flops and teacher.cost["flops"]:
            content["flops_of_teacher"] = flops / teacher.cost["flops"]
    reference = by_key.get(line_key(row.reference, line.factor)) if row.reference else None
    if reference and reference.predictions:
        content["to_reference"] = _difference(line, reference)
    return content


def _difference(line: Line, other: Line) -> dict[str, Any]:
    """In percentage points of MAIN, on the same images, with the interval of the paired samples."""
    mine, theirs = (class_scores(one.predictions)[MAIN] for one in (line, other) if one.predictions)
    found = interval(line.samples[MAIN] - other.samples[MAIN])
    return {"to": other.key, MAIN: mine - theirs, "interval": found, "verdict": verdict(found)}


def _by_group(predictions: Predictions) -> dict[str, dict[str, Any]]:
    """Images and accuracies of each patient (slide), where they are few enough to be looked at one by one."""
    groups = np.array(predictions.groups.of)
    if not 1 < len(set(groups)) < FEW:
        return {}
    found = {}
    for name in sorted(set(groups.tolist())):
        members = np.flatnonzero(groups == name).tolist()
        part = Predictions(
            predictions.probabilities[members],
            predictions.labels[members],
            predictions.class_names,
            [predictions.entries[k] for k in members],
        )
        scores = class_scores(part)
        found[name] = {"images": len(part), **{k: scores[k] for k in (MAIN, "accuracy")}}
    return found


def to_csv(content: dict[str, Any]) -> str:
    """The table for programs, one row a line; ``content`` is that of the JSON file."""
    lines = []
    for r in content["rows"]:
        line = {k: r[k] for k in ("key", "row", "title", "factor", "status")}
        for name, value in r.get("scores", {}).items():
            line[name] = value
            if name in (MAIN, *SCORES, KAPPA):
                line |= dict(zip((f"{name}_low", f"{name}_high"), r["intervals"][name] or (None, None)))
        for which in ("to_reference", "to_teacher"):
            if which in r:
                ends = r[which]["interval"] or (None, None)
                line |= {which: r[which]["to"], f"{which}_difference": r[which][MAIN]}
                line |= dict(zip((f"{which}_low", f"{which}_high"), ends))
                line[f"{which}_verdict"] = r[which]["verdict"]
        costs = ("parameters", "flops", "flops_of_teacher", "training_seconds")
        line |= {k: r[k] for k in costs if k in r}
        line |= {f"paper, {name}: {k}": v for name, found in r["paper"].items() for k, v in found.items()}
        lines.append(line)
    columns = list(dict.fromkeys(k for line in lines for k in line))
    return csv_text(columns, ([line.get(c) for c in columns] for line in lines))


def to_markdown(content: dict[str, Any]) -> str:
    """The table for people; ``content`` is that of the JSON file."""
    rows = content["rows"]
    done = [r for r in rows if r["status"] == "finished"]
    shown = [k for k in _TITLES if any(r["scores"].get(k) is not None for r in done)]
    papers = [name for name in PAPER_SETS if any(name in r["paper"] for r in rows)]
    head = ["", "factor", *(_TITLES[k] for k in shown), "− reference", "verdict", "− teacher", "GFLOPs"]
    head += ["of the teacher's", "training min"]
    lines = [
        f"## {content['title'].capitalize()}: `{content['dataset']}`",
        "",
        _introduction(content),
        "",
        *markdown_head(*head),
    ]
    for r in rows:
        factor = "HR" if r["factor"] == 1 else f"×{r['factor']}"
        if r["status"] != "finished":
            some = f" ({r['folds_finished']} of {content['folds']} folds)" if r["folds_finished"] else ""
            lines.append(markdown_row(r["title"], factor, f"not run{some}", *[""] * (len(head) - 3)))
            continue
        cells = [r["title"], factor]
        cells += [_score(r, k) for k in shown]
        cells += [*_compared(r.get("to_reference"), named=True), _compared(r.get("to_teacher"))[0]]
        cells.append("–" if r["flops"] is None else f"{r['flops'] / 1e9:.3g}")
        cells.append(_share(r.get("flops_of_teacher")))
        cells.append(f"{r['training_seconds'] / 60:.0f}")
        lines.append(markdown_row(*cells))
    lines += ["", *_groups(content, done), *(_papers(rows, papers) if papers else ())]
    lines += [content["told"], ""] if content["told"] else []
    lines.append(
        f"`{content['command']}`; commit {content['commit']}, {content['hardware']}, torch "
        f"{content['torch']}, {content['date']}, {content['samples']} bootstrap samples."
    )
    return "\n".join(lines) + "\n"


def at_factor(row: dict[str, Any]) -> str:
    """Behind a row's title, where it is on LR."""
    return "" if row["factor"] == 1 else f" at ×{row['factor']}"


def _introduction(content: dict[str, Any]) -> str:
    folds, by = content["folds"], content["folds_by"]
    if content["images"] is None:
        on = f"{folds} folds by {by}, of which nothing is scored yet"
    elif content["fold"]:
        on = f"fold {content['fold']} of {folds} by {by} alone, {content['images']} images"
    else:
        on = f"{folds} folds by {by}, {content['images']} images, each scored by who has not seen it"
    if by != "patient" and content["patients"]:
        on += f", of {content['patients']} patient(s), who may be in training too"
    text = f"{on.capitalize()}; {content['epochs']} epoch(s) a row, one seed. Scores in percent"
    if content["interval_groups"]:
        remark = content["interval_remark"]
        text += f", with {content['interval_percent']} % intervals by {content['interval_by']} "
        text += f"({content['interval_groups']})" + (f": {remark}" if remark else "")
    return (
        f"{text}. F1, precision and recall are of one class against the rest, then averaged; so is the "
        "accuracy of that name, the one that DiPalma et al. print. Differences are in balanced accuracy, on "
        "the same samples; undecided where the interval includes 0."
    )


def _groups(content: dict[str, Any], done: Sequence[dict[str, Any]]) -> list[str]:
    """Balanced accuracy of each patient, where there are few."""
    names = list(dict.fromkeys(name for r in done for name in r["by_group"]))
    if content["fold"] or not names:
        return []
    images = {n: r["by_group"][n]["images"] for r in done for n in names if n in r["by_group"]}
    head = [f"{name.partition(' ')[2]} ({images[name]} images)" for name in names]
    lines = [
        f"Balanced accuracy of each of the {names[0].partition(' ')[0]}:",
        "",
        *markdown_head("", "factor", *head),
    ]
    for r in done:
        factor = "HR" if r["factor"] == 1 else f"×{r['factor']}"
        cells = [f"{r['by_group'][n][MAIN]:.1f}" for n in names]
        lines.append(markdown_row(r["title"], factor, *cells))
    return [*lines, ""]


def _papers(rows: Sequence[dict[str, Any]], papers: Sequence[str]) -> list[str]:
    """Their figures and ours of the same scores."""
    head = ["", "factor", *(f"{name}: {_TITLES[k]}" for name in papers for k in PAPER_SCORES)]
    head += [f"here: {_TITLES[k]}" for k in PAPER_SCORES]
    lines = [
        "The paper's figures, of its own data sets, which are not at hand; ours are of another disease and "
        "show whether rows come in the same order, no more:",
        "",
        *markdown_head(*head),
    ]
    for r in rows:
        if not r["paper"]:
            continue
        found = [r["paper"].get(name, {}).get(k) for name in papers for k in PAPER_SCORES]
        found += [r.get("scores", {}).get(k) for k in PAPER_SCORES]
        cells = [r["title"], "HR" if r["factor"] == 1 else f"×{r['factor']}"]
        cells += ["" if v is None else f"{v:.1f}" for v in found]
        lines.append(markdown_row(*cells))
    return [*lines, ""]


def _score(row: dict[str, Any], name: str) -> str:
    value, ends = row["scores"].get(name), row["intervals"].get(name)
    if value is None:
        return "–"
    return f"{value:.1f}" + (f" [{ends[0]:.1f}, {ends[1]:.1f}]" if ends and name in (MAIN, "auroc") else "")


def _compared(found: dict[str, Any] | None, named: bool = False) -> list[str]:
    if not found:
        return ["", ""]
    ends = found["interval"]
    text = f"{found[MAIN]:+.1f}" + (f" [{ends[0]:+.1f}, {ends[1]:+.1f}]" if ends else "")
    name = f" ({found['to'].partition('_x')[0]})" if named else ""
    return [text + name, found["verdict"]]


def _share(of_teacher: float | None) -> str:
    return "" if of_teacher is None else f"1/{1 / of_teacher:.0f}"
