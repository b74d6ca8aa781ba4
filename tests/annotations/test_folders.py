"""Every entry of a folder is used, or named with a reason."""

import json
import os

from mhkd.annotations import find_annotations
from mhkd.annotations.folders import annotations_in, find_slides, lines, unused
from mhkd.errors import InputError

import pytest

GEOJSON = '{"type": "FeatureCollection", "features": []}'
COCO = json.dumps({"images": [], "annotations": [], "categories": []})


def fill(folder, files, folders="", dead=""):
    """A folder with files ({name: text}, or names), folders and dead links of these names."""
    folder.mkdir(exist_ok=True)
    for name in files if isinstance(files, dict) else files.split():
        (folder / name).write_text(files[name] if isinstance(files, dict) else "x")
    for name in folders.split():
        (folder / name).mkdir()
    for name in dead.split():
        (folder / name).symlink_to("nowhere")
    return folder


def names(entries):
    return [os.path.basename(u.path) for u in entries]


def test_entries_of_a_folder_of_slides(tmp_path):
    folder = fill(
        tmp_path / "s",
        "a.svs b.tiff c.qptiff d.mrxs e.vms e-1.jpg e.opt .hidden Thumbs.db f.czi g.dcm h.vsi i.mrxs k.png "
        "a.geojson z.geojson table.csv",
        folders="d _h_ mixed more l.ome.zarr series m.tif out",
        dead="j.svs notes.txt",
    )
    fill(folder / "series", "0.dcm")
    fill(folder / "mixed", "0.dcm 1.svs")
    fill(folder / "out", "manifest.json")
    slides, others = find_slides([str(folder)])
    assert [os.path.basename(s) for s in slides] == [
        "a.svs",
        "b.tiff",
        "c.qptiff",
        "d.mrxs",
        "e.vms",
        "series",
    ]
    left = unused(others, slides, {str(folder / "a.svs"): str(folder / "a.geojson")})
    faults = {os.path.basename(u.path): u.reason for u in left if u.is_fault}
    assert list(faults) == "f.czi g.dcm h.vsi i.mrxs j.svs l.ome.zarr m.tif".split()
    assert "Zeiss" in faults["f.czi"] and "a DICOM slide into a folder of its own" in faults["g.dcm"]
    assert "the folder i beside" in faults["i.mrxs"]
    assert "dead link" in faults["j.svs"] and "a folder" in faults["m.tif"]
    named = {os.path.basename(u.path): u.reason for u in left if not u.is_fault}
    assert list(named) == "k.png mixed more notes.txt table.csv z.geojson".split()
    assert "dead link: there is no nowhere" in named["notes.txt"]
    assert "none of the slides" in named["z.geojson"]


def test_a_dicom_slide_is_its_folder_or_any_file_of_it(tmp_path, monkeypatch):
    series = fill(tmp_path / "1.2.840.7", "0.dcm 1.DCM DICOMDIR")
    named = [[str(series)], [f"{series}/"], [str(series / "0.dcm"), str(series / "1.DCM")], [str(tmp_path)]]
    for paths in named:
        assert find_slides(paths) == ([str(series)], [])
    monkeypatch.chdir(series)
    assert find_slides(["."]) == find_slides(["0.dcm"]) == ([str(series)], [])
    assert find_slides(["typo.dcm"])[0] == ["typo.dcm"]
    for annotations in ("1.2.840.7.geojson", "1.2.840.8.geojson"):
        (tmp_path / annotations).write_text(GEOJSON)
    assert find_annotations(series) == str(tmp_path / "1.2.840.7.geojson")


def test_two_names_of_one_slide_are_one_slide_and_the_other_is_named(tmp_path):
    folder = fill(tmp_path / "s", "a.svs")
    (folder / "b.svs").symlink_to("a.svs")
    slides, others = find_slides([str(folder)])
    assert len(slides) == 1
    (left,) = unused(others, slides, None)
    assert {slides[0], left.path} == {str(folder / "a.svs"), str(folder / "b.svs")}
    assert left.reason == f"is the same file as {slides[0]}" and not left.is_fault
    assert unused(find_slides([str(folder), slides[0]])[1], slides, None) == [left]


def test_a_folder_of_foreign_slides_says_which(tmp_path):
    folder = fill(tmp_path / "s", "a.czi", dead="b.svs")
    with pytest.raises(InputError, match="has no slides(.|\n)*a.czi: Zeiss(.|\n)*b.svs: is a dead link"):
        find_slides([str(folder)])


def test_annotations_that_are_not_used(tmp_path):
    slides = fill(tmp_path / "s", "a.svs b.svs")
    folder = fill(
        tmp_path / "ann", "a.geojson a.png b.xml c.json d.ndpa e.qpdata f.geojson.gz", "h.xml", "g.geojson"
    )
    slide_files = [str(slides / n) for n in ("a.svs", "b.svs")]
    used = {slide_files[0]: str(folder / "a.geojson")}  # b failed, and says itself why
    left = unused(annotations_in(str(folder)), slide_files, used)
    assert names(u for u in left if u.is_fault) == "e.qpdata f.geojson.gz g.geojson".split()
    assert names(u for u in left if not u.is_fault) == ["c.json", "d.ndpa"]


def test_entries_of_one_reason_share_a_line(tmp_path):
    folder = fill(tmp_path / "s", "a.svs " + " ".join(f"{k:02d}.txt" for k in range(30)))
    slides, others = find_slides([str(folder)])
    [line] = lines(unused(others, slides, None), limit=2)
    assert line.startswith(f"not used: {folder}/00.txt, {folder}/01.txt and 28 more: ")


def test_a_dead_link_fails_the_slide_that_needs_it_only(tmp_path):
    slides = fill(tmp_path / "s", "a.svs b.svs")
    folder = fill(tmp_path / "ann", {"a.geojson": GEOJSON}, "c", "b.geojson x.txt y.json")
    assert find_annotations(slides / "a.svs", folder).endswith("a.geojson")
    with pytest.raises(InputError, match="b.geojson: is a dead link"):
        find_annotations(slides / "b.svs", folder)


def test_a_stray_table_beside_a_file_of_all_slides(tmp_path):
    slides = fill(tmp_path / "s", "a.svs")
    content = {"patients.csv": "slide,patient\na,1\n", "all.json": COCO, "other.json": GEOJSON}
    folder = fill(tmp_path / "ann", content)
    assert find_annotations(slides / "a.svs", folder).endswith("all.json")
    (folder / "runs.csv").write_text("id,rle\na,1 2\n")
    assert find_annotations(slides / "a.svs", folder).endswith("runs.csv")
    (folder / "runs.csv").unlink()
    (folder / "again.json").write_text(COCO)
    with pytest.raises(InputError, match="again.json and all.json could both be the annotations of a.svs"):
        find_annotations(slides / "a.svs", folder)


def test_halo_files_are_found(tmp_path):
    slides, folder = fill(tmp_path / "s", "a.svs"), fill(tmp_path / "ann", "a.annotations")
    assert find_annotations(slides / "a.svs", folder).endswith("a.annotations")
