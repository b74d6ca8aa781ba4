"""``mhkd pair``: two scans of a slide to a dataset."""

import csv
import json

from mhkd.cli import main
from mhkd.coco.read import coco_to_dicts
from mhkd.slides.slide import open_slide
from mhkd.synthetic.render import render_slide
from mhkd.synthetic.slides import to_geojson

import numpy as np
import pytest
import shapely
from click.testing import CliRunner
from PIL import Image
from second_scan import RECOLOURED, lay, second_scan, write_scan

pytestmark = pytest.mark.slow
FACTOR, TILE = 4, 256


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Folders with both scans of the slide "a"; the outlines on the fine one, and LR to HR pixels."""
    root = tmp_path_factory.mktemp("scans")
    rgb, glomeruli = render_slide((3, 0), 1536, 1.0, num_glomeruli=5, stain="PAS")
    affine, size = lay((1536, 1536), FACTOR, shift=(0.03, -0.02), turn=3, stretch=1.01)
    for name in ("fine", "cheap"):
        (root / name).mkdir()
    write_scan(root / "fine" / "a.tiff", rgb, 1.0)
    (root / "fine" / "a.geojson").write_text(json.dumps(to_geojson(glomeruli, 0)))
    write_scan(root / "cheap" / "a.tiff", second_scan(rgb, affine, size, FACTOR, mixed=RECOLOURED), 4.0)
    return root, [outline for outline, _ in glomeruli], affine


def pair(*words, exit_code=0):
    result = CliRunner().invoke(main, ["pair", *map(str, words)])
    assert result.exit_code == exit_code, result.output
    return result.output if exit_code else result.stdout


@pytest.fixture(scope="module")
def made(scans, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "twice"
    text = pair(scans[0] / "fine", scans[0] / "cheap", "--out", out, "--tile-size-px", TILE)
    return out, text


def content_of(out):
    return json.loads((out / "annotations_train.json").read_text())


def test_lr_pixels_are_the_slides_own_and_the_sizes_fit(scans, made):
    out, _ = made
    lr = open_slide(scans[0] / "cheap" / "a.tiff")
    images = content_of(out)["images"]
    assert len(images) >= 20
    for image in images:
        x, y = (int(image["origin"][k]) for k in ("x_px", "y_px"))
        side = TILE // FACTOR
        seen = np.asarray(Image.open(out / image["lr_file_name"]))
        assert np.array_equal(seen, lr.pixels.read(1, x, y, side, side))
        assert Image.open(out / image["file_name"]).size == (TILE, TILE) == (image["width"], image["height"])
        assert image["mpp"] == 1.0 and image["slide"] == "a"


def test_hr_pixels_are_where_the_slide_was_put(scans, made):
    out, _ = made
    hr = open_slide(scans[0] / "fine" / "a.tiff")
    pixels, affine = hr.read_region(0, 0, *hr.size_px, 1.0), scans[2]
    for image in content_of(out)["images"][::4]:
        corner = [image["origin"][k] for k in ("x_px", "y_px")]
        fine = affine.copy()
        fine[:, :2] /= FACTOR
        fine[:, 2] += affine[:, :2] @ corner
        expected = second_scan(pixels, fine, (TILE, TILE), 1, white=255).astype(float)
        seen = np.asarray(Image.open(out / image["file_name"])).astype(float)
        beside = np.abs(np.roll(expected, FACTOR, 1) - expected).mean()  # one LR pixel off
        assert np.abs(seen - expected).mean() < 0.35 * beside


def test_annotations_come_along(scans, made):
    out, _ = made
    content = content_of(out)
    _, outlines, affine = scans
    back = np.linalg.inv(np.vstack([affine, [0, 0, 1]]))
    on_lr = [shapely.transform(o, lambda xy: xy @ back[:2, :2].T + back[:2, 2]) for o in outlines]
    images = {i["id"]: i for i in content["images"]}
    whole = [a for a in content["annotations"] if not a["iscrowd"]]
    assert whole
    for annotation in whole:
        origin = images[annotation["image_id"]]["origin"]
        x, y = origin["x_px"], origin["y_px"]
        tile = shapely.box(x, y, x + TILE / FACTOR, y + TILE / FACTOR)
        true = [
            (np.array(o.intersection(tile).bounds) - (x, y, x, y)) * FACTOR
            for o in on_lr
            if o.intersects(tile)
        ]
        left, top, width, height = annotation["bbox"]
        found = np.array([left, top, left + width, top + height])
        assert min(np.abs(found - t).max() for t in true) < FACTOR


def test_errors_are_recorded_and_what_is_left_out_is_counted(made):
    out, text = made
    with open(out / "pairs.csv", encoding="utf-8-sig", newline="") as f:
        rows = list(csv.DictReader(f))
    kept = {r["file_name"]: r for r in rows if not r["left_out"]}
    images = content_of(out)["images"]
    assert kept.keys() == {i["file_name"] for i in images}
    for image in images:
        error_um = image["pair"]["error_um"]
        assert 0 <= error_um < 4.0 and float(kept[image["file_name"]]["error_um"]) == error_um
    left = [r["left_out"] for r in rows if r["left_out"]]
    assert left and all(
        f"{left.count(what)} of {len(rows)} tiles left out: {what}" in text for what in set(left)
    )
    (picture,) = (out / "checks").iterdir()
    assert Image.open(picture).size[0] >= 384


def test_it_loads_as_a_dataset(made):
    out, _ = made
    entries = coco_to_dicts(content_of(out), "twice_train", str(out), {1: 0, 2: 1})
    assert {e["lr_file_name"].endswith("_lr.png") for e in entries} == {True}


def test_again_nothing_is_made_and_a_stopped_one_goes_on(scans, made, tmp_path):
    out, text = made
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.png")}
    arguments = (scans[0] / "fine", scans[0] / "cheap", "--out", out, "--tile-size-px", TILE)
    assert pair(*arguments) == text
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.png")} == before
    # As a kill leaves it: the part is not written yet, some pictures are.
    (folder,) = (out / "images").iterdir()
    for part in (out / ".pair").glob("*.json"):
        if not part.name.endswith(".aligned.json"):
            part.unlink()
    partial = out / ".pair" / f"{folder.name}.partial"
    folder.rename(partial)
    (partial / "000002.png").unlink()
    assert pair(*arguments) == text
    after = {p: p.stat().st_mtime_ns for p in (out / "images").rglob("*.png")}
    assert {p for p in after if after[p] != before[p]} == {folder / "000002.png"}


def test_a_limit_that_nothing_meets_is_one_error(scans, tmp_path):
    root = scans[0]
    words = (root / "fine", root / "cheap", "--out", tmp_path / "out", "--max-error-um", "0.0001")
    text = pair(*words, "--no-annotations", exit_code=2)
    assert "a.tiff: none of its" in text and "error above the limit" in text and "checks" in text


def test_bad_input_is_one_error(scans, tmp_path):
    root, out = scans[0], tmp_path / "out"
    fine, cheap = (root / name / "a.tiff" for name in ("fine", "cheap"))
    assert "name the finer scan first" in pair(cheap, fine, "--out", out, "--no-annotations", exit_code=2)
    bare = write_scan(tmp_path / "bare.tiff", np.full((64, 64, 3), 200, np.uint8), None)
    text = pair(fine, bare, "--out", out, exit_code=2)
    assert "bare.tiff: does not record its resolution" in text and "--lr-mpp" in text
    (tmp_path / "others").mkdir()
    write_scan(tmp_path / "others" / "b.tiff", np.full((64, 64, 3), 200, np.uint8), 4.0)
    text = pair(root / "fine", tmp_path / "others", "--out", out, exit_code=2)
    assert "no slide is named like one of" in text
    text = pair(fine, cheap, "--out", out, "--tile-size-px", 1023, exit_code=2)
    assert "must be a multiple of lr_factor 4" in text
    assert not (out / "annotations_train.json").exists()
