"""Curves of AP against what may be wrong with a slide."""

from pathlib import Path
from typing import Any

from ..palette import RUNS
from .figures import writing_figure


def plot_robustness(content: dict[str, Any], path: Path) -> Path:
    """A panel an axis, a line a student.

    Args:
        content: of :func:`mhkd.comparison.robustness.run_robustness`.
        path: the PNG.
    """
    with writing_figure(path, (9, 7)) as figure:
        panels = figure.subplots(2, 2, sharey=True).flat
        for panel, axis in zip(panels, content["axes"]):
            quality = axis["name"] == "jpeg"  # 0 is no JPEG, which the highest quality comes nearest to
            for number, student in enumerate(content["students"]):
                of_line = student["name"], axis["name"]
                rows = [r for r in content["scores"] if (r["student"], r["axis"]) == of_line]
                points = sorted(
                    (100 if quality and not r["strength"] else r["strength"], r["AP"]) for r in rows
                )
                panel.plot(*zip(*points), "o-", ms=4, color=RUNS[number % len(RUNS)], label=student["name"])
            if quality:
                panel.invert_xaxis()
            panel.set_xlabel(axis["label"].replace("(0:", "(100:"))
            panel.spines[["top", "right"]].set_visible(False)
        figure.axes[0].set_ylim(bottom=0)  # of all panels, when all lines are there
        figure.supylabel(f"AP on low resolution, % ({content['dataset']})")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return path
