import inspect

import mhkd  # noqa: F401  (before Detectron2)

import detectron2
import numpy as np
from detectron2.utils.visualizer import Visualizer

# isort: split
from mhkd.palette import FALSE_POSITIVE
from mhkd.visualization.panel import draw_panel


def test_what_the_visualizer_keeps_to_itself():
    """Private to Detectron2 0.6: another version must be read before this one is raised."""
    assert detectron2.__version__ == "0.6"
    assert "self._default_font_size / 4" in inspect.getsource(Visualizer.draw_box)
    visualizer = Visualizer(np.zeros((8, 8, 3), np.uint8))
    assert visualizer._default_font_size > 0
    assert np.allclose(visualizer._change_color_brightness("#ff0000", brightness_factor=0.5), (1, 0.5, 0.5))


def test_a_mark_is_where_its_box_is_and_its_label_above():
    image = np.full((50, 100, 3), 128, np.uint8)
    panel = draw_panel(image, (400, 200), [(np.array([25, 20, 75, 45]), FALSE_POSITIVE, "glomerulus")], 4.0)
    assert panel.shape == (200, 400, 3)
    drawn = np.argwhere((panel != 128).any(axis=-1))
    box = np.argwhere(np.abs(panel.astype(int) - (255, 42, 26)).max(axis=-1) < 20)
    assert np.abs(box.min(axis=0) - (80, 100)).max() <= 3 and np.abs(box.max(axis=0) - (180, 300)).max() <= 3
    assert 80 - 22 < drawn[:, 0].min() < 80 - 8
    assert (panel[100:160, 120:280] == 128).all()
