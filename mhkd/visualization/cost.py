"""Figures of scores over computation, as DiPalma et al.'s Figure 3."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.ticker import LogLocator
from matplotlib.transforms import ScaledTranslation

from .figures import draw_title, writing_figure


@contextlib.contextmanager
def over_gflops(path: Path, score: str, title: str) -> Iterator[Axes]:
    """Axes to draw on; the PNG is written at the end.

    Args:
        score: what the y axis is.
    """
    with writing_figure(path, (7.5, 5)) as figure:
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(LogLocator(subs=(1.5, 2, 3, 5, 7)))  # all would overlap over a decade
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("{x:g}")
        yield axes
        low, high = axes.get_xlim()
        if axes.lines and high < 2 * low:  # of points of one cost matplotlib makes an axis without width
            axes.set_xlim(low / 2, high * 2)
        axes.set_xlabel("GFLOPs of one image")
        axes.set_ylabel(score)
        draw_title(figure, title)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines:
            figure.legend(loc="outside lower center", ncols=3, frameon=False)


def draw_line(
    axes: Axes,
    gflops: Sequence[float],
    values: Sequence[float],
    intervals: Sequence[tuple[float, float] | None],
    texts: Sequence[str],
    **style: Any,
) -> None:
    """A point a row with its interval, where it has one, and its text beside it.

    A line with a point that costs what one of an earlier line does is drawn six points of print to the right.
    """
    others = [c.lines[0].get_xdata() for c in axes.containers if isinstance(c, ErrorbarContainer)]
    aside_pt = 6 * sum(np.isclose(np.divide.outer(gflops, o), 1, rtol=0.01).any() for o in others)
    errors = error_bars(np.array(values), [i or (v, v) for i, v in zip(intervals, values)])
    drawn = axes.errorbar(gflops, values, errors, capsize=3, elinewidth=0.8, **style)
    shift = ScaledTranslation(aside_pt / 72, 0, axes.figure.dpi_scale_trans)
    for artist in drawn.get_children():
        artist.set_transform(axes.transData + shift)  # the axes' limits are of the values
    for x, y, text in zip(gflops, values, texts):
        axes.annotate(text, (x, y), (aside_pt + 5, 4), textcoords="offset points", fontsize=8)


def error_bars(values: np.ndarray, ends: Sequence[tuple[float, float]]) -> np.ndarray:
    """Lengths below and above each value, (2, n), for matplotlib."""
    low, high = np.array(ends).reshape(-1, 2).T
    return np.clip([values - low, high - values], 0, None)
