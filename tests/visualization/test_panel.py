from mhkd.palette import FALSE_POSITIVE, FOUND, MISSED, NOT_SCORED
from mhkd.visualization.panel import DASHES_PX, draw_panel

import numpy as np
import pytest
from PIL import ImageColor


def test_a_mark_is_where_its_box_is_and_its_label_above():
    image = np.full((50, 100, 3), 128, np.uint8)
    panel = draw_panel(image, (400, 200), [(np.array([25, 20, 75, 45]), FALSE_POSITIVE, "glomerulus")], 4.0)
    assert panel.shape == (200, 400, 3)
    drawn = np.argwhere((panel != 128).any(axis=-1))
    box = np.argwhere(np.abs(panel.astype(int) - (255, 42, 26)).max(axis=-1) < 20)
    assert np.abs(box.min(axis=0) - (80, 100)).max() <= 3 and np.abs(box.max(axis=0) - (180, 300)).max() <= 3
    assert 80 - 22 < drawn[:, 0].min() < 80 - 8
    assert (panel[100:160, 120:280] == 128).all()


@pytest.mark.parametrize("color", [FOUND, FALSE_POSITIVE, MISSED, NOT_SCORED])
def test_what_is_missed_or_not_scored_is_broken_lines(color):
    """With dashes of (on, off) px, and lines of 3 px that round off either end by 1."""
    panel = draw_panel(
        np.zeros((140, 140, 3), np.uint8), (140, 140), [(np.array([10, 10, 130, 130]), color, "")], 1
    )
    drawn = (panel[10, 20:120] == ImageColor.getrgb(color)).all(axis=-1)
    on, off = DASHES_PX.get(color, (1, 0))
    assert drawn.mean() == pytest.approx(min(1, (on + 3) / (on + off)), abs=0.05)
