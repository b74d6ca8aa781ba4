"""LabelMe's JSON by hand: shapes on the slide's pixels, or on those of a smaller image of it."""

import json

from mhkd.annotations import read_annotations
from mhkd.errors import InputError

import numpy as np
import pytest


def shape(kind, points, label="g", **more):
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


def write(path, *shapes, **other):
    content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"..\\images\\{path.stem}.png"}
    content |= {"imageData": "iVBORw0KGgo=", "imageHeight": 50, "imageWidth": 100}
    path.write_text(json.dumps(content | other))
    return path


def test_shapes(tmp_path):
    path = write(
        tmp_path / "a.json",
        shape("polygon", [[10, 10], [30, 10], [30, 20.5]], "sclerotic"),
        shape("rectangle", [[60, 40], [40, 30]], ""),
        shape("circle", [[50, 25], [53, 29]]),
        shape("oriented_rectangle", [[5, 0], [10, 5], [5, 10], [0, 5]]),
        shape("line", [[0, 0], [9, 9]]),
        shape("point", [[70, 20]]),
        shape("mask", [[1, 1], [4, 4]], mask="iVBORw0KGgo="),
    )
    found = read_annotations(path, slide_name="a", size_px=(100, 50))
    assert found.format == "LabelMe JSON"
    assert [a.name for a in found] == ["sclerotic", None, "g", "g"]
    boxes = [(10, 10, 30, 20.5), (40, 30, 60, 40), (45, 20, 55, 30), (0, 0, 10, 10)]
    np.testing.assert_allclose([a.geometry.bounds for a in found], boxes, atol=0.01)
    assert found.annotations[3].geometry.area == pytest.approx(50)
    assert found.counts == {
        "lines left out": 1,
        "points left out, since no diameter for them was given": 1,
        "shapes of the type 'mask' left out": 1,
    }


def test_an_image_of_the_slide_is_scaled_to_it(tmp_path):
    path = write(tmp_path / "a.json", shape("rectangle", [[10, 5], [20, 15]]))
    (found,) = read_annotations(path, slide_name="a", size_px=(400, 200))
    assert found.geometry.bounds == (40, 20, 80, 60)


def test_nothing_annotated(tmp_path):
    path = write(tmp_path / "a.json", imageData=None)
    assert not len(read_annotations(path, slide_name="a", size_px=(100, 50)))


@pytest.mark.parametrize(
    "shapes, other, fault",
    [
        ([], {"imageWidth": 120}, "120x50 px is not one of a slide of 100x50 px"),
        ([], {"imagePath": "b.png"}, "is of the image b.png, not of a"),
        ([], {"imageHeight": None}, "has height None"),
        (["x"], {}, "shape 1 is no shape"),
        ([shape("circle", [[50, 25]])], {}, "shape 1 has no middle"),
        ([shape("rectangle", [[50, 25]])], {}, "shape 1 has no two corners"),
        ([shape("polygon", [["x", 25]])], {}, "no numbers"),
        ([shape("polygon", None)], {}, "shape 1 has"),
        ([shape("rectangle", [[200, 0], [210, 9]])], {}, "lies on the slide"),
        ([shape("mask", [[1, 1], [4, 4]])], {}, "none of its 1 objects has an outline"),
    ],
)
def test_faults_name_the_file(tmp_path, shapes, other, fault):
    path = write(tmp_path / "a.json", *shapes, **other)
    with pytest.raises(InputError, match=fault) as error:
        read_annotations(path, slide_name="a", size_px=(100, 50))
    assert str(path) in str(error.value)
