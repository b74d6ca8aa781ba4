"""The picture of a confusion matrix."""

import mhkd  # noqa: F401
from mhkd.visualization.confusion import plot_confusion

import numpy as np
from PIL import Image


def blue(path):
    """How much of a picture is darkest blue."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return ((pixels[..., 2] > 80) & (pixels[..., 0] < 30)).mean()


def test_cells_are_coloured_by_their_share_of_the_row(tmp_path):
    right = plot_confusion(np.diag([9, 90]), ["benign", "malignant"], tmp_path / "right.png", "all right")
    mixed = plot_confusion(np.full((2, 2), 50), ["benign", "malignant"], tmp_path / "mixed.png")
    assert blue(right) > 0.2 and blue(mixed) < 0.01


def test_a_class_without_images(tmp_path):
    path = plot_confusion(np.array([[3, 0, 1], [0, 0, 0], [0, 1, 4]]), list("abc"), tmp_path / "c.png")
    assert Image.open(path).width > 300


def test_a_name_is_no_formula(tmp_path):
    path = plot_confusion(np.diag([3, 4]), [r"$\frac{$", "$"], tmp_path / "c.png")
    assert Image.open(path).width > 300


def test_a_long_title_stays_within_the_picture(tmp_path):
    title = "baseline, a third labelled, and as many without labels ×16: kidney_grade of another laboratory"
    path = plot_confusion(np.eye(2, dtype=int), ["normal", "sclerotic"], tmp_path / "long.png", title)
    picture = np.asarray(Image.open(path).convert("L"))
    assert (picture[:, -4:] == 255).all() and (picture[:30] < 128).any()
