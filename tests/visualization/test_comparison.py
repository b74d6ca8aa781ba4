from mhkd.data.registrar import ensure_registered
from mhkd.palette import FALSE_POSITIVE, FOUND, MISSED
from mhkd.visualization.comparison import PANEL_PX, draw_regions

import numpy as np
from PIL import Image, ImageColor


def test_each_panel_has_its_whole_legend_however_long_its_title(disks_root, tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(disks_root))
    ensure_registered(["disks_val"])
    title = "native, half as wide, what the teacher's features give at a falling weight"
    path = draw_regions("disks_val", {f"{title} {k}": [] for k in range(4)}, tmp_path / "regions.png", 4)
    picture = np.asarray(Image.open(path))
    gap, line = 8, 24
    height = (len(picture) - line) // 2 - 2 * line - gap
    for k in range(1, 5):  # three in a row, after the annotated one
        x, y = gap + k % 3 * (PANEL_PX + gap), line + k // 3 * (height + 2 * line + gap)
        strip = picture[y : y + 2 * line, x : x + PANEL_PX]
        for color in (FOUND, FALSE_POSITIVE, MISSED):
            assert (strip == ImageColor.getrgb(color)).all(axis=-1).sum() > 100
