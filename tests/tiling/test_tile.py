import hashlib
import json
import shutil
from pathlib import Path

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.data import check_dataset, check_split_disjoint, ensure_registered, read_view
from mhkd.data.inspect import inspect_datasets
from mhkd.data.mapper import PairedResolutionMapper
from mhkd.slides.images import read_rgb

import numpy as np
import pytest
from tiled_slides import BY_PATIENT, files_in, manifest_of, run, write_annotations, write_slide


def test_slides_become_a_dataset(slides, out):
    printed = run(slides, out, *BY_PATIENT, "--split", "train=.5,val=.5")
    # eleven tiles a slide: there is hardly any tissue in the third column of the last row
    assert "tiled_set_train: 2 slides, 22 tiles (16 empty); 2 normal, 2 sclerotic, 2 cut" in printed
    names = ["tiled_set_train", "tiled_set_val"]
    ensure_registered(names)
    train, val = (check_dataset(n) for n in names)
    check_split_disjoint(train, val)
    assert {d["patient"] for d in train}.isdisjoint({d["patient"] for d in val})
    assert sorted({d["slide"] for d in train + val}) == ["ann_1", "ann_2", "bob_1", "bob_2"]
    first = train[0]
    assert (first["width"], first["height"], first["mpp"]) == (64, 64, 2.0)
    assert [first["region"][k] for k in ("x_px", "y_px", "mpp")] == [0, 0, 2]
    assert first["annotations"][0]["bbox"] == pytest.approx([7, 7, 50, 50], abs=0.1)
    dark = read_view(first, "lr", 4)[..., 1] < 100
    assert dark[6:10, 6:10].all() and not dark[:2].any()

    manifest = manifest_of(out)
    assert [c["name"] for c in manifest["categories"]] == ["normal", "sclerotic"]
    assert manifest["splits"]["val"]["objects"] == {"normal": 2, "sclerotic": 2}
    report = manifest["slides"][0]
    slide_file = slides / "ann_1.tiff"
    assert report["sha256"] == hashlib.sha256(slide_file.read_bytes()).hexdigest()
    assert (out / report["slide_file"]).samefile(slide_file)
    assert report["annotated"] == {"normal": 1, "sclerotic": 1}
    assert report["mpp"] == pytest.approx([1, 1])
    assert manifest["parameters"]["tile_size_px"] == 64 and manifest["versions"]["mhkd"]
    assert manifest["warnings"] == manifest["skipped"] == []
    assert sorted(p.name for p in out.iterdir()) == [
        ".tile",
        "annotations_train.json",
        "annotations_val.json",
        "manifest.json",
    ]


def test_an_object_cut_by_a_tiles_edge_is_a_region_to_be_ignored_in_training(slides, out):
    run(slides, out, "--split", "train=1")
    ensure_registered(["tiled_set_train"])
    mapper = PairedResolutionMapper(is_train=True, lr_factor=4, flip_prob=0)
    found = {}
    for entry in check_dataset("tiled_set_train"):
        if entry["slide"] == "ann_1":
            mapped = mapper(entry)
            place = entry["region"]["x_px"], entry["region"]["y_px"]
            found[place] = len(mapped["instances"]), mapped["ignore_boxes"].tensor.tolist()
    # x from 70 to 170 um, cut at 128: 58 % in the first column counts, the rest in the second does not.
    assert found[0, 256] == (1, [])
    objects, regions = found[128, 256]
    assert objects == 0 and regions == [pytest.approx([0, 7, 21, 57], abs=0.5)]


@pytest.mark.slow
def test_same_bytes_whatever_the_number_of_processes(slides, out, tmp_path):
    run(slides, out)
    before = files_in(out)
    run(slides, tmp_path / "datasets" / "tiled_set_again", "--workers", "2")
    assert files_in(tmp_path / "datasets" / "tiled_set_again") == before
    run(slides, out)
    assert files_in(out) == before


def test_png_tiles(slides, out):
    run(slides, out, "--keep-empty", "0")
    ensure_registered(["tiled_set_val"])
    regions = check_dataset("tiled_set_val")
    run(slides, out, "--keep-empty", "0", "--tiles", "png")
    pictures = check_dataset("tiled_set_val")
    assert len(pictures) == len(regions) == 3
    for a, b in zip(regions, pictures):
        assert a["annotations"] == b["annotations"] and "region" not in b
        for view in ("hr", "lr"):
            np.testing.assert_array_equal(read_view(a, view, 4), read_view(b, view, 4))
        assert read_rgb(b["lr_file_name"]).shape == (16, 16, 3)
    content = json.loads((out / "annotations_val.json").read_text())
    origin = content["images"][0]["origin"]
    assert (out / origin["slide_file"]).is_file() and origin["mpp"] == 2.0
    assert len(list((out / "images").iterdir())) == 4
    # another dataset in the same place leaves nothing of this one behind
    run(slides, out, "--keep-empty", "0", "--tiles", "png", "--min-visible", "0.9")
    assert manifest_of(out)["splits"]["val"]["ignored"] == 2
    folders = manifest_of(out)["folders"]
    assert sorted(f"images/{p.name}" for p in (out / "images").iterdir()) == sorted(folders)


def test_slides_that_cannot_be_used_are_reported(slides, out):
    (slides / "empty.svs").write_bytes(b"")
    shutil.copy(slides / "ann_1.geojson", slides / "empty.geojson")
    (slides / "text.svs").write_text("no slide")
    shutil.copy(slides / "ann_1.geojson", slides / "text.geojson")
    write_slide(slides, "plain", mpp=None)
    write_slide(slides, "alone").with_suffix(".geojson").unlink()
    write_slide(slides, "other")
    write_annotations(slides / "other.geojson", {"normal": [(5000, 5000)]})
    write_slide(slides, "bad").with_suffix(".geojson").write_text("[{")
    printed = run(slides, out, "--split", "train=.5,val=.5", "--seed", "1", exit_code=1)
    skipped = {Path(s["slide_file"]).stem: s["error"] for s in manifest_of(out)["skipped"]}
    assert set(skipped) == {"empty", "text", "plain", "alone", "other", "bad"}
    for name, message in (
        ("empty", "0 bytes"),
        ("text", "is no slide"),
        ("plain", "--slide-mpp"),
        ("alone", "has no annotations of alone.tiff"),
        ("other", "another slide"),
        ("bad", "JSON"),
    ):
        assert message in skipped[name] and f"skipped: {skipped[name]}" in printed
    before = files_in(out)
    printed = run(slides, out, "--split", "train=.5,val=.5", "--strict", exit_code=2)
    assert "without --strict" in printed
    assert files_in(out) == before


def test_classes(slides, out, tmp_path):
    write_annotations(slides / "ann_1.geojson", {"GS": [(64, 64)], "vessel": [(64, 200)]})
    run(slides, out, "--class", "GS=sclerotic", "--class", "vessel=")
    manifest = manifest_of(out)
    assert [c["name"] for c in manifest["categories"]] == ["normal", "sclerotic"]
    [warning] = manifest["warnings"]
    assert warning.startswith("ann_1.tiff: 1 objects of the class 'vessel' dropped")
    class_map = tmp_path / "classes.yaml"
    class_map.write_text("'*': glomerulus\n")
    run(slides, out, "--class-map", str(class_map))
    assert [c["name"] for c in manifest_of(out)["categories"]] == ["glomerulus"]
    order = ["sclerotic", "normal", "crescent"]
    printed = run(slides, out, "--classes", ",".join(order))
    assert [c["name"] for c in manifest_of(out)["categories"]] == order
    assert "no crescent" in printed
    printed = run(slides, out, "--classes", "tuft", exit_code=2)
    assert "no slide with annotated objects" in printed and "unknown class 'normal'" in printed


def test_an_object_larger_than_a_tile_is_warned_of_wherever_it_goes(slides, out):
    """A region of interest without a class, in every tile of which it is ignored."""
    for path in slides.glob("*.geojson"):
        content = json.loads(path.read_text())
        ring = [[10, 10], [190, 10], [190, 390], [10, 390], [10, 10]]
        region = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {}}
        path.write_text(json.dumps({**content, "features": [region, *content["features"]]}))
    printed = run(slides, out, "--class", "*=normal")
    assert printed.count("1 objects without a class left out") == 4 and "larger than a tile" not in printed
    assert inspect_datasets(["tiled_set"])[1].lines() == []
    printed = run(slides, out, "--class", "=normal")
    assert printed.count("1 objects larger than a tile (90x190 px, of the class 'normal')") == 4
    [warning] = [w for w in inspect_datasets(["tiled_set"])[1].lines() if "regions of interest" in w]
    assert warning.startswith("4 objects as large as their image, or larger") and "90x190 px" in warning


def test_what_is_not_used_is_named(slides, out, tmp_path):
    """A dead link among the annotations fails no slide; among the slides it is one that cannot be used."""
    folder = tmp_path / "ann"
    folder.mkdir()
    for path in slides.glob("*.geojson"):
        path.rename(folder / path.name)
    (folder / "notes.txt").symlink_to("nowhere")
    (folder / "eve.geojson").write_text("{}")
    where = ["--annotations", str(folder)]
    printed = run(slides, out, *where)
    assert "notes.txt: is a dead link" in printed and "eve.geojson: named like none" in printed
    manifest = manifest_of(out)
    assert len(manifest["slides"]) == 4 and manifest["skipped"] == []
    named = sorted((out / u["path"]).name for u in manifest["not_used"])
    assert named == ["eve.geojson", "notes.txt"] and not any(u["is_fault"] for u in manifest["not_used"])

    (folder / "eve.qpdata").write_text("x")
    printed = run(slides, out, *where, exit_code=1)
    assert "eve.qpdata: is QuPath's own file" in printed and manifest_of(out)["skipped"] == []
    (slides / "eve.tiff").symlink_to("nowhere")
    (slides / "adam.dcm").write_bytes(b"x")
    printed = run(slides, out, *where, exit_code=1)
    assert printed.count("skipped: ") == 3 and "adam.dcm: put the files of a DICOM" in printed
    skipped = [Path(s["slide_file"]).name for s in manifest_of(out)["skipped"]]
    assert skipped == ["adam.dcm", "eve.tiff"] and len(manifest_of(out)["slides"]) == 4
    assert "without --strict" in run(slides, out, *where, "--strict", exit_code=2)


def test_folds_are_datasets(slides, out):
    run(slides, out, "--folds", "2", *BY_PATIENT)
    names = [f"tiled_set_fold{k}_{side}" for k in (0, 1) for side in ("train", "val")]
    ensure_registered(names)
    slides_of = [{d["patient"] for d in check_dataset(n)} for n in names]
    assert slides_of[0] == slides_of[3] != slides_of[1] == slides_of[2]


def test_a_split_without_tiles_leaves_the_earlier_dataset(slides, out, tmp_path):
    table = tmp_path / "splits.csv"
    table.write_text("slide,split\nann_1,train\nann_2,train\nbob_1,train\nbob_2,val\n")
    run(slides, out, "--split-csv", str(table))
    before = files_in(out)
    (slides / "bob_2.geojson").write_text("")
    printed = run(slides, out, "--split-csv", str(table), exit_code=2)
    assert "the split val has no tiles" in printed and "bob_2.geojson" in printed
    assert files_in(out) == before


def test_resolutions_that_cannot_be(slides, out):
    """Glomeruli of 100 um at 1 um per pixel."""
    printed = run(slides, out, "--override-slide-mpp", "30", "--mpp", "60")
    assert "2 objects whose median width is 2997 um" in printed
    assert "recorded resolution, 1 um per pixel, replaced by --override-slide-mpp 30" in printed
    ensure_registered(["tiled_set_train"])
    assert check_dataset("tiled_set_train")[0]["region"]["slide_mpp"] == 30


def test_a_given_resolution_is_for_slides_that_record_none(slides, out, tmp_path):
    for path in slides.glob("bob_*"):
        path.unlink()
    write_slide(slides, "silent", mpp=None)
    printed = run(slides, out, "--slide-mpp", "2", "--split", "train=1")
    said = "ann_1.tiff: recorded resolution, 1 um per pixel, kept: --slide-mpp 2 is for slides without"
    assert said in printed
    sizes = {s["slide_file"][-11:]: s["mpp"] for s in manifest_of(out)["slides"]}
    assert sorted(map(str, sizes.values())) == ["[1.0, 1.0]", "[1.0, 1.0]", "[2.0, 2.0]"]
    entries = json.loads((out / "annotations_train.json").read_text())["images"]
    assert {(e["slide"], e["region"].get("slide_mpp")) for e in entries} == {
        ("ann_1", None), ("ann_2", None), ("silent", 2.0),
    }  # fmt: skip
    table = tmp_path / "mpp.csv"
    table.write_text("slide,mpp\nsilent,0.5\nann_1,4\n")
    run(slides, out, "--slide-mpp", str(table), "--split", "train=1")
    assert {tuple(s["mpp"]) for s in manifest_of(out)["slides"]} == {(1, 1), (0.5, 0.5)}
    table.write_text("slide,mpp\nann_1,4\n")
    printed = run(slides, out, "--slide-mpp", str(table), "--split", "train=1", exit_code=1)
    assert "silent.tiff: does not record its resolution" in printed


def test_the_annotations_of_another_slide_are_not_taken(slides, out):
    for path in slides.glob("*.geojson"):
        if path.stem != "ann_1":
            path.unlink()
    printed = run(slides, out, "--split", "train=1", exit_code=1)
    assert printed.count("is named like another slide") == 3
    run(slides / "bob_1.tiff", out, "--split", "train=1",
        "--annotations", str(slides / "ann_1.geojson"))  # fmt: skip
    assert manifest_of(out)["slides"][0]["annotated"] == {"normal": 1, "sclerotic": 1}


def test_damage_shows_when_tiles_are_verified(slides, out):
    data = bytearray((slides / "bob_2.tiff").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = b"\0" * 400
    (slides / "bob_2.tiff").write_bytes(data)
    run(slides, out, "--split", "train=.5,val=.5", "--glass-too")
    printed = run(slides, out, "--split", "train=.5,val=.5", "--glass-too", "--verify", exit_code=1)
    assert "skipped: " in printed and "bob_2.tiff" in printed.split("skipped: ")[1]


def test_whole_slides_and_centred_tiles(slides, out):
    run(slides, out, args=["--mode", "whole", "--fit-px", "192", "96"])
    content = json.loads((out / "annotations_train.json").read_text())
    assert {(i["width"], i["height"]) for i in content["images"]} == {(192, 96)}
    assert len(content["annotations"]) == 2 * len(content["images"])
    run(slides, out, "--mode", "centred")
    report = manifest_of(out)["splits"]["val"]
    assert report["tiles"] == 2 and report["ignored"] == 0


def test_usage(slides, out, tmp_path):
    (tmp_path / "nothing").mkdir()
    for path, more, message in (
        (slides, ["--workers", "0"], "--workers 0"),
        (slides, ["--tile-size-px", "66"], "multiple of lr_factor"),
        (slides, ["--split", "train=0.5"], "sum to 1"),
        (slides, ["--class", "normal"], "no from=to"),
        (tmp_path / "nothing", [], "has no slides"),
    ):
        assert message in run(path, out, *more, exit_code=2)
        assert not out.exists()
