import json
import logging
from pathlib import Path

import mhkd  # noqa: F401  (before Detectron2)

import cv2
import numpy as np
import pytest
import pyvips
from shapely.geometry import MultiPolygon, box

# isort: split
from mhkd.data import (
    check_dataset,
    check_split_disjoint,
    ensure_registered,
    read_view,
    register_slides,
    slides_to_coco,
    split_by_slide,
    write_coco,
)
from mhkd.errors import InputError

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.coco import convert_to_coco_dict

BASE_MPP, SIZE_PX = 0.25, (2000, 1600)  # of the slide; tissue is its left 1200 pixels
# (x, y, half side) of squares in base pixels. Tiles are 512 of them: x = 512 cuts the second square
# in halves, and 20 of the third's 180 columns are in the third column of tiles.
SQUARES = {"normal": [(200, 200, 60), (512, 700, 40)], "sclerotic": [(954, 300, 90)]}
OPTIONS = {"mpp": 0.5, "lr_factor": 4, "tile_size_px": 256, "classes": ["normal", "sclerotic"]}


def geojson(objects):
    features = []
    for geometry, name in objects:
        properties = {"classification": {"name": name}} if name else {}
        shape = json.loads(json.dumps(geometry.__geo_interface__))
        features.append({"type": "Feature", "geometry": shape, "properties": properties})
    return json.dumps({"type": "FeatureCollection", "features": features})


def box_around(x, y, r):
    return box(x - r, y - r, x + r, y + r)


def objects():
    return [(box_around(*square), name) for name, squares in SQUARES.items() for square in squares]


def write_slide(folder, name, found=None, mpp=BASE_MPP):
    rgb = np.full((SIZE_PX[1], SIZE_PX[0], 3), 244, np.uint8)
    rgb[:, :1200] = (215, 160, 200)
    for squares in SQUARES.values():
        for x, y, r in squares:
            cv2.rectangle(rgb, (x - r, y - r), (x + r - 1, y + r - 1), (110, 40, 120), -1)
    path = folder / f"{name}.tiff"
    image = pyvips.Image.new_from_array(rgb).copy(interpretation="srgb")
    if mpp:
        image = image.copy(xres=1000 / mpp, yres=1000 / mpp)
    image.tiffsave(str(path), tile=True, pyramid=True, compression="deflate", resunit="cm")
    (folder / f"{name}.geojson").write_text(geojson(objects() if found is None else found))
    return str(path)


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    return write_slide(tmp_path_factory.mktemp("slides"), "one")


@pytest.fixture
def name():
    yield "test_slides_set"
    if "test_slides_set" in DatasetCatalog:
        DatasetCatalog.remove("test_slides_set")
        MetadataCatalog.remove("test_slides_set")


def by_corner(dicts):
    return {(d["region"]["x_px"], d["region"]["y_px"]): d for d in dicts}


def test_tiles_hold_what_is_in_them(slide, name):
    register_slides(name, [slide], **OPTIONS)
    assert MetadataCatalog.get(name).thing_classes == ["normal", "sclerotic"]
    tiles = by_corner(check_dataset(name))
    # three columns, four rows; the 176 x 64 pixels of tissue in the last tile are less than 5 %
    corners = {(x, y) for x in (0, 512, 1024) for y in (0, 512, 1024, 1536)}
    assert set(tiles) == corners - {(1024, 1536)}
    first = tiles[0, 0]
    assert (first["width"], first["height"], first["mpp"], first["slide"]) == (256, 256, 0.5, "one")
    assert first["region"] == {"slide_file": slide, "x_px": 0, "y_px": 0, "mpp": 0.5}
    assert first["file_name"] == slide
    [a] = first["annotations"]  # in HR pixels, half of the base ones
    assert (a["bbox"], a["category_id"], a["iscrowd"]) == ([70, 70, 60, 60], 0, 0)
    left, right = tiles[0, 512]["annotations"], tiles[512, 512]["annotations"]
    assert (left[0]["bbox"], left[0]["iscrowd"]) == ([236, 74, 20, 40], 0)  # just 50 % visible
    assert (right[0]["bbox"], right[0]["iscrowd"]) == ([0, 74, 20, 40], 0)
    [most], [rest] = tiles[512, 0]["annotations"], tiles[1024, 0]["annotations"]
    assert (most["bbox"], most["iscrowd"], most["category_id"]) == ([176, 105, 80, 90], 0, 1)
    assert (rest["bbox"], rest["iscrowd"], rest["category_id"]) == ([0, 105, 10, 90], 1, 1)
    assert sum(len(t["annotations"]) for t in tiles.values()) == 5
    assert len({t["image_id"] for t in tiles.values()}) == 11
    assert DatasetCatalog.get(name)[0] is not DatasetCatalog.get(name)[0]  # nobody spoils it


@pytest.mark.parametrize("mpp", [0.25, 0.5, 0.61])
def test_boxes_lie_on_the_objects_in_both_views(slide, mpp):
    content = slides_to_coco([slide], **{**OPTIONS, "mpp": mpp})
    images = {i["id"]: i for i in content["images"]}
    seen = 0
    for a in content["annotations"]:
        image = images[a["image_id"]]
        for view, factor in (("hr", 1), ("lr", 4)):
            rgb = read_view(image, view, 4)
            dark = rgb[..., 1] < 100
            x, y, w, h = (v / factor for v in a["bbox"])
            rows, columns = (np.flatnonzero(dark.any(axis)) for axis in (1, 0))
            alone = sum(b["image_id"] == a["image_id"] for b in content["annotations"]) == 1
            if alone and len(rows):
                got = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
                assert np.abs(np.subtract(got, (x, y, x + w, y + h))).max() <= 0.75
                seen += 1
    assert seen >= 6


def test_overlap_visibility_and_empty_tiles(slide):
    def tiles(**more):
        content = slides_to_coco([slide], **{**OPTIONS, **more})
        return content["images"], content["annotations"]

    images, annotations = tiles()
    holding = {a["image_id"] for a in annotations}
    assert len(images) == 11 and len(holding) == 5
    assert len(tiles(keep_empty=0)[0]) == 5
    assert len(tiles(keep_empty=0.5)[0]) == 5 + 3  # of six
    assert len(tiles(tissue_only=False)[0]) == 4 * 4
    assert sum(a["iscrowd"] for a in tiles(min_visible=0.51)[1]) == 3
    assert sum(a["iscrowd"] for a in tiles(min_visible=0)[1]) == 0
    # 32 um are 64 HR pixels: a step of 192, 384 base pixels
    xs = sorted({i["region"]["x_px"] for i in tiles(overlap_um=32)[0]})
    assert xs == [0, 384, 768, 1152]


def test_every_object_is_whole_somewhere_if_tiles_overlap_enough(slide):
    content = slides_to_coco([slide], **OPTIONS, overlap_um=50)
    whole = {(a["bbox"][2], a["bbox"][3]) for a in content["annotations"] if not a["iscrowd"]}
    assert {(60, 60), (40, 40), (90, 90)} <= whole


def test_classes_are_mapped_merged_and_left_out(slide, tmp_path, caplog):
    merged = {**OPTIONS, "classes": {"normal": "glomerulus", "sclerotic": "glomerulus"}}
    content = slides_to_coco([slide], **merged)
    assert content["categories"] == [{"id": 1, "name": "glomerulus"}]
    assert len(content["annotations"]) == 5
    caplog.set_level(logging.WARNING, "mhkd")
    content = slides_to_coco([slide], **{**OPTIONS, "classes": ["sclerotic"]})
    assert len(content["annotations"]) == 2
    assert "2 objects of the unknown class 'normal' left out" in caplog.text
    wanted = r"\['tuft'\] \(2 objects of .* 'normal'.* 1 objects of .* 'sclerotic'"
    with pytest.raises(InputError, match=wanted):
        slides_to_coco([slide], **{**OPTIONS, "classes": ["tuft"]})
    unnamed = write_slide(tmp_path, "unnamed", [(box(100, 100, 200, 200), None)])
    content = slides_to_coco([unnamed], **{**OPTIONS, "classes": {None: "glomerulus"}})
    assert len(content["annotations"]) == 1


def test_shapes_with_parts_keep_all_of_them(tmp_path):
    two = MultiPolygon([box(100, 100, 140, 140), box(200, 100, 260, 140)])
    content = slides_to_coco([write_slide(tmp_path, "s", [(two, "normal")])], **OPTIONS)
    [a] = content["annotations"]
    assert a["bbox"] == [50, 50, 80, 20] and a["area"] == 20 * 20 + 30 * 20
    assert len(a["segmentation"]) == 2


def test_written_as_a_folder_it_is_the_same_dataset(slide, name, tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    json_file = tmp_path / "folder" / "annotations_train.json"
    write_coco(slides_to_coco([slide], **OPTIONS), str(json_file))
    assert [p.name for p in json_file.parent.iterdir()] == ["annotations_train.json"]
    assert not Path(json.loads(json_file.read_text())["images"][0]["file_name"]).is_absolute()
    ensure_registered(["folder_train"])
    register_slides(name, [slide], **OPTIONS)
    from_folder, direct = check_dataset("folder_train"), check_dataset(name)
    DatasetCatalog.remove("folder_train")
    MetadataCatalog.remove("folder_train")
    assert [d["annotations"] for d in from_folder] == [d["annotations"] for d in direct]
    np.testing.assert_array_equal(read_view(from_folder[1], "lr", 4), read_view(direct[1], "lr", 4))


def test_detectron2_makes_its_ground_truth_from_it(slide, name):
    register_slides(name, [slide], **OPTIONS)
    content = convert_to_coco_dict(name)
    assert content["categories"] == [{"id": 1, "name": "normal"}, {"id": 2, "name": "sclerotic"}]
    assert len(content["images"]) == 11 and len(content["annotations"]) == 5
    assert sorted(a["iscrowd"] for a in content["annotations"]) == [0, 0, 0, 0, 1]


def test_slides_without_a_resolution(tmp_path):
    path = write_slide(tmp_path, "plain", mpp=None)
    with pytest.raises(InputError, match=r"plain\.tiff.*--slide-mpp"):
        slides_to_coco([path], **OPTIONS)
    content = slides_to_coco([path], **OPTIONS, slide_mpp=0.25)
    assert content["images"][0]["region"]["slide_mpp"] == 0.25
    assert read_view(content["images"][0], "lr", 4).shape == (64, 64, 3)


def test_faults_of_slides_and_annotations(slide, tmp_path, name):
    with pytest.raises(InputError, match=r"there are no slides"):
        slides_to_coco([], **OPTIONS)
    with pytest.raises(InputError, match="two slides are called 'one'"):
        slides_to_coco([slide, str(tmp_path / "one.svs")], **OPTIONS)
    with pytest.raises(InputError, match=r"has no annotations of one\.tiff"):
        slides_to_coco([slide], str(tmp_path), **OPTIONS)
    register_slides(name, [str(tmp_path / "gone.svs")], **OPTIONS)
    (tmp_path / "gone.geojson").write_text(geojson(objects()))
    with pytest.raises(InputError, match=r"gone\.svs: there is no such slide"):
        check_dataset(name)
    other = write_slide(tmp_path, "other", [(box(5000, 5000, 5100, 5100), "normal")])
    with pytest.raises(InputError, match=r"other\.geojson: none of its 1 .* another slide"):
        slides_to_coco([other], **OPTIONS)
    with pytest.raises(TypeError, match="tile_size"):
        register_slides(name, [slide], **OPTIONS, tile_size=3)


@pytest.mark.parametrize(
    "bad,message",
    [
        ({"mpp": 0}, "mpp"),
        ({"tile_size_px": 250}, "multiple of lr_factor"),
        ({"overlap_um": 128}, "overlap_um"),
        ({"overlap_um": -1}, "overlap_um"),
        ({"min_visible": 50}, "min_visible"),
        ({"classes": "normal"}, "classes"),
        ({"classes": []}, "classes"),
    ],
)
def test_parameters_that_make_no_sense(slide, bad, message):
    with pytest.raises(InputError, match=message):
        slides_to_coco([slide], **{**OPTIONS, **bad})


def test_tiles_of_two_splits_are_disjoint(tmp_path):
    slides = [write_slide(tmp_path, name) for name in ("a", "b")]
    splits = split_by_slide(slides, {"train": 1, "val": 1})
    train, val = (slides_to_coco(s, **OPTIONS)["images"] for s in splits.values())
    check_split_disjoint(train, val)
    with pytest.raises(InputError, match="in both"):
        check_split_disjoint(train, slides_to_coco(slides, **OPTIONS)["images"])


def test_a_slide_of_one_level(one_level_slide, tmp_path):
    annotations = geojson([(box(1000, 1000, 1200, 1100), "normal")])
    (tmp_path / f"{one_level_slide.stem}.geojson").write_text(annotations)
    content = slides_to_coco([str(one_level_slide)], str(tmp_path), **{**OPTIONS, "mpp": 0.998})
    assert 16 <= len(content["images"]) <= 5 * 6
    [a] = [a for a in content["annotations"] if not a["iscrowd"]]
    assert a["bbox"] == pytest.approx([0, 0, 88, 38])  # beyond (1024, 1024), two base pixels each
