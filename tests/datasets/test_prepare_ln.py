"""Slides of the five classes, annotated with three tools, upright and lying."""

import importlib.util
import json

from mhkd.data import check_dataset, read_view, register_folders
from mhkd.errors import InputError

import cv2
import numpy as np
import pytest
import pyvips
from annotations import writers
from click.testing import CliRunner
from detectron2.data import MetadataCatalog
from shapely.geometry import Point
from support import REPO

spec = importlib.util.spec_from_file_location("prepare_ln", REPO / "datasets/prepare_ln.py")
prepare_ln = importlib.util.module_from_spec(spec)
spec.loader.exec_module(prepare_ln)

STAIN, PURPLE = (225, 170, 205), (120, 30, 140)
# name -> (size, mpp, writer of its annotations, {class: circle})
SLIDES = {
    "P1_a": ((3456, 900), 2.0, "qupath", {"Slight": (500, 400, 45), "Severe": (3000, 700, 60)}),
    "P1_b": ((1152, 1536), 2.0, "aperio", {"Fibrosis": (600, 900, 50)}),  # upright
    "P2_a": ((2304, 768), 4.0, "asap", {"Incomplete": (300, 300, 40), "GS": (900, 90, 30)}),
}
SUFFIX = {"qupath": ".geojson", "aperio": ".xml", "asap": ".xml"}


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ln")
    (folder / "annotations").mkdir()
    for name, (size, mpp, tool, circles) in SLIDES.items():
        rgb = np.full((size[1], size[0], 3), STAIN, np.uint8)
        for x, y, r in circles.values():
            cv2.circle(rgb, (x, y), r, PURPLE, -1)
        image = pyvips.Image.new_from_array(rgb).copy(interpretation="srgb", xres=1000 / mpp, yres=1000 / mpp)
        image.tiffsave(
            str(folder / f"{name}.tiff"), tile=True, pyramid=True, compression="deflate", resunit="cm"
        )
        shapes = [(Point(x, y).buffer(r), c) for c, (x, y, r) in circles.items()]
        getattr(writers, tool)(folder / "annotations" / (name + SUFFIX[tool]), shapes)
    return folder


@pytest.fixture(scope="module")
def prepared(slides, tmp_path_factory):
    out = tmp_path_factory.mktemp("root") / "ln"
    arguments = [str(slides), "--annotations", str(slides / "annotations"), "--out", str(out)]
    arguments += ["--class", "GS=Uncertain", "--patient-pattern", "(?P<patient>P[0-9]+)_"]
    result = CliRunner().invoke(prepare_ln.main, [*arguments, "--split", "train=0.5,val=0.5"])
    assert result.exit_code == 0, result.output
    register_folders(str(out.parent))
    return {e["slide"]: e for s in ("train", "val") for e in check_dataset(f"ln_{s}")}


@pytest.mark.slow
def test_every_slide_is_one_image_and_patients_stay_together(prepared):
    assert set(prepared) == set(SLIDES)
    assert MetadataCatalog.get("ln_train").thing_classes == list(prepare_ln.CLASSES)
    folders = {s: e["file_name"].rpartition("/images/")[0] for s, e in prepared.items()}
    splits = {}
    for split in ("train", "val"):
        with open(f"{folders['P1_a']}/annotations_{split}.json") as f:
            splits[split] = {image["slide"] for image in json.load(f)["images"]}
    assert sorted(map(sorted, splits.values())) == [["P1_a", "P1_b"], ["P2_a"]]


@pytest.mark.parametrize("name", SLIDES)
def test_slide_keeps_its_proportions_and_the_rest_is_white(prepared, name):
    (width, height), mpp, _, circles = SLIDES[name]
    entry = prepared[name]
    # base pixels per HR pixel: 3456 / 2304 = 1.5; upright, 1152 / 768 = 1.5; 1
    size = (768, 2304) if name == "P1_b" else (2304, 768)
    scale = max(width / size[0], height / size[1])
    assert entry["mpp"] == pytest.approx(scale * mpp)
    hr, lr = read_view(entry, "hr", 3), read_view(entry, "lr", 3)
    assert hr.shape == (size[1], size[0], 3) and lr.shape == (size[1] // 3, size[0] // 3, 3)
    assert (hr[int(height / scale) + 2 :] == 255).all()
    assert (hr[:, int(width / scale) + 2 :] == 255).all()
    np.testing.assert_allclose(hr[5, 5], STAIN, atol=2)
    assert len(entry["annotations"]) == len(circles)
    for annotation in entry["annotations"]:
        label = prepare_ln.CLASSES[annotation["category_id"]]
        x, y, r = circles["GS" if label == "Uncertain" else label]
        expected = np.array([x - r, y - r, 2 * r, 2 * r]) / scale
        np.testing.assert_allclose(annotation["bbox"], expected, atol=1)
        np.testing.assert_allclose(hr[int(y / scale), int(x / scale)], PURPLE, atol=2)
        np.testing.assert_allclose(lr[int(y / scale / 3), int(x / scale / 3)], PURPLE, atol=2)


def test_unknown_classes_and_unreadable_slides_are_reported(slides, tmp_path):
    (tmp_path / "notes.svs").write_text("not a slide")
    arguments = [str(slides), str(tmp_path / "notes.svs"), "--tiles", "regions"]
    arguments += ["--annotations", str(slides / "annotations"), "--out", str(tmp_path / "ln")]
    arguments += ["--split", "train=0.5,val=0.5"]
    result = CliRunner().invoke(prepare_ln.main, arguments)
    assert result.exit_code == 1
    assert "skipped" in result.output and "notes.svs" in result.output
    assert "'GS'" in result.output
    strict = CliRunner().invoke(prepare_ln.main, [*arguments, "--strict"])
    assert strict.exit_code == 1 and "--strict" in strict.output


def test_slides_without_resolution_need_one(slides, tmp_path):
    image = pyvips.Image.black(300, 100, bands=3).copy(interpretation="srgb")
    image.tiffsave(str(tmp_path / "a.tiff"), tile=True)
    writers.qupath(tmp_path / "a.geojson", [(Point(50, 50).buffer(20), "Slight")])
    slide, out = str(tmp_path / "a.tiff"), str(tmp_path / "ln")
    options = dict.fromkeys(
        ("annotations", "class_map", "folds", "split_csv", "patient_pattern", "slide_mpp",
         "point_diameter_um")
    )  # fmt: skip
    with pytest.raises(InputError, match="--slide-mpp"):
        prepare_ln.prepare([slide], out, **options, pairs=(), split="train=1", seed=0, tiles="png")
