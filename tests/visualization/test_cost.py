"""Figures of scores over computation."""

from mhkd.visualization.cost import draw_line, over_gflops

import numpy as np
import pytest


def test_rows_of_one_cost_have_their_intervals_side_by_side(tmp_path):
    with over_gflops(tmp_path / "cost.png", "AP", "two students") as axes:
        for gflops, value in (([2.0, 8.0], 30), ([2.0, 16.0], 31), ([4.0, 32.0], 32)):
            draw_line(axes, gflops, [value] * 2, [(value - 9, value + 9)] * 2, ["", ""], fmt="o-", label="x4")
        low, high = axes.get_xlim()
        drawn = [[_left_px(c.lines[0], k) for k in (0, 1)] for c in axes.containers]
        bars = [[_left_px(c.lines[2][0], k) for k in (0, 1)] for c in axes.containers]
        at = axes.transData.transform([(x, 0) for x in (2, 8, 2, 16, 4, 32)])[:, 0].reshape(3, 2)

    aside_px = 6 / 72 * axes.figure.dpi
    assert drawn == bars == pytest.approx(at + np.array([[0], [aside_px], [0]]))
    assert low < 2 < 32 < high and (tmp_path / "cost.png").stat().st_size > 1000


@pytest.mark.parametrize("gflops", [0.00072192, 0.5, 15.1])
def test_one_point_has_an_axis_around_it(tmp_path, gflops):
    with over_gflops(tmp_path / "cost.png", "AP", "a teacher") as axes:
        draw_line(axes, [gflops], [50], [(40, 60)], ["HR"], fmt="s", label="teacher")
    low, high = axes.get_xlim()
    assert low < 0.7 * gflops and 1.4 * gflops < high
    assert any(low < x < high for x in (*axes.get_xticks(), *axes.get_xticks(minor=True)))


def _left_px(artist, point):
    """The x of a line's point, or of an interval, on the figure."""
    x = artist.get_xdata()[point] if hasattr(artist, "get_xdata") else artist.get_segments()[point][0][0]
    return artist.get_transform().transform((x, 0))[0]
