"""YOLO's labels by hand, and a dataset of images that is labelled in them."""

from mhkd.annotations import find_annotations, read_annotations
from mhkd.annotations.folders import find_slides, unused
from mhkd.errors import InputError

import numpy as np
import pytest
from PIL import Image

LIST, MAP = "names: [normal, sclerotic]\nnc: 2\n", "names:\n  0: normal\n  1: sclerotic\n"
BOX = "1 0.5 0.25 0.2 0.1\n"


@pytest.fixture
def labels(tmp_path):
    """labels/train/a.txt of a dataset whose data.yaml is two folders above."""
    (tmp_path / "data.yaml").write_text(LIST)
    (tmp_path / "labels" / "train").mkdir(parents=True)
    return tmp_path / "labels" / "train" / "a.txt"


@pytest.mark.parametrize("names", [LIST, MAP])
def test_boxes_and_outlines(labels, names):
    labels.parents[2].joinpath("data.yaml").write_text(names)
    labels.write_text(BOX + "\n0 0.1 0.1 0.3 0.1 0.3 0.5\n")
    found = read_annotations(labels, size_px=(1000, 400))
    assert found.format == "YOLO labels" and [a.name for a in found] == ["sclerotic", "normal"]
    boxes = [(400, 80, 600, 120), (100, 40, 300, 200)]
    np.testing.assert_allclose([a.geometry.bounds for a in found], boxes, atol=1e-9)
    assert found.annotations[1].geometry.area == pytest.approx(200 * 160 / 2)


def test_an_empty_file_is_an_image_without_objects(labels):
    labels.write_text("")
    assert not len(read_annotations(labels, size_px=(1000, 400)))
    assert find_annotations("a.png", labels.parent) == str(labels)
    labels.parents[2].joinpath("data.yaml").unlink()
    with pytest.raises(InputError, match="there is no data.yaml"):
        read_annotations(labels, size_px=(1000, 400))


@pytest.mark.parametrize(
    "content, names, fault",
    [
        (BOX, None, "numbers its classes, and there is no data.yaml"),
        (BOX, "names: [normal]", r"line 1 has the class 1, and .*data.yaml names 0"),
        (BOX + "0.5 0.5 0.2 0.1 0.1", LIST, "line 2 has the class 0.5"),
        (BOX + "x 0.5 0.2 0.1 0.1", LIST, r"line 2 is no row of numbers \(x 0.5"),
        (BOX + "0 0.5 0.2 0.1 0.1 0.9", LIST, "line 2 has 6 numbers"),
        (BOX + "0 0.5 0.2", LIST, "line 2 has 3 numbers"),
        (BOX + "0 500 200 100 100", LIST, "line 2 leaves the image"),
        (BOX + "0 nan 0.2 0.1 0.1", LIST, "line 2 leaves the image"),
        (BOX, "names: 3", "data.yaml: needs 'names'"),
        (BOX, "names: [a, [b]]", "data.yaml: needs 'names'"),
        (BOX, "names: {a: 0}", "data.yaml: needs 'names'"),
        (BOX, "names: !!python/name:os.system ''", "data.yaml: is no YAML that is safe"),
        (BOX, "", "data.yaml: the file is empty"),
    ],
)
def test_faults(labels, content, names, fault):
    labels.write_text(content)
    if names is None:
        labels.parents[2].joinpath("data.yaml").unlink()
    else:
        labels.parents[2].joinpath("data.yaml").write_text(names)
    with pytest.raises(InputError, match=fault):
        read_annotations(labels, size_px=(1000, 400))


def test_without_the_size_of_the_image(labels):
    labels.write_text(BOX)
    with pytest.raises(InputError, match="without the size"):
        read_annotations(labels)


def test_notes_are_no_labels(tmp_path):
    """Text beside a slide is taken for labels by its content only; what is used is not named."""
    (tmp_path / "data.yaml").write_text(LIST)
    (tmp_path / "a.txt").write_text("scanned in 2019\n1 2 3 4 5\n")
    (tmp_path / "a.geojson").write_text("[]")
    assert find_annotations(tmp_path / "a.tif").endswith("a.geojson")
    Image.new("RGB", (64, 64)).save(tmp_path / "b.tif")
    (tmp_path / "b.txt").write_text(BOX)
    slides, others = find_slides([str(tmp_path)])
    labels = find_annotations(slides[0])
    assert labels.endswith("b.txt")
    left = unused(others, slides, {slides[0]: labels})
    assert [u.path.rsplit("/")[-1] for u in left] == ["a.geojson", "a.txt"]
