import mhkd  # noqa: F401  (before Detectron2)

import numpy as np
from detectron2.structures import BoxMode

# isort: split
from mhkd.visualization.contact_sheet import PANEL_PX, draw_row, select_evenly, stack_rows


def rgb(color):
    return np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)])


def has(pixels, color):
    return (np.abs(pixels.astype(int) - rgb(color)).max(axis=-1) < 30).any()


def test_boxes_are_where_they_should_be_on_both_panels():
    hr, lr = np.full((96, 192, 3), 220, np.uint8), np.full((24, 48, 3), 120, np.uint8)
    annotations = [
        {"bbox": [16, 16, 40, 40], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 1},
        {"bbox": [120, 40, 40, 40], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 2},
    ]
    row = draw_row(hr, lr, annotations, {1: "normal", 2: "sclerotic"}, "one")
    assert row.shape[1] == 2 * PANEL_PX + 8
    panel_h = PANEL_PX // 2  # 192 x 96 enlarged 4 times
    top = row.shape[0] - panel_h - 8
    for left, background in ((0, 220), (PANEL_PX + 8, 120)):
        panel = row[top : top + panel_h, left : left + PANEL_PX]
        assert (panel[2:10, 2:10] == background).all()
        for (x, y), color in (((16, 16), "#0072b2"), ((120, 40), "#e69f00")):  # as everywhere else
            middle = (y + 20) * 4
            assert has(panel[middle - 4 : middle + 4, x * 4 - 4 : x * 4 + 4], color)
            assert (panel[middle, (x + 20) * 4] == background).all()


def test_rows_of_different_widths_are_stacked():
    rows = [np.zeros((10, 30, 3), np.uint8), np.full((20, 20, 3), 9, np.uint8)]
    sheet = stack_rows(rows)
    assert sheet.shape == (10 + 20 + 16, 30, 3)
    assert (sheet[:10] == 0).all() and (sheet[18:38, :20] == 9).all()
    assert (sheet[18:38, 20:] == 255).all()


def test_selection_shows_every_slide_and_class_and_one_empty_image():
    entries = [{"file_name": f"{k}", "slide": "large", "classes": ["a"]} for k in range(50)]
    entries[20]["classes"] = ["b"]
    entries += [{"file_name": "s", "slide": "small", "classes": ["a"]}]
    entries += [{"file_name": f"e{k}", "slide": f"e{k}", "classes": []} for k in range(20)]
    chosen = select_evenly(entries, 6, lambda e: e["classes"])
    assert len(chosen) == 6
    assert {"20", "s"} <= {e["file_name"] for e in chosen}
    assert sum(not e["classes"] for e in chosen) == 1
    assert chosen == [e for e in entries if e in chosen]  # in order
    assert select_evenly(entries[:3], 6, lambda e: e["classes"]) == entries[:3]
