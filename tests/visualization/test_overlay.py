from pathlib import Path

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.visualization.overlay import draw_overlay, draw_pair, write_overlays

import cv2
import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from detectron2.structures import Boxes, BoxMode, Instances
from PIL import Image

RED, YELLOW, BLUE, LIGHT_BLUE = (255, 42, 26), (255, 213, 0), (31, 95, 255), (0, 200, 255)


def found(boxes, scores, classes=None, size=(256, 256)):
    result = Instances(size)
    result.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    result.scores = torch.tensor(scores, dtype=torch.float32)
    result.pred_classes = torch.tensor(classes or [0] * len(scores), dtype=torch.int64)
    return result


def annotated(*boxes_xyxy, **more):
    return [
        {"bbox": list(box), "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0, **more} for box in boxes_xyxy
    ]


def is_near(image, x, y, color):
    """The colour occurs within a line's width of the point."""
    patch = image[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).astype(int)
    return bool((np.abs(patch - color).max(axis=1) < 20).any())


def has_color(image, color):
    return bool((np.abs(image.astype(int) - color).max(axis=-1) < 3).any())


HIT, FALSE, MISSED = (40, 40, 80, 80), (120, 40, 160, 80), (40, 140, 80, 180)


@pytest.mark.parametrize("form", ["polygon", "rle"])
def test_outlines_are_drawn_where_masks_are_found(form):
    image = np.full((256, 256, 3), 128, np.uint8)
    detections = found([HIT], [0.9])
    detections.pred_masks = torch.zeros(1, 256, 256, dtype=torch.bool)
    detections.pred_masks[0, 50:70, 45:75] = True
    polygon = [[60, 50, 70, 60, 60, 70, 50, 60]]
    outline = polygon if form == "polygon" else mask_util.merge(mask_util.frPyObjects(polygon, 256, 256))
    annotations = annotated(HIT, segmentation=outline)
    picture = draw_overlay(image, detections, annotations, ["glomerulus"])
    assert is_near(picture, 3 * 60, 3 * 50, BLUE) and is_near(picture, 3 * 45, 3 * 60, BLUE)
    assert tuple(picture[3 * 60, 3 * 60]) == (128, 128, 128)
    both = draw_pair(image, image, detections, annotations, ["glomerulus"])
    hr = both[-768 - 8 : -8, :768]
    assert is_near(hr, 3 * 55, 3 * 55, BLUE) and not is_near(hr, 3 * 45, 3 * 60, BLUE)
    detections.remove("pred_masks")
    without = draw_overlay(image, detections, annotations, ["glomerulus"])
    assert not is_near(without, 3 * 45, 3 * 60, BLUE)


def test_overlay_colours_and_enlargement():
    image = np.full((256, 256, 3), 128, np.uint8)
    picture = draw_overlay(image, found([HIT, FALSE], [0.9, 0.8]), annotated(HIT, MISSED), ["glomerulus"])
    assert picture.shape == (768, 768, 3) and picture.dtype == np.uint8  # 3 x
    for box, color in ((HIT, BLUE), (FALSE, RED), (MISSED, YELLOW)):
        right_edge = (3 * box[2], 3 * (box[1] + box[3]) // 2)
        assert is_near(picture, *right_edge, color)
    assert tuple(picture[3 * 60, 3 * 60]) == (128, 128, 128)  # nothing drawn on the tissue


def test_another_class_has_a_colour_of_its_own_on_both_sides():
    """Scores count it twice; a picture shows that it is one glomerulus."""
    image = np.full((256, 256, 3), 128, np.uint8)
    names = ["normal", "sclerotic"]
    picture = draw_overlay(image, found([HIT, FALSE], [0.9, 0.8], [1, 0]), annotated(HIT, MISSED), names)
    for box, color in ((HIT, LIGHT_BLUE), (FALSE, RED), (MISSED, YELLOW)):
        assert is_near(picture, 3 * box[2], 3 * (box[1] + box[3]) // 2, color)
    pair = draw_pair(image, image[::4, ::4], found([HIT], [0.9], [1]), annotated(HIT), names)
    assert not has_color(pair[60:], BLUE) and not has_color(pair[60:], YELLOW)
    assert all(has_color(half, LIGHT_BLUE) for half in (pair[60:, :768], pair[60:, -768:]))


def test_overlay_leaves_out_low_scores():
    image = np.full((256, 256, 3), 128, np.uint8)
    picture = draw_overlay(image, found([HIT], [0.4]), annotated(HIT), ["glomerulus"], 0.5)
    assert has_color(picture, YELLOW)
    assert not has_color(picture, BLUE)
    picture = draw_overlay(image, found([HIT], [0.4]), annotated(HIT), ["glomerulus"], 0.3)
    assert has_color(picture, BLUE)
    assert not has_color(picture, YELLOW)


def test_overlay_of_nothing_is_the_image():
    image = np.random.default_rng(0).integers(0, 255, (800, 900, 3), dtype=np.uint8)
    assert np.array_equal(draw_overlay(image, found([], []), [], ["glomerulus"]), image)


def test_crowd_is_not_drawn_as_missed_or_false():
    image = np.full((256, 256, 3), 128, np.uint8)
    crowd = annotated((20, 20, 200, 200), iscrowd=1)
    picture = draw_overlay(image, found([HIT], [0.9]), crowd, ["glomerulus"])
    assert not any(has_color(picture, color) for color in (RED, YELLOW, BLUE))


def test_pair_has_hr_left_and_lr_right_with_the_same_colours():
    hr = np.full((256, 256, 3), 200, np.uint8)
    lr = np.full((64, 64, 3), 100, np.uint8)
    shifted = (44, 40, 84, 80)  # IoU 36/44 with the annotated box
    picture = draw_pair(hr, lr, found([shifted, FALSE], [0.9, 0.8]), annotated(HIT, MISSED), ["glomerulus"])
    strip = picture.shape[0] - 768 - 8
    assert 30 < strip < 100
    left, right = picture[strip:-8, :768], picture[strip:-8, -768:]
    assert tuple(left[600, 600]) == (200, 200, 200)
    assert tuple(right[600, 600]) == (100, 100, 100)
    for panel in (left, right):
        assert is_near(panel, 3 * FALSE[2], 180, RED)
        assert is_near(panel, 3 * MISSED[2], 480, YELLOW)
    assert is_near(left, 3 * HIT[2], 180, BLUE)  # the annotated box
    assert is_near(right, 3 * shifted[2], 180, BLUE)  # the detected one
    assert not is_near(right, 3 * HIT[2], 180, BLUE)


def test_pair_of_a_narrow_image_has_room_for_its_text():
    hr = np.zeros((400, 40, 3), np.uint8)
    picture = draw_pair(hr, hr[::4, ::4], found([], []), [], ["glomerulus"], title="a")
    assert picture.shape[1] > 300  # two panels of 77 px


def dataset(tmp_path, sizes=((100, 130),) * 6, annotated_images=(1, 2, 4)):
    entries = []
    for k, (height, width) in enumerate(sizes):
        path = tmp_path / f"region.{k}.png"
        Image.fromarray(np.full((height, width, 3), 40 * k, np.uint8)).save(path)
        entries.append(
            {
                "file_name": str(path),
                "image_id": 10 + k,
                "height": height,
                "width": width,
                "annotations": annotated((10, 10, 40, 40)) if k in annotated_images else [],
            }
        )
    return entries


def read_view(entry, view, lr_factor, lr_filter):
    image = np.asarray(Image.open(entry["file_name"]))
    h, w = (n // lr_factor for n in image.shape[:2])
    image = image[: h * lr_factor, : w * lr_factor]
    return image if view == "hr" else cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)


def detects(entry):
    return found([(10, 10, 40, 40)], [0.9])


@pytest.mark.slow
def test_write_overlays(tmp_path):
    entries = dataset(tmp_path)
    out_dir = tmp_path / "new" / "overlays"
    paths = write_overlays(detects, entries, ["glomerulus"], out_dir, read_view, 4)
    assert [p.name for p in paths] == [f"region.{k}_{10 + k}.png" for k in range(6)]
    assert sorted(out_dir.iterdir()) == sorted(paths)  # and nothing half written
    pictures = [np.asarray(Image.open(p)) for p in paths]
    annotated_ones = [has_color(p[60:], BLUE) for p in pictures]  # below the legend
    assert annotated_ones == [k in (1, 2, 4) for k in range(6)]
    assert tuple(pictures[5][600, 700]) == (200, 200, 200)


@pytest.mark.parametrize(
    "limit,expected",
    [(1, [11]), (2, [11, 12]), (3, [11, 12, 14]), (4, [10, 11, 12, 14]), (99, [*range(10, 16)])],
)
@pytest.mark.slow
def test_limit_prefers_annotated_images(tmp_path, limit, expected):
    paths = write_overlays(
        detects, dataset(tmp_path), ["glomerulus"], tmp_path / "o", read_view, 4, limit=limit
    )
    assert [int(Path(p).stem.split("_")[-1]) for p in paths] == expected


def test_limit_spreads_over_the_dataset(tmp_path):
    entries = dataset(tmp_path, annotated_images=range(6))
    paths = write_overlays(detects, entries, ["glomerulus"], tmp_path / "o", read_view, 4, limit=3)
    assert [p.stem for p in paths] == ["region.0_10", "region.2_12", "region.4_14"]
