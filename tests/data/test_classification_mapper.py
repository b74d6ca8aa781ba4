"""Both views of an image with a class, of one draw, each at its own size; and its pixels' mean."""

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.data.augmentation import Augmentation, Colour
from mhkd.data.classification_mapper import ClassificationMapper
from mhkd.data.pixel_statistics import pixel_statistics
from mhkd.data.semi_supervised import Unlabeled
from mhkd.slides.views import downsample

import numpy as np
import pytest
import torch
from PIL import Image

VARIED = Augmentation(
    scale=(0.8, 1.3), quarter_turns=True, stain=(0.8, 1.2), saturation=(0.5, 1.5), brightness=20,
    contrast=(0.7, 1.3), hue=30, blur_px=1,
)  # fmt: skip


def entry(tmp_path, width=39, height=26, pixels=None, **more):
    path = str(tmp_path / f"{width}x{height}.png")
    if pixels is None:
        pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return {"file_name": path, "image_id": 1, "width": width, "height": height, "label": 2, **more}


def pixels_of(tensor):
    return np.ascontiguousarray(tensor.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("lr_filter", ["area", "lanczos"])
@pytest.mark.parametrize("size", [(39, 26), (26, 39), (8, 8)])
def test_lr_is_the_varied_hr_made_small(tmp_path, size, lr_filter):
    """Whatever is drawn: sizes need not be multiples of the factor, and differ from image to image."""
    mapper = ClassificationMapper(is_train=True, lr_factor=4, lr_filter=lr_filter, augmentation=VARIED)
    seen = set()
    for seed in range(12):
        np.random.seed(seed)
        found = mapper(entry(tmp_path, *size))
        hr, lr = found["image"], found["image_lr"]
        assert hr.dtype == lr.dtype == torch.uint8
        assert sorted(hr.shape[1:]) == sorted(n // 4 * 4 for n in size)
        np.testing.assert_array_equal(pixels_of(lr), downsample(pixels_of(hr), 4, lr_filter))
        assert (found["height"], found["width"]) == tuple(hr.shape[1:]) and found["label"] == 2
        seen.add(hr.numpy().tobytes())
    assert len(seen) == 12


def test_a_real_lr_image_is_turned_and_recoloured_alike(tmp_path):
    rng = np.random.default_rng(2)
    lr_pixels = rng.integers(0, 256, (6, 9, 3)).astype(np.uint8)
    Image.fromarray(lr_pixels).save(tmp_path / "lr.png")
    hr_pixels = lr_pixels.repeat(4, 0).repeat(4, 1)
    one = entry(tmp_path, 36, 24, hr_pixels, lr_file_name=str(tmp_path / "lr.png"))
    augmentation = Augmentation(quarter_turns=True, contrast=(0.5, 1.5), hue=90, brightness=30)
    mapper = ClassificationMapper(is_train=True, lr_factor=4, augmentation=augmentation)
    for seed in range(8):
        np.random.seed(seed)
        found = mapper(one)
        np.testing.assert_array_equal(
            pixels_of(found["image_lr"]).repeat(4, 0).repeat(4, 1), pixels_of(found["image"])
        )


def test_in_evaluation_it_is_the_view_as_it_is(tmp_path):
    one = entry(tmp_path)
    hr = np.asarray(Image.open(one["file_name"]))[:24, :36]
    for view, image_format, expected in (
        ("hr", "RGB", hr),
        ("lr", "BGR", downsample(hr.copy(), 4)[..., ::-1]),
    ):
        found = ClassificationMapper(is_train=False, view=view, image_format=image_format)(one)
        np.testing.assert_array_equal(pixels_of(found["image"]), expected)
        assert (found["height"], found["width"]) == expected.shape[:2]
        assert "image_lr" not in found and found["label"] == 2


def test_unlabelled_images_have_no_label(tmp_path):
    [hidden] = list(Unlabeled([entry(tmp_path)]))
    assert "label" not in hidden
    found = ClassificationMapper(is_train=True, lr_factor=2)({**entry(tmp_path), "unlabeled": True})
    assert "label" not in found and found["image_lr"].shape == (3, 13, 19)


def test_contrast_and_hue_by_hand():
    pixels = np.array([[[100, 100, 100], [200, 40, 0]]], np.uint8)
    plain = {"gain": (1.0, 1.0, 1.0), "saturation": 1.0, "shift": 0.0}
    half = Colour(**plain, contrast=0.5).apply(pixels)
    assert half.tolist() == [[[114, 114, 114], [164, 84, 64]]]  # 127.5 + (100 - 127.5) / 2 = 113.75
    # A third of the circle: red becomes green, green blue, blue red.
    assert Colour(**plain, hue=120.0).apply(pixels).tolist() == [[[100, 100, 100], [0, 200, 40]]]
    assert Colour(**plain, hue=-120.0).apply(pixels).tolist() == [[[100, 100, 100], [40, 0, 200]]]


def test_what_is_not_varied_is_not_drawn():
    """Trainings from before contrast and hue draw what they drew."""
    states = []
    for augmentation in (
        Augmentation(stain=(0.9, 1.1)),
        Augmentation(stain=(0.9, 1.1), contrast=(1, 1), hue=0),
    ):
        np.random.seed(3)
        augmentation.draw_colour()
        states.append(np.random.rand())
    np.random.seed(3)
    np.random.uniform(size=3)  # stain, shift, saturation
    assert states == [np.random.rand()] * 2


def test_mean_and_deviation_of_pixels(tmp_path):
    """Two images whose red is 0, 0, 10, 30 and 20, 60, 20, 60."""
    first = np.zeros((2, 2, 3), np.uint8)
    first[1] = [[10, 1, 2], [30, 1, 2]]
    second = np.array([[[20, 1, 2], [60, 1, 2]]] * 2, np.uint8)
    entries = [entry(tmp_path, 2, 2, first), entry(tmp_path, 2, 2, second)]
    entries[0] = {**entries[0], "file_name": str(tmp_path / "first.png")}
    Image.fromarray(first).save(tmp_path / "first.png")
    values = np.concatenate([first.reshape(-1, 3), second.reshape(-1, 3)]).astype(float)
    for image_format, order in (("RGB", 1), ("BGR", -1)):
        mean, deviation = pixel_statistics(entries, 2, image_format)
        assert mean == pytest.approx(values.mean(0)[::order].tolist())
        assert deviation == pytest.approx(values.std(0)[::order].tolist())
    assert mean[2] == pytest.approx(25)  # (0 + 0 + 10 + 30 + 20 + 60 + 20 + 60) / 8
