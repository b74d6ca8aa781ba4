"""A table as Markdown, CSV and JSON: ours beside the paper's, with what may and may not be concluded."""

import itertools
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..evaluation.bootstrap import LEVEL, interval, verdict
from ..evaluation.mask_scores import MASK_METRICS
from ..files import write_json, write_text
from ..tables import csv_text, markdown_head, markdown_row
from ..visualization.comparison import draw_regions, plot_cost, plot_table
from .measure import time_ratio
from .provenance import commit, hardware
from .results import Results
from .rows import Row, Table
from .scores import METRICS, lr_detections, views_of

UNKNOWN = {"mean": None, "std": None}
UNITS = {"parameters": "M parameters", "seconds": "s"}  # of the paper's figures that are no percentages


def write_table(
    table: Table, results: Results, facts: dict[str, Any], stem: Path, missing: Sequence[Row] = ()
) -> list[Path]:
    """Write ``<stem>`` .md, .csv, .json, .png, ``_regions.png`` and, where a row costs half as much again as
    another, ``_cost.png``.

    Args:
        results: of all rows.
        facts: what was asked for: dataset, size, config, seeds, folds, command, samples.
        stem: path without an ending.
        missing: rows of the table that were not trained.
    """
    content = collect(table, results, facts, missing)
    write_json(content, stem.with_suffix(".json"))
    write_text(to_csv(content), stem.with_suffix(".csv"))
    write_text(to_markdown(content), stem.with_suffix(".md"))
    pictures = [plot_table(content, stem.with_suffix(".png"))]
    flops = [row["flops"] for row in content["rows"] if row["flops"]]
    if flops and max(flops) > 1.5 * min(flops):
        pictures.append(plot_cost(content, stem.with_name(stem.name + "_cost.png")))
    first = {r.title: results.trainings[r.method.key][0] for r in table.rows}
    regions = stem.with_name(stem.name + "_regions.png")
    (test_set,) = next(iter(first.values())).cfg.DATASETS.TEST
    cfg = next(iter(first.values())).cfg
    found = {title: lr_detections(training) for title, training in first.items()}
    pictures.append(draw_regions(test_set, found, regions, cfg.INPUT.LR_FACTOR, cfg.INPUT.LR_FILTER))
    return [stem.with_suffix(s) for s in (".md", ".csv", ".json")] + pictures


def collect(
    table: Table, results: Results, facts: dict[str, Any], missing: Sequence[Row] = ()
) -> dict[str, Any]:
    """The content of the JSON file, of which the others are views."""
    samples = results.samples
    reference = table.reference
    rows = [_row_content(r, results) for r in table.rows]
    for row in rows:
        row["AP_interval"] = interval(samples[row["key"]])
        if row["key"] != reference:
            difference = interval(samples[row["key"]] - samples[reference])
            row["difference"] = {
                "to": reference,
                "AP": row["scores"]["AP"]["mean"] - _find(rows, reference)["scores"]["AP"]["mean"],
                "interval": difference,
                "verdict": verdict(difference),
            }
    pairs = []
    for a, b in itertools.combinations(rows, 2):
        difference = interval(samples[a["key"]] - samples[b["key"]])
        pair = {"rows": [a["key"], b["key"]], "interval": difference, "verdict": verdict(difference)}
        if a["paper"] and b["paper"]:
            gap = a["paper"]["AP"] - b["paper"]["AP"]
            pair["paper"] = "higher" if gap > 0 else "lower" if gap < 0 else "equal"
        pairs.append(pair)
    return {
        "table": table.number,
        "title": table.title,
        "paper_dataset": table.paper_dataset,
        "reference": reference,
        **facts,
        "training_images": results.training_images,
        "test_images": results.images,
        "detections_per_image": results.detections_per_image,
        "interval_percent": LEVEL,
        "interval_by": results.groups.by,
        "interval_groups": len(results.groups),
        "interval_remark": results.groups.remark(),
        "people": results.people,
        "people_in_training_too": results.people_known,
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "commit": commit(),
        "hardware": hardware(),
        "torch": torch.__version__,
        "rows": rows,
        "not_run": [{"key": r.method.key, "title": r.title} for r in missing],
        "pairs": pairs,
    }


def to_markdown(content: dict[str, Any]) -> str:
    """The table for people; ``content`` is that of the JSON file."""
    rows, several = content["rows"], len(content["seeds"]) > 1
    classes = [k for k in rows[0]["scores"] if k.startswith("AP-")]
    masks = [m for m in MASK_METRICS if any(m in r["scores"] for r in rows)]
    scored = [*METRICS, *(classes if len(classes) > 1 else ()), *masks]
    with_hr = any(r["hr_scores"] for r in rows)
    reference = _find(rows, content["reference"])["title"]
    known = [*scored, "parameters", "seconds"]
    paper = [m for m in known if any(m in r["paper"] for r in rows)]
    head = ["", *scored, *(["AP on HR"] if with_hr else []), f"AP − {reference}", "verdict", "M parameters"]
    head += ["GFLOPs", "time", "training min", *(f"paper: {UNITS.get(m, m)}" for m in paper)]
    lines = [
        f"## Table {content['table']}: {content['title']}",
        "",
        _introduction(content, several),
        "",
        *markdown_head(*head),
    ]
    for r in rows:
        cells = [r["title"], *(_mean(r["scores"].get(m, UNKNOWN)) for m in scored)]
        if with_hr:
            cells.append(_mean(r["hr_scores"]["AP"]) if r["hr_scores"] else "")
        if "difference" in r:
            cells += [_difference(r["difference"]), r["difference"]["verdict"]]
        else:
            cells += ["", ""]
        flops = "–" if r["flops"] is None else f"{r['flops'] / 1e9:.0f}"
        cells += [f"{r['parameters'] / 1e6:.1f}", flops, f"{r['time_ratio']:.2f}"]
        cells.append(f"{r['training_seconds'] / 60:.0f}")
        cells += [_papers(m, r["paper"][m]) if m in r["paper"] else "" for m in paper]
        lines.append(markdown_row(*cells))
    lines += [markdown_row(r["title"], "not run", *[""] * (len(head) - 2)) for r in content["not_run"]]
    return "\n".join([*lines, "", *_order(content), *_how(content)]) + "\n"


def to_csv(content: dict[str, Any]) -> str:
    """The table for programs, one row a line; ``content`` is that of the JSON file."""
    lines = []
    for r in content["rows"]:
        line = {"row": r["key"], "title": r["title"], "status": "finished"}
        for prefix, scores in (("", r["scores"]), ("HR_", r["hr_scores"])):
            for metric, found in scores.items():
                line |= {f"{prefix}{metric}": found["mean"], f"{prefix}{metric}_std": found["std"]}
        line |= dict(zip(("AP_low", "AP_high"), r["AP_interval"] or (None, None)))
        if "difference" in r:
            ends = r["difference"]["interval"] or (None, None)
            line |= dict(zip(("difference_low", "difference_high"), ends))
            line |= {"difference": r["difference"]["AP"], "verdict": r["difference"]["verdict"]}
        costs = ("parameters", "flops", "seconds_per_image", "time_ratio", "training_seconds")
        line |= {k: r[k] for k in costs}
        line |= {f"paper_{k}": v for k, v in r["paper"].items()}
        lines.append(line)
    lines += [{"row": r["key"], "title": r["title"], "status": "not run"} for r in content["not_run"]]
    columns = list(dict.fromkeys(k for line in lines for k in line))
    return csv_text(columns, ([line.get(c) for c in columns] for line in lines))


def _row_content(row: Row, results: Results) -> dict[str, Any]:
    key = row.method.key
    trainings, scores, cost = results.trainings[key], results.scores[key], results.costs[key]
    lr, *hr = views_of(trainings[0])
    return {
        "key": key,
        "title": row.title,
        "schedule": row.method.schedule,
        "scores": _over_seeds([s[lr] for s in scores]),
        "hr_scores": _over_seeds([s[hr[0]] for s in scores]) if hr else {},
        "parameters": cost["parameters"],
        "flops": cost["flops"],
        "seconds_per_image": statistics.median(cost["seconds"]),
        "time_ratio": time_ratio(cost["seconds"], cost["reference_seconds"]),
        # A shared step counts for every row: what training this row alone costs.
        "training_seconds": sum(r["seconds"] for t in trainings for r in t.reports()) / len(trainings),
        "folders": [str(t.folder) for t in trainings],
        "paper": row.paper,
    }


def _over_seeds(scores: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Metric -> mean, sample standard deviation (None of one seed) and the values themselves."""
    found = {}
    for metric in scores[0]:
        values = [s[metric] for s in scores]
        known = [v for v in values if v is not None]
        found[metric] = {
            "mean": statistics.fmean(known) if known else None,
            "std": statistics.stdev(known) if len(known) > 1 else None,
            "values": values,
        }
    return found


def _introduction(content: dict[str, Any], several: bool) -> str:
    spread = "mean ± standard deviation over seeds" if several else "one seed, so no spread between trainings"
    seeds = ", ".join(map(str, content["seeds"]))
    paper = content["paper_dataset"]
    limit = content["detections_per_image"]
    counted = "all detections" if limit < 0 else f"at most {limit} detections an image"
    return (
        f"`{content['dataset']}`, size `{content['size']}`, seed{'s' * several} {seeds} ({spread}), "
        f"{_scored(content)}, scored on LR in percent, {counted}. "
        f"{_intervals(content)} {_people(content)}"
        "Time: of one image, relative to Faster R-CNN in the same run."
        + (f" The paper's figures are of its {paper} dataset." if paper else "")
    )


def _scored(content: dict[str, Any]) -> str:
    images, folds, by = content["test_images"], content["folds"], content["folds_by"]
    if content["fold"]:
        return f"fold {content['fold']} of {folds} by {by} alone, {images} test images"
    if folds:
        return (
            f"{folds} folds by {by}, each with a teacher of its own: {images} images, each scored by "
            "networks that have not seen it, all detections pooled"
        )
    return f"{images} test images"


def _intervals(content: dict[str, Any]) -> str:
    remark = content["interval_remark"]
    if content["interval_groups"] < 2:
        return f"Differences in AP {remark}, so all are undecided."
    return (
        f"Differences in AP with their {content['interval_percent']} % interval by {content['interval_by']}: "
        f"the {content['interval_groups']} of the test set drawn with replacement, the same for both rows; "
        f"undecided where it includes 0.{f' {remark}.' if remark else ''}{_could_be_seen(content)}"
    )


def _could_be_seen(content: dict[str, Any]) -> str:
    """How large a difference must be for an interval of that width to leave out 0."""
    known = [r["difference"]["interval"] for r in content["rows"] if "difference" in r]
    halves = sorted((high - low) / 2 for low, high in filter(None, known))
    if not halves:
        return ""
    span = f"{halves[0]:.1f}" + (f" to {halves[-1]:.1f}" if len(halves) > 1 else "")
    return f" Half their width is {span} AP: a smaller difference could not be told from none here."


def _people(content: dict[str, Any]) -> str:
    people, known = content["people"], content["people_in_training_too"]
    if known:
        return (
            f"People are not disjoint: {known} of the {people} who are scored are in the training images "
            "too; of new people this says nothing. "
        )
    if content["folds"] and not people:
        return "Whose an image is is not recorded (`patient`), so a person may be on both sides of a fold. "
    return ""


def _order(content: dict[str, Any]) -> list[str]:
    """Where our order of two rows is not the paper's."""
    titles = {r["key"]: r["title"] for r in content["rows"]}
    known = [p for p in content["pairs"] if "paper" in p and p["paper"] != "equal"]
    if not known:
        return []
    reversed_ = [p for p in known if p["verdict"] not in ("undecided", p["paper"])]
    undecided = sum(p["verdict"] == "undecided" for p in known)
    lines = [
        f"Pairs of rows that the paper ranks: {len(known)}. In the same order here: "
        f"{len(known) - undecided - len(reversed_)}; undecided: {undecided}; in the other order: "
        f"{len(reversed_) or 'none'}" + (":" if reversed_ else ".")
    ]
    for p in reversed_:
        first, second = (titles[k] for k in (p["rows"] if p["verdict"] == "higher" else p["rows"][::-1]))
        low, high = sorted(abs(v) for v in p["interval"])
        lines.append(f"- {first} is above {second} here, by {low:.1f} to {high:.1f} AP")
    return [*lines, ""]


def _how(content: dict[str, Any]) -> list[str]:
    transformers = [r["title"] for r in content["rows"] if r["key"] in ("dab_detr", "dino")]
    note = (
        f"{' and '.join(transformers)}: from scratch, on {content['training_images']} training images. A "
        "detection transformer needs many more to be at its best, so a low score says little about it."
    )
    return [
        *([note, ""] if transformers else []),
        f"`{content['command']}`; config {content['config']}, commit {content['commit']}, "
        f"{content['hardware']}, torch {content['torch']}, {content['date']}, {content['samples']} bootstrap "
        "samples.",
    ]


def _difference(found: dict[str, Any]) -> str:
    text = f"{found['AP']:+.1f}"
    return text + " [{:+.1f}, {:+.1f}]".format(*found["interval"]) if found["interval"] else text


def _papers(metric: str, value: float) -> str:
    return f"{value:.2f}" if metric in UNITS else f"{value:.1f}"


def _mean(found: dict[str, Any]) -> str:
    if found["mean"] is None:
        return "–"
    return f"{found['mean']:.1f}" + (f" ± {found['std']:.1f}" if found["std"] is not None else "")


def _find(rows: list[dict[str, Any]], key: str) -> dict[str, Any]:
    return next(r for r in rows if r["key"] == key)
