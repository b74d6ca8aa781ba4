"""`mhkd tile` of images with annotations of computer vision's tools, and of DICOM slides."""

import io
import json

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.slides.images import read_rgb

import numpy as np
import pytest
from dicom_slide import write_level
from PIL import Image
from tiled_slides import DISKS, RADIUS, SIZE_PX, circle, run, write_slide

ALL = ["--split", "train=1"]


@pytest.fixture
def slides(tmp_path):
    folder = tmp_path / "slides"
    folder.mkdir()
    for name in ("a", "b"):
        write_slide(folder, name)
        (folder / f"{name}.geojson").rename(tmp_path / f"{name}.geojson")
    return folder


@pytest.fixture
def expected(slides, tmp_path):
    """The dataset with the outlines of QuPath."""
    run(slides, tmp_path / "qupath_set", *ALL, "--annotations", str(tmp_path))
    return boxes(tmp_path / "qupath_set")


def boxes(out):
    """Class and box of every object, in order."""
    content = json.loads((out / "annotations_train.json").read_text())
    names = {c["id"]: c["name"] for c in content["categories"]}
    return sorted([names[a["category_id"]], *a["bbox"]] for a in content["annotations"])


def check(found, expected):
    assert [b[0] for b in found] == [b[0] for b in expected]
    for one, other in zip(found, expected):
        assert one[1:] == pytest.approx(other[1:], abs=0.1)


@pytest.mark.slow
def test_yolo_labels_and_other_names_for_their_classes(slides, expected, tmp_path):
    labels = tmp_path / "labels"
    labels.mkdir()
    width, height = SIZE_PX
    [(x, y)], [cut] = DISKS["normal"], DISKS["sclerotic"]
    outline = " ".join(f"{x / width} {y / height}" for x, y in circle(*cut))
    box = f"{x / width} {y / height} {2 * RADIUS / width} {2 * RADIUS / height}"
    for name in ("a", "b"):
        (labels / f"{name}.txt").write_text(f"0 {box}\n1 {outline}\n")
    names = labels / "data.yaml"
    names.write_text("names: [normal, sclerotic]")
    printed = run(slides, tmp_path / "yolo_set", *ALL, "--annotations", str(labels))
    check(boxes(tmp_path / "yolo_set"), expected)
    assert "not used" not in printed

    names.write_text("names: [open, closed]")
    run(slides, tmp_path / "yolo_set", *ALL, "--annotations", str(labels))
    assert {b[0] for b in boxes(tmp_path / "yolo_set")} == {"open", "closed"}

    names.unlink()
    printed = run(slides, tmp_path / "none_set", *ALL, "--annotations", str(labels), exit_code=2)
    assert "a.txt: numbers its classes, and there is no data.yaml" in printed


@pytest.mark.slow
def test_one_file_of_hubmap_for_all_images(slides, expected, tmp_path):
    objects = [
        {"type": name, "coordinates": [circle(x, y)]} for name, places in DISKS.items() for x, y in places
    ]
    annotations = tmp_path / "polygons"
    annotations.mkdir()
    lines = [json.dumps({"id": name, "annotations": objects}) + "\n" for name in ("a", "b", "c")]
    (annotations / "polygons.jsonl").write_text("".join(lines))
    run(slides, tmp_path / "hubmap_set", *ALL, "--annotations", str(annotations))
    check(boxes(tmp_path / "hubmap_set"), expected)

    (annotations / "polygons.jsonl").write_text(lines[0] + lines[1][:50])
    printed = run(
        slides, tmp_path / "cut_set", *ALL, "--annotations", str(annotations / "polygons.jsonl"), exit_code=2
    )
    assert "polygons.jsonl: line 2: is no valid JSON, or cut short" in printed


@pytest.mark.slow
def test_a_dicom_slide_becomes_the_same_tiles(slides, expected, tmp_path):
    folder = tmp_path / "dicom"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        pixels = np.pad(read_rgb(slides / f"{name}.tiff"), ((0, 112), (0, 168), (0, 0)))
        frames = []
        for y, x in np.ndindex(2, 3):
            file = io.BytesIO()
            Image.fromarray(pixels[y * 256 :, x * 256 :][:256, :256]).save(file, "JPEG")
            frames.append(file.getvalue())
        write_level(folder / name / "0.dcm", frames, SIZE_PX, 256, (1, 1), series=ord(name))
        (tmp_path / f"{name}.geojson").rename(folder / f"{name}.geojson")
    run(folder, tmp_path / "dicom_set", *ALL)
    check(boxes(tmp_path / "dicom_set"), expected)
    first = json.loads((tmp_path / "dicom_set" / "annotations_train.json").read_text())["images"][0]
    assert (first["region"]["slide_file"], first["slide"]) == ("../dicom/a", "a")
