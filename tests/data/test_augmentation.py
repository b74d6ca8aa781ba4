"""INPUT.AUG: one draw for both views, boxes that stay on their objects."""

from mhkd.data.augmentation import Augmentation, Colour, TransposeTransform
from mhkd.data.mapper import PairedResolutionMapper
from mhkd.enlarge import upsample
from mhkd.errors import InputError
from mhkd.slides.views import downsample

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import BoxMode
from PIL import Image

EVERYTHING = Augmentation((0.7, 1.4), True, (0.75, 1.3), 0.1, (0.7, 1.4), 10, 1.0, 60)


@pytest.fixture
def entry(tmp_path):
    """A dark square at (100, 60) to (140, 120) on grey with noise."""
    pixels = np.random.default_rng(0).integers(190, 210, (200, 240, 3), np.uint8)
    pixels[60:120, 100:140] = (60, 30, 80)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    annotation = {"bbox": [100.0, 60.0, 40.0, 60.0], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0}
    return {"file_name": str(tmp_path / "a.png"), "image_id": 1, "height": 200, "width": 240,
            "annotations": [annotation]}  # fmt: skip


def mapper(augmentation, **options):
    return PairedResolutionMapper(is_train=True, lr_factor=4, augmentation=augmentation, **options)


def rgb(tensor):
    return tensor.numpy().transpose(1, 2, 0)


def test_lr_is_made_from_the_changed_hr(entry):
    map_it = mapper(EVERYTHING, crop_size_px=(96, 128))
    shapes = set()
    for seed in range(12):
        np.random.seed(seed)
        out = map_it(entry)
        hr, lr = rgb(out["image"]), rgb(out["image_lr"])
        assert np.array_equal(lr, upsample(downsample(np.ascontiguousarray(hr), 4), 4))
        shapes.add(hr.shape[:2])
    assert shapes == {(96, 128), (128, 96)}


def test_boxes_stay_on_their_objects(entry):
    """The dark pixels are where the box is, whatever the scale and the turn: to a pixel of blur."""
    map_it, seen = mapper(Augmentation((0.7, 1.4), True), crop_size_px=(160, 160)), []
    entry["annotations"] += [{**entry["annotations"][0], "iscrowd": 1}]
    for seed in range(30):
        np.random.seed(seed)
        out = map_it(entry)
        # A region to be ignored goes where an object would.
        assert torch.equal(out["ignore_boxes"].tensor, out["instances"].gt_boxes.tensor)
        dark = cv2.medianBlur(rgb(out["image"])[:, :, 0], 3) < 125
        if not len(out["instances"]):
            assert dark.sum() < 300
            continue
        x0, y0, x1, y1 = out["instances"].gt_boxes.tensor[0].numpy()
        rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
        found = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        assert found == pytest.approx((x0, y0, x1, y1), abs=1.5)
        if 2 < min(x0, y0) and max(x1, y1) < 158:  # whole
            seen.append(((x1 - x0) * (y1 - y0) / 2400) ** 0.5)
    assert 0.78 < min(seen) < 0.9 and 1.3 < max(seen) < 1.42  # 160 of 200 px: no smaller than 0.8


def test_a_real_lr_image_is_turned_and_recoloured_but_keeps_its_pixels(entry, tmp_path):
    hr = np.asarray(Image.open(entry["file_name"]))
    Image.fromarray(downsample(hr, 4)).save(tmp_path / "lr.png")
    entry["lr_file_name"] = str(tmp_path / "lr.png")
    for seed in range(8):
        np.random.seed(seed)
        out = mapper(Augmentation((0.5, 2.0), True, (0.8, 1.3), 0.1))(entry)
        assert sorted(out["image"].shape[1:]) == [200, 240]  # not scaled
        pair = (downsample(np.ascontiguousarray(rgb(out["image"])), 4), rgb(out["image_lr"])[2::4, 2::4])
        means = [p[10:40, 10:40].mean(axis=(0, 1)) for p in pair]
        assert means[0] == pytest.approx(means[1], abs=4)  # the same colours at the same place
        assert abs(means[0] - hr.mean(axis=(0, 1))).max() > 2


def test_without_augmentation_nothing_else_is_drawn(entry):
    """So that earlier trainings can be repeated: crop, crop, two flips."""
    np.random.seed(3)
    mapper(Augmentation(), crop_size_px=(96, 96))(entry)
    after = np.random.rand()
    np.random.seed(3)
    np.random.randint(27), np.random.randint(37), np.random.rand(2)
    assert np.random.rand() == after


def test_optical_density_and_saturation_by_hand():
    grey = np.full((1, 1, 3), 128, np.uint8)
    # Twice the optical density is the square of what is transmitted: 255 * (128 / 255)**2 = 64.25.
    assert Colour((2, 1, 0.5), 1, 0).apply(grey).tolist() == [[[64, 128, 181]]]
    red = np.array([[[200, 100, 100]]], np.uint8)  # its grey is 129.9
    assert Colour((1, 1, 1), 0.5, 0).apply(red).tolist() == [[[165, 115, 115]]]
    assert Colour((1, 1, 1), 1, 30).apply(red).tolist() == [[[230, 130, 130]]]
    white = np.full((1, 1, 3), 255, np.uint8)
    assert Colour((3, 2, 0.5), 1.4, 0).apply(white).tolist() == [[[255, 255, 255]]]  # glass stays glass


def test_a_turned_box():
    turned = TransposeTransform().apply_box(np.array([[1.0, 2.0, 5.0, 9.0]]))
    assert turned.tolist() == [[2, 1, 9, 5]]


@pytest.mark.parametrize("values", [
    {"scale": (1.4, 0.7)}, {"scale": (0.0, 1.0)}, {"stain": (-1.0, 1.0)}, {"stain": (1.0,)}, {"channel": 2.0},
    {"saturation": (float("nan"), 1.0)}, {"jpeg_quality": 101}, {"blur_px": -1.0},
])  # fmt: skip
def test_values_out_of_range(values):
    with pytest.raises(InputError, match=f"INPUT.AUG.{next(iter(values)).upper()}"):
        Augmentation(**values)
