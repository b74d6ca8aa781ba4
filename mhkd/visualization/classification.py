"""Figures of classifiers: accuracy against computation, as DiPalma et al.'s Figure 3."""

from pathlib import Path
from typing import Any

from ..palette import REFERENCE, RUNS
from .cost import draw_line, over_gflops

SCORE = "accuracy"


def plot_cost(content: dict[str, Any], path: Path) -> Path:
    """A line a row, a point a factor: accuracy with its interval over GFLOPs of an image, and the factor.

    The teacher's are single points.

    Args:
        content: of :func:`mhkd.comparison.class_report.collect`; rows without scores or FLOPs are left out.
        path: the PNG.
    """
    known = [r for r in content["rows"] if r["status"] == "finished" and r["flops"]]
    score = f"accuracy, % ({content['interval_percent']} % by {content['interval_by']})"
    with over_gflops(path, score, f"{content['dataset']}: {content['title']}") as axes:
        for number, name in enumerate(dict.fromkeys(r["row"] for r in known)):
            rows = sorted((r for r in known if r["row"] == name), key=lambda r: r["flops"])
            teacher = rows[0]["factor"] == 1
            draw_line(
                axes,
                [r["flops"] / 1e9 for r in rows],
                [r["scores"][SCORE] for r in rows],
                [r["intervals"].get(SCORE) for r in rows],
                ["HR" if r["factor"] == 1 else f"×{r['factor']}" for r in rows],
                fmt="s" if teacher else "o-",
                color=REFERENCE if teacher else RUNS[number % len(RUNS)],
                label=rows[0]["title"],
            )
    return path
