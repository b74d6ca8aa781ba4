"""Classifying image files: sizes, what is remembered, what cannot be used."""

from mhkd.errors import InputError
from mhkd.slide_classification.images import classify_images, find_images, row_of

import numpy as np
import pytest
from bright_classifier import bright_classifier
from PIL import Image


def write(path, level, size=(40, 24)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, level, level)).save(path)
    return str(path)


def test_probabilities_and_what_is_remembered(tmp_path):
    paths = [write(tmp_path / "in" / "a.png", 51), write(tmp_path / "in" / "b.png", 204)]
    first = bright_classifier()
    said = classify_images(paths, tmp_path / "out", first)
    assert said.probabilities[paths[0]] == pytest.approx([0.8, 0.2])
    assert said.probabilities[paths[1]] == pytest.approx([0.2, 0.8])
    assert first.network.sizes == [(20, 12)] * 2 and not said.errors

    paths.append(write(tmp_path / "in" / "c.png", 255))
    again = bright_classifier()
    assert list(classify_images(paths, tmp_path / "out", again).probabilities) == paths
    assert again.network.looked == 1  # the new one alone
    other = bright_classifier(checksum="another")
    classify_images(paths, tmp_path / "out", other)
    assert other.network.looked == 3


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({}, (20, 12)),
        ({"are_lr": True}, (40, 24)),
        ({"image_mpp": 2.0}, (10, 6)),  # 8 um per LR pixel
        ({"image_mpp": 3.0}, (15, 9)),
    ],
)
def test_resolution(tmp_path, given, size):
    classifier = bright_classifier()
    classify_images([write(tmp_path / "a.png", 9)], tmp_path / "out", classifier, **given)
    assert classifier.network.sizes == [size]


def test_what_cannot_be_used_is_said_and_the_others_are_told(tmp_path):
    good, small = write(tmp_path / "a.png", 99), write(tmp_path / "b.png", 99, (1, 1))
    damaged = tmp_path / "c.png"
    damaged.write_bytes(b"nothing")
    said = classify_images([good, small, str(damaged)], tmp_path / "out", bright_classifier())
    assert list(said.probabilities) == [good]
    assert "1x1 px, less than one at low resolution" in said.errors[small]
    assert "c.png" in said.errors[str(damaged)]
    (enlarged,) = classify_images(
        [good], tmp_path / "out", bright_classifier(), image_mpp=1e9
    ).errors.values()
    assert "more than 16384 along a side" in enlarged and "correct --image-mpp" in enlarged
    with pytest.raises(InputError, match="--student-mpp, or leave --image-mpp out"):
        classify_images([good], tmp_path / "out", bright_classifier(lr_mpp=0.0), image_mpp=1.0)


def test_folders_are_searched(tmp_path):
    inside = [write(tmp_path / "in" / name, 1) for name in ("b.JPG", "deep/a.png")]
    (tmp_path / "in" / "notes.txt").write_text("no image")
    write(tmp_path / "in" / ".hidden.png", 1)
    assert find_images([str(tmp_path / "in"), inside[0]]) == inside
    (tmp_path / "empty").mkdir()
    for path, message in (("empty", "no image"), ("gone", "there is no such file")):
        with pytest.raises(InputError, match=message):
            find_images([str(tmp_path / path)])


def test_what_may_be_a_slide_is_no_image_unless_it_is_said(tmp_path):
    path = tmp_path / "slide.svs"
    path.touch()
    with pytest.raises(InputError, match="slide.svs: may be a slide.*--mode section.*--grade"):
        find_images([str(path)], any_named=False)
    assert find_images([str(path)]) == [str(path)]


def test_a_row_has_the_most_probable_class():
    assert row_of("a.png", ("x", "y"), [0.25, 0.75]) == ["a.png", "y", 0.75, 0.25, 0.75]
    assert np.argmax([0.5, 0.5]) == 0 and row_of("a", ("x", "y"), [0.5, 0.5])[1] == "x"
