import json

import mhkd
from mhkd.coco.read import coco_to_dicts, read_coco
from mhkd.data import read_regions as read_regions_module
from mhkd.data.loader import training_entries
from mhkd.data.read_regions import read_regions
from mhkd.data.region_columns import RegionEntries
from mhkd.data.registrar import check_split_disjoint, ensure_registered, has_ignored
from mhkd.data.semi_supervised import split_by_label
from mhkd.errors import InputError

import pytest
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog


@pytest.fixture(autouse=True)
def columns_for_small_files_too(monkeypatch):
    monkeypatch.setattr(read_regions_module, "MIN_BYTES", 0)


def regions(folder, split="train", change=None):
    """Three tiles of two slides, their images and annotations in no order."""
    folder.mkdir(exist_ok=True)
    for name in ("a.svs", "b.svs"):
        (folder / name).touch()
    images = []
    for k, (slide, mpp) in {7: ("b", 0.5), 2: ("a", 0.25), 5: ("a", None)}.items():
        file = f"../{folder.name}/{slide}.svs"
        region = {"slide_file": file, "x_px": 10.5 * k, "y_px": 0, "mpp": 0.5}
        image = {"id": k, "file_name": file, "width": 64, "height": 48, "region": region}
        images.append({**image, "slide": slide, "patient": "p"} if mpp else image)
        if mpp:
            images[-1]["mpp"] = mpp
        if k == 5:
            region["slide_mpp"] = 0.3
    annotations = [
        {"id": 4, "image_id": 7, "category_id": 3, "bbox": [1, 2, 30.5, 20], "iscrowd": 0, "area": 9.0,
         "segmentation": [[1.0, 2.0, 31.5, 2.0, 31.5, 22.0]]},
        {"id": 1, "image_id": 2, "category_id": 9, "bbox": [0.0, 0.0, 8.0, 8.0], "ignore": 1},
        {"id": 9, "image_id": 7, "category_id": 9, "bbox": [5.0, 5.0, 9.0, 9.0]},
    ]  # fmt: skip
    content = {
        "info": {"id": 1, "name": "x"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 9, "name": "sclerotic"}, {"id": 3, "name": "normal"}],
    }
    if change:
        change(content)
    path = folder / f"annotations_{split}.json"
    path.write_text(json.dumps(content))
    return str(path)


def without_outlines(dicts):
    drop = {"segmentation"}
    clean = [{k: v for k, v in a.items() if k not in drop} for d in dicts for a in d["annotations"]]
    return [{**d, "annotations": len(d["annotations"])} for d in dicts], clean


def test_entries_are_the_dicts_of_the_coco_file(tmp_path):
    path = regions(tmp_path / "kidneys")
    id_map = {3: 0, 9: 1}
    want = coco_to_dicts(read_coco(path), path, str(tmp_path / "kidneys"), id_map)
    for _ in range(2):  # from the COCO file, and from the columns kept beside it
        entries = read_regions(path)
        entries.id_map = id_map
        assert without_outlines(list(entries)) == without_outlines(want)
        assert entries.categories == ((3, "normal"), (9, "sclerotic"))
    assert (tmp_path / "kidneys" / ".annotations_train.json.npz").exists()
    assert entries[-1]["image_id"] == 7 and [e["image_id"] for e in entries[:2]] == [2, 5]
    assert [e["image_id"] for e in entries.annotated()] == [7]
    assert has_ignored(entries) and has_ignored(want) and not has_ignored(entries.annotated())
    assert entries.values("mpp") == {0.25, 0.5, None}
    assert {"a", "b"} < entries.values("slide") and len(entries.values("slide")) == 3


def test_slides_and_classes_called_by_numbers(tmp_path):
    def number(content):
        content["images"][0]["slide"], content["categories"][0]["name"] = 3.0, 7

    path = regions(tmp_path / "kidneys", change=number)
    entries = read_regions(path)
    assert entries[2]["slide"] == "3" and entries.categories == ((3, "normal"), (9, "7"))


def test_a_changed_or_broken_file_is_read_anew(tmp_path):
    path = regions(tmp_path / "kidneys")
    assert len(read_regions(path)) == 3
    regions(tmp_path / "kidneys", change=lambda c: c["images"].pop(1) and c["annotations"].pop(1))
    assert len(read_regions(path)) == 2
    packed = tmp_path / "kidneys" / ".annotations_train.json.npz"
    packed.write_bytes(packed.read_bytes()[:500])
    assert len(read_regions(path)) == 2


FAULTS = {
    "an image that is a file": lambda c: c["images"][0].pop("region"),
    "an lr file": lambda c: c["images"][0].update(lr_file_name="a.png"),
    "an image twice": lambda c: c["images"].append(c["images"][0]),
    "an annotation twice": lambda c: c["annotations"].append(c["annotations"][0]),
    "an image that is not there": lambda c: c["annotations"][0].update(image_id=8),
    "a class that is not there": lambda c: c["annotations"][0].update(category_id=4),
    "a class twice": lambda c: c["categories"].append({"id": 10, "name": "normal"}),
    "no number": lambda c: c["annotations"][0].update(bbox=[1, 2, float("nan"), 4]),
    "text": lambda c: c["annotations"][0].update(bbox="1234"),
    "three numbers": lambda c: c["annotations"][0].update(bbox=[1, 2, 3]),
    "a box outside": lambda c: c["annotations"][0].update(bbox=[1, 2, 66, 20]),
    "a box without area": lambda c: c["annotations"][0].update(bbox=[1, 2, 0, 20]),
    "a fractional size": lambda c: c["images"][0].update(width=63.5),
    "no resolution": lambda c: c["images"][0]["region"].update(mpp=0),
    "a slide that is not there": lambda c: c["images"][0]["region"].update(slide_file="c.svs"),
    "a flag of text": lambda c: c["annotations"][0].update(iscrowd="0"),
    "a flag of two": lambda c: c["annotations"][0].update(ignore=2),
    "a box of text": lambda c: c["annotations"][0].update(bbox=["1", 2, 3, 4]),
    "a box of true": lambda c: c["annotations"][0].update(bbox=[True, 2, 3, 4]),
    "an id beyond float64": lambda c: c["annotations"][0].update(id=2**53),
    "an id of text": lambda c: c["annotations"][0].update(image_id="7"),
    "mpp of text": lambda c: c["images"][0].update(mpp="0.5"),
    "negative mpp": lambda c: c["images"][0].update(mpp=-0.5),
    "mpp NaN": lambda c: c["images"][0].update(mpp=float("nan")),
    "slide_mpp NaN": lambda c: c["images"][0]["region"].update(slide_mpp=float("nan")),
    "a slide that is a list": lambda c: c["images"][0].update(slide=["b"]),
    "a class without a name": lambda c: c["categories"][0].update(name=None),
    "an absurd size": lambda c: c["images"][0].update(width=10**9),
    "no images": lambda c: c.update(images=[]),
    "no list": lambda c: c.update(images=None),
    "keys of another program": lambda c: c["images"][0]["region"].update(channel=2),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_is_odd_is_left_to_the_ordinary_reader(tmp_path, fault):
    assert read_regions(regions(tmp_path / "kidneys", change=fault)) is None


def test_registered_trained_on_and_held_against_each_other(tmp_path):
    regions(tmp_path / "regioncolumns")
    regions(tmp_path / "regioncolumns", "val")
    cfg = get_cfg()
    mhkd.add_mhkd_config(cfg)
    cfg.DATASETS.TRAIN = ("regioncolumns_train@glomerulus",)
    ensure_registered([*cfg.DATASETS.TRAIN, "regioncolumns_val"], str(tmp_path))
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False
    entries = training_entries(cfg)
    assert [len(e["annotations"]) for e in entries] == [1, 0, 2]
    assert {a["category_id"] for e in entries for a in e["annotations"]} == {0}
    cfg.MHKD.LABELED_SHARE, cfg.MHKD.UNLABELED_RATIO = 0.4, 0.5
    labeled, unlabeled = split_by_label(cfg, entries)
    assert sorted(e["image_id"] for part in (labeled, unlabeled) for e in part) == [2, 5, 7]
    assert len(labeled) == 1 and not any("annotations" in e for e in unlabeled)
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = True
    assert [e["image_id"] for e in training_entries(cfg)] == [7]  # 2 has but an ignored object

    val = DatasetCatalog.get("regioncolumns_val")
    assert isinstance(val, RegionEntries)
    assert MetadataCatalog.get("regioncolumns_val").thing_classes == ["normal", "sclerotic"]
    assert [a["category_id"] for a in val[2]["annotations"]] == [0, 1]
    with pytest.raises(InputError, match="a.svs: this slide is in both .* 2 others"):
        check_split_disjoint(entries.datasets[0], val)
