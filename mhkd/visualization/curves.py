"""Losses and scores of trainings as a picture, from Detectron2's metrics.json.

Figures are made without pyplot, which keeps global state and may want a display.
"""

import itertools
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from .. import palette
from ..errors import InputError
from ..files import replacing
from .figures import without_formulas
from .metrics import Rows, align, is_loss, loss_rank, read_metrics, running_median, test_sets_of

Runs = Mapping[str, str | os.PathLike[str]]  # name of a run -> its metrics.json

FORMATS = ("png", "svg", "pdf")  # by the file's ending
COLUMNS = 4
END = 1.02  # of the last iteration: its points are drawn whole
MARKERS = ("o", "s", "^", "D", "v")  # of test sets
STEP_LABELS = {
    "teacher_hr": "teacher\non HR",
    "direct_lr": "teacher\non LR (direct)",
    "lr_only": "student trained\non LR alone",
    "stage1": "student\nstep 1",
    "stage2": "student\nstep 2",
    "stage3": "student\nstep 3",
    "stage4": "student\nstep 4",
}


def plot_curves(
    runs: Runs, out: str | os.PathLike[str], stage_names: Mapping[int, str] | None = None
) -> Path:
    """Write :func:`curves_figure` to ``out`` (PNG, SVG or PDF, renamed when complete); returns the path."""
    return _save(curves_figure(runs, stage_names), out)


def plot_stage_ap(results: Mapping[str, Mapping[str, Any]], out: str | os.PathLike[str]) -> Path:
    """Write :func:`stage_ap_figure` to ``out`` (PNG, SVG or PDF, renamed when complete); returns the path."""
    return _save(stage_ap_figure(results), out)


@without_formulas()
def curves_figure(runs: Runs, stage_names: Mapping[int, str] | None = None) -> Figure:
    """Draw AP over the iterations, and each loss on its own below, with the steps' boundaries.

    A run without a teacher's step is moved right by the length of the longest one, so that the
    students of all runs start at the same place.

    Args:
        runs: name of a run -> its metrics.json.
        stage_names: stage number -> name.

    Returns:
        The axes of AP first, if there are evaluations, then one of each loss (log).

    Raises:
        InputError: a file is missing or holds nothing to plot.
    """
    logged = align({name: read_metrics(path) for name, path in runs.items()})
    losses = sorted(
        {key for rows in logged.values() for row in rows.values() for key in row if is_loss(key)},
        key=loss_rank,
    )
    has_scores = any(test_sets_of(rows) for rows in logged.values())
    loss_rows = math.ceil(len(losses) / COLUMNS)
    if not losses and not has_scores:
        raise InputError(f"{', '.join(logged)}: no losses and no scores in the metrics")

    figure = Figure(figsize=(15, 3.6 * has_scores + 2.3 * loss_rows + 0.5), layout="constrained")
    heights = [3.6] * has_scores + [2.3] * loss_rows
    grid = figure.add_gridspec(len(heights), COLUMNS, height_ratios=heights)
    last = max(iteration for rows in logged.values() for iteration in rows)
    if has_scores:
        axes = figure.add_subplot(grid[0, :])
        _plot_scores(axes, logged)
        _mark_stages(axes, logged, stage_names or {}, named=True)
        axes.set_xlim(0, END * last)
    cells = [divmod(k, COLUMNS) for k in range(len(losses))]
    panels = [figure.add_subplot(grid[has_scores + row, column]) for row, column in cells]
    for axes, key in zip(panels, losses):
        for rows, color in zip(logged.values(), _colors(logged)):
            _plot_loss(axes, rows, key, color)
        _mark_stages(axes, logged, stage_names or {}, named=not has_scores)
        axes.set_title(key, fontsize=10, loc="left")
        axes.set_ylabel("log scale" if axes.get_yscale() == "log" else "", fontsize=8)
        axes.set_xlim(0, END * last)
    for axes in panels[-COLUMNS:]:
        axes.set_xlabel("iteration", fontsize=9)
    for axes in figure.axes:
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


@without_formulas()
def stage_ap_figure(results: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw bars of AP50 and AP: the references (grey ground), then the student after each step.

    Args:
        results: "teacher_hr", "direct_lr", "lr_only", "stage1", ... -> its scores
            in percent, "AP" and "AP50" among them; drawn in this order. What is missing or nan
            says "n/a".

    Raises:
        InputError: ``results`` is empty.
    """
    if not results:
        raise InputError("No results to plot")
    figure = Figure(figsize=(1.3 * len(results) + 1.5, 4.2), layout="constrained")
    axes = figure.add_subplot()
    positions = np.arange(len(results))
    for offset, key, color in ((-0.2, "AP50", palette.AP50), (0.2, "AP", palette.AP)):
        values = np.array([scores.get(key, math.nan) for scores in results.values()], dtype=float)
        axes.bar(positions + offset, np.nan_to_num(values), 0.38, color=color, label=key)
        for x, value in zip(positions + offset, values):
            text = "n/a" if math.isnan(value) else f"{value:.1f}"
            box = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.5}
            axes.text(x, np.nan_to_num(value) + 1, text, ha="center", fontsize=9, bbox=box)
    references = [k for k, name in enumerate(results) if not name.startswith("stage")]
    for k in references:
        axes.axvspan(k - 0.5, k + 0.5, color=palette.REFERENCE_GROUND, zorder=0, linewidth=0)
    if "direct_lr" in results and len(references) < len(results):
        bar = results["direct_lr"].get("AP50", math.nan)
        axes.axhline(bar, color=palette.REFERENCE, linestyle="--", zorder=0.5, label="AP50 to beat (direct)")
    axes.set_xticks(positions, [STEP_LABELS.get(name, name) for name in results], fontsize=9)
    axes.set_xlim(-0.5, len(results) - 0.5)
    axes.set_ylim(top=min(105, axes.get_ylim()[1] + 4))  # room for the numbers
    axes.set_ylabel("percent")
    axes.spines[["top", "right"]].set_visible(False)
    handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper right", ncols=3, frameon=False, fontsize=9)
    return figure


def _plot_scores(axes: Axes, runs: Mapping[str, Rows]) -> None:
    """AP50 solid, AP dashed; step 0 scores the teacher on HR: no line leads on to the student.

    Each of several test sets has its own marker.
    """
    for (name, rows), color in zip(runs.items(), _colors(runs)):
        for test_set, marker in zip(test_sets_of(rows), itertools.cycle(MARKERS)):
            prefix = (f"{name}: " if len(runs) > 1 else "") + test_set
            _plot_test_set(axes, rows, test_set, prefix, color, marker)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("percent")
    axes.legend(fontsize=9, loc="best", ncols=2)


def _plot_test_set(axes: Axes, rows: Rows, test_set: str, prefix: str, color: str, marker: str) -> None:
    for metric, style, width in (("AP50", "-", 2), ("AP", "--", 1.3)):
        key = f"bbox/{test_set}{metric}"
        for of_teacher in (True, False):
            points = [
                (iteration, row[key])
                for iteration, row in rows.items()
                if key in row and (row.get("stage") == 0) == of_teacher
            ]
            if points:
                axes.plot(
                    *zip(*points),
                    style,
                    color=color,
                    linewidth=width,
                    marker=marker,
                    markersize=4,
                    markerfacecolor="white" if of_teacher else color,
                    label=prefix + metric + (" of the teacher on HR" if of_teacher else ""),
                )
    direct = [row[key] for row in rows.values() if (key := f"direct/{test_set}AP50") in row]
    if direct:
        label = prefix + "AP50 of the teacher on LR (direct)"
        axes.axhline(direct[-1], color=color, linestyle=":", linewidth=1.3, label=label)


def _plot_loss(axes: Axes, rows: Rows, key: str, color: str) -> None:
    """Faint as logged, bold as the running median of each step."""
    points = [(row.get("stage"), iteration, row[key]) for iteration, row in rows.items() if key in row]
    for stage in dict.fromkeys(stage for stage, _, _ in points):
        x, y = np.array([(i, value) for s, i, value in points if s == stage], dtype=float).T
        axes.plot(x, y, color=color, alpha=0.3, linewidth=0.8)
        axes.plot(x, running_median(y), color=color, linewidth=1.6)
    if any(value > 0 for _, _, value in points):
        axes.set_yscale("log", nonpositive="mask")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()


def _mark_stages(axes: Axes, runs: Mapping[str, Rows], stage_names: Mapping[int, str], named: bool) -> None:
    """A line where a step starts; the names are those of the run with the most steps."""
    starts: dict[str, dict[int, int]] = {}
    for name, rows in runs.items():
        starts[name] = {}
        for iteration, row in rows.items():
            if "stage" in row:
                starts[name].setdefault(row["stage"], iteration)
    longest = max(starts, key=lambda name: len(starts[name]))
    for name, color in zip(runs, _colors(runs) if len(runs) > 1 else [palette.REFERENCE]):
        for k, (stage, iteration) in enumerate(starts[name].items()):
            if k > 0:
                axes.axvline(iteration, color=color, linewidth=0.8, alpha=0.7, zorder=0)
            if named and name == longest:
                axes.annotate(
                    stage_names.get(stage, f"step {stage}"),
                    (iteration if k else 0, 1),
                    xycoords=("data", "axes fraction"),
                    xytext=(4, 2),
                    textcoords="offset points",
                    fontsize=9,
                    color=palette.CAPTION,
                )


def _colors(runs: Mapping[str, Rows]) -> list[str]:
    return [palette.RUNS[k % len(palette.RUNS)] for k in range(len(runs))]


def _save(figure: Figure, out: str | os.PathLike[str]) -> Path:
    out = Path(out)
    kind = out.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise InputError(f"{out}: pictures are written as {', '.join('.' + f for f in FORMATS)}")
    with replacing(out) as temporary:
        figure.savefig(temporary, format=kind, dpi=110)
    return out
