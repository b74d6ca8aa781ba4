"""``mhkd tile`` a second time: what is finished stays, what changed, broke or was cut short is done anew."""

import json
import re
import shutil

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.data import check_dataset, ensure_registered

import pytest
from support import room_for
from test_files import held
from tiled_slides import files_in, manifest_of, mark, run, write_annotations, write_slide


def test_a_stopped_run_goes_on(slides, out):
    """What is finished is not done again, and what is damaged is: a mark set in it by hand comes through."""
    good = (slides / "ann_2.geojson").read_bytes()
    (slides / "ann_2.geojson").write_text("{")
    run(slides, out, "--strict", exit_code=2)
    assert not (out / "annotations_train.json").exists()
    [part_file] = (out / ".tile").glob("*.json")  # of ann_1
    whole = part_file.read_text()
    mark(part_file)
    (slides / "ann_2.geojson").write_bytes(good)
    assert "warning: ann_1.tiff: 1 marks" in run(slides, out)
    for damaged in (whole[:50], whole.replace('"counts"', '"x"'), "7", whole.replace("300", "301")):
        part_file.write_text(damaged)
        run(slides, out)
        assert part_file.read_text() == whole


@pytest.mark.parametrize("key", ["files", "folders"])
def test_a_manifest_from_elsewhere_removes_nothing_of_the_users(slides, out, key):
    run(slides, out, "--tiles", "png")
    own = [out / "notes.txt", out / "images" / "own" / "a.png", out.parent / "other" / "a.txt"]
    for path in own:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    manifest = json.loads((out / "manifest.json").read_text())
    for names in (
        ["..", ".", "", "/", "images", "images/..", "images/.", "../other"],
        7,
        [7],
        ["notes.txt"],
        "abc",
    ):
        (out / "manifest.json").write_text(json.dumps({**manifest, key: names}))
        run(slides, out, "--tiles", "png")
        assert all(path.read_text() == "mine" for path in own)


@pytest.mark.parametrize(
    ("tiles", "room", "file"),
    [("regions", 1000, "json"), ("regions", 7000, "annotations_train.json"), ("png", 100, "ann_1_")],
)
def test_a_full_disk_is_one_line_and_leaves_out_no_slide(slides, out, tiles, room, file):
    """As it is reached in a slide's part, in the annotations of a split and in a picture."""
    more = ["--tiles", tiles, "--split", "train=1"]
    with room_for(room):
        printed = run(slides, out, *more, exit_code=2)
    assert re.search(f"^mhkd: error: .*{file}.*: cannot be written .File too large.", printed, re.M)
    assert [p.name for p in out.iterdir()] == [".tile"] and not list(out.rglob("*.tmp"))
    (out.parent / "file").touch()
    assert "cannot be written" in run(slides, out.parent / "file" / "set", *more, exit_code=2)
    run(slides, out, *more)
    whole = files_in(out)
    shutil.rmtree(out)
    run(slides, out, *more)
    assert files_in(out) == whole


@pytest.mark.parametrize("tiles", ["regions", "png"])
@pytest.mark.slow
def test_a_finished_dataset_grows(slides, out, tiles):
    """What it has is not done again, unless its pictures are gone; what is not in it any more goes."""
    more = ["--tiles", tiles, "--keep-empty", "0"]
    run(slides, out, *more)
    for part_file in (out / ".tile").glob("*.json"):
        mark(part_file)
    write_slide(slides, "eve", shade=9)
    if tiles == "png":
        [folder] = (out / "images").glob("ann_1_*")
        shutil.rmtree(folder)
    printed = run(slides, out, *more)
    assert printed.count(" 1 marks") == 4 - (tiles == "png") and "eve.tiff" not in printed
    ensure_registered(["tiled_set_train", "tiled_set_val"])
    dicts = check_dataset("tiled_set_train") + check_dataset("tiled_set_val")
    assert len({d["slide"] for d in dicts}) == 5
    run(slides, out, *more, "--mpp", "1")
    assert len(list((out / ".tile").glob("*.json"))) == 5


def test_a_changed_slide_or_parameter_is_not_resumed(slides, out):
    (slides / "bob_1.geojson").write_text("{")
    run(slides, out, "--strict", exit_code=2)
    assert len(list((out / ".tile").glob("*.json"))) == 2
    write_annotations(slides / "ann_1.geojson", {"normal": [(64, 64), (200, 200)]})
    write_annotations(slides / "bob_1.geojson")
    run(slides, out, "--mpp", "1")
    report = manifest_of(out)
    assert report["slides"][0]["annotated"] == {"normal": 2}
    content = json.loads((out / "annotations_train.json").read_text())
    assert {i["mpp"] for i in content["images"]} == {1.0}


def test_parts_of_another_version_are_not_taken_over(slides, out, monkeypatch):
    """Its readers may have read the same files otherwise."""
    run(slides, out)
    before = {p.name for p in (out / ".tile").glob("*.json")}
    monkeypatch.setattr("mhkd.tiling.slide_task.__version__", "0.1.0")
    run(slides, out)
    assert before.isdisjoint(p.name for p in (out / ".tile").glob("*.json"))


def test_a_second_run_into_one_folder_is_refused(slides, out):
    with held(out / ".tile"):
        printed = run(slides, out, "--split", "train=1", exit_code=2)
    assert f"mhkd: error: {out}: another mhkd tile is writing there" in printed
    run(slides, out, "--split", "train=1")
    assert ".lock" not in {p.name for p in out.iterdir()}
