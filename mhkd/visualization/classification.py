"""Figures of classifiers: accuracy against computation, as DiPalma et al.'s Figure 3."""

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..files import replacing
from ..palette import REFERENCE, RUNS

SCORE = "accuracy"


def plot_cost(content: dict[str, Any], path: Path) -> Path:
    """A line a row, a point a factor: accuracy with its interval over GFLOPs of an image, and the factor.

    The teacher's are single points.

    Args:
        content: of :func:`mhkd.comparison.class_report.collect`; rows without scores or FLOPs are left out.
        path: the PNG.
    """
    figure = Figure((7.5, 5), layout="constrained", dpi=130)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    known = [r for r in content["rows"] if r["status"] == "finished" and r["flops"]]
    for number, name in enumerate(dict.fromkeys(r["row"] for r in known)):
        rows = sorted((r for r in known if r["row"] == name), key=lambda r: r["flops"])
        gflops, values = [r["flops"] / 1e9 for r in rows], [r["scores"][SCORE] for r in rows]
        ends = [r["intervals"].get(SCORE) or (v, v) for r, v in zip(rows, values)]
        errors = [[max(v - low, 0) for v, (low, _) in zip(values, ends)]]
        errors += [[max(high - v, 0) for v, (_, high) in zip(values, ends)]]
        teacher = rows[0]["factor"] == 1
        axes.errorbar(
            gflops,
            values,
            errors,
            fmt="s" if teacher else "o-",
            color=REFERENCE if teacher else RUNS[number % len(RUNS)],
            capsize=3,
            elinewidth=0.8,
            label=rows[0]["title"],
        )
        for x, y, r in zip(gflops, values, rows):
            label = "HR" if r["factor"] == 1 else f"×{r['factor']}"
            axes.annotate(label, (x, y), (5, 4), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("GFLOPs of one image")
    axes.set_ylabel(f"accuracy, % ({content['interval_percent']} % by {content['interval_by']})")
    axes.set_title(f"{content['dataset']}: {content['title']}", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    if known:
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")
    return path
