import json
import os

import mhkd  # noqa: F401  (before Detectron2)

import numpy as np
import pytest
import torch
from PIL import Image

# isort: split
from mhkd.data import check_dataset, check_split_disjoint, ensure_registered, register_folders
from mhkd.errors import InputError

from detectron2.data import DatasetCatalog, MetadataCatalog, get_detection_dataset_dicts
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import Boxes, Instances


def coco(**changes):
    content = {
        "images": [
            {"id": 7, "file_name": "b.png", "width": 64, "height": 48, "slide": "s1", "mpp": 0.5},
            {"id": 3, "file_name": "a.png", "width": 64, "height": 48, "patient": "p"},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 9, "bbox": [1, 2, 30, 20], "area": 600},
            {"id": 2, "image_id": 7, "category_id": 4, "bbox": [40, 5.5, 24, 8], "iscrowd": 1},
            {"id": 3, "image_id": 3, "category_id": 4, "bbox": [0, 0, 64, 48]},
        ],
        "categories": [{"id": 9, "name": "sclerotic"}, {"id": 4, "name": "normal"}],
    }
    content.update(changes)
    return content


def write(root, content, name="set", split="train"):
    folder = root / name
    folder.mkdir(exist_ok=True)
    for image in ("a.png", "b.png"):
        Image.new("RGB", (64, 48)).save(folder / image)
    path = folder / f"annotations_{split}.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_folders_become_datasets(root):
    write(root, coco())
    write(root, coco(), split="val")
    names = ["set_train", "set_train@glomerulus", "set_val", "set_val@glomerulus"]
    assert register_folders() == names
    assert register_folders(str(root)) == names  # again
    dicts = DatasetCatalog.get("set_train")
    assert [d["image_id"] for d in dicts] == [3, 7]
    assert dicts[1]["file_name"] == str(root / "set" / "b.png")
    assert (dicts[1]["slide"], dicts[1]["mpp"], dicts[0]["patient"]) == ("s1", 0.5, "p")
    # categories in the order of their ids: 4 normal -> 0, 9 sclerotic -> 1
    meta = MetadataCatalog.get("set_train")
    assert meta.thing_classes == ["normal", "sclerotic"]
    assert meta.thing_dataset_id_to_contiguous_id == {4: 0, 9: 1}
    assert [a["category_id"] for a in dicts[1]["annotations"]] == [1, 0]
    assert [a["iscrowd"] for a in dicts[1]["annotations"]] == [0, 1]
    assert dicts[1]["annotations"][1]["bbox"] == [40, 5.5, 24, 8]
    assert len(get_detection_dataset_dicts(["set_train", "set_val"])) == 4


@pytest.mark.parametrize("key", ["file_name", "lr_file_name"])
@pytest.mark.parametrize("place", ["../mine.png", "images/../../mine.png", "{}/mine.png"])
def test_an_image_outside_of_the_datasets_folder_is_refused_unread(root, key, place):
    (root / "mine.png").write_text("no image")
    content = coco()
    content["images"][1][key] = place.format(root)
    write(root, content)
    ensure_registered(["set_train"])
    with pytest.raises(InputError, match=r"train\.json: image 3.* is not below .*set: copy the image there"):
        check_dataset("set_train")


def test_an_images_folder_that_is_a_link_and_a_whole_path_are_the_datasets_own(root):
    elsewhere = root / "elsewhere"
    elsewhere.mkdir()
    Image.new("RGB", (64, 48), (1, 2, 3)).save(elsewhere / "c.png")
    content = coco()
    content["images"][0]["file_name"] = "./images/c.png"
    content["images"][1]["file_name"] = str(root / "set" / "a.png")
    write(root, content)
    (root / "set" / "images").symlink_to(elsewhere)
    ensure_registered(["set_train"])
    found = [d["file_name"] for d in DatasetCatalog.get("set_train")]
    assert found == [str(root / "set" / "a.png"), str(root / "set" / "images" / "c.png")]


def test_merged_name_has_one_class(root):
    write(root, coco())
    register_folders()
    dicts = DatasetCatalog.get("set_train@glomerulus")
    assert {a["category_id"] for d in dicts for a in d["annotations"]} == {0}
    assert MetadataCatalog.get("set_train@glomerulus").thing_classes == ["glomerulus"]
    assert MetadataCatalog.get("set_train").get("thing_classes") is None  # not even read
    ensure_registered(["set_train@tuft"])
    check_dataset("set_train@tuft")
    assert MetadataCatalog.get("set_train@tuft").thing_classes == ["tuft"]


def test_registering_reads_nothing(root):
    write(root, "not even JSON")
    assert "set_train" in register_folders()
    with pytest.raises(InputError, match=r"annotations_train\.json: is no valid JSON"):
        DatasetCatalog.get("set_train")


def test_another_root_replaces_the_dataset(root, tmp_path_factory):
    write(root, coco())
    register_folders()
    other = tmp_path_factory.mktemp("other")
    write(other, coco(annotations=[]))
    assert "set_train" in register_folders(str(other))
    assert DatasetCatalog.get("set_train")[0]["annotations"] == []
    with pytest.raises(InputError, match="nothing to train on"):
        check_dataset("set_train")


def test_names_of_others_are_left_alone(root):
    write(root, coco())
    DatasetCatalog.register("set_train", lambda: ["mine"])
    assert "set_train" not in register_folders()
    ensure_registered(["set_train"])
    assert DatasetCatalog.get("set_train") == ["mine"]


@pytest.mark.parametrize("name", ["set_train", "set_train@glomerulus"])
def test_detectron2s_own_evaluator_scores_perfect_boxes_as_100(root, name):
    write(root, coco())
    register_folders()
    dicts = DatasetCatalog.get(name)
    evaluator = COCOEvaluator(name, ("bbox",), False, str(root / "out"), use_fast_impl=False)
    evaluator.reset()
    for d in dicts:
        annotations = [a for a in d["annotations"] if not a["iscrowd"]]
        found = Instances((d["height"], d["width"]))
        boxes = torch.tensor([a["bbox"] for a in annotations], dtype=torch.float32)
        boxes[:, 2:] += boxes[:, :2]
        found.pred_boxes = Boxes(boxes)
        found.scores = torch.ones(len(annotations))
        found.pred_classes = torch.tensor([a["category_id"] for a in annotations])
        evaluator.process([d], [{"instances": found}])
    assert evaluator.evaluate()["bbox"]["AP"] == pytest.approx(100)


def annotation(**changes):
    return coco()["annotations"] + [
        {"id": 4, "image_id": 3, "category_id": 4, "bbox": [1, 1, 9, 9], **changes}
    ]


def image(**changes):
    first, second = coco()["images"]
    return [{**first, **changes}, second]


FAULTS = {
    "is empty": "",
    "is no valid JSON": json.dumps(coco())[:200],
    "must be a JSON object": "[]",
    "no list 'annotations'": coco(annotations=None),
    "'images' is empty": coco(images=[]),
    "'categories' is empty": coco(categories=[]),
    r"image number 1 has no width": coco(images=[{"id": 7, "file_name": "b.png", "height": 48}]),
    r"annotation number 1 has no bbox": coco(annotations=[{"id": 1, "image_id": 3, "category_id": 4}]),
    r"annotation number 1 has no id": coco(annotations=["x"]),
    r"image_id 99, which is not in 'images'": coco(annotations=annotation(image_id=99)),
    r"category_id 1, which is not in 'categories'": coco(annotations=annotation(category_id=1)),
    r"annotation id 1 is there more than once": coco(annotations=annotation(id=1)),
    r"image id 3 is there more than once": coco(images=image(id=3)),
    r"category id 4 is there more": coco(categories=[{"id": 4, "name": c} for c in "ab"]),
    r"category name 'a' is there more": coco(categories=[{"id": i, "name": "a"} for i in (4, 9)]),
    r"gone\.png: there is no such image": coco(images=image(file_name="gone.png")),
    r"b\.png: is 64x48 px, but .*image 7 says 63x48": coco(images=image(width=63)),
    r"annotation 4 has bbox \[60, 1, 9, 9\], outside.*64x48": coco(
        annotations=annotation(bbox=[60, 1, 9, 9])
    ),
    r"annotation 4 .*of no area": coco(annotations=annotation(bbox=[1, 1, 0, 9])),
    r"annotation 4 .*four finite numbers": coco(annotations=annotation(bbox=[1, 1, np.nan, 9])),
    r"annotation 4 has bbox \[1, 2\].*four": coco(annotations=annotation(bbox=[1, 2])),
    r"id of every image must be a whole number": coco(images=image(id="7")),
    r"lr\.png: there is no such image": coco(images=image(lr_file_name="lr.png")),
    r"image 7: its 'region' has no y_px, mpp": coco(images=image(region={"slide_file": "s.svs", "x_px": 1})),
    r"the slide .*s\.svs does not exist": coco(
        images=image(region={"slide_file": "s.svs", "x_px": 1, "y_px": 1, "mpp": 0.5})
    ),
    r"the slide /dev/zero does not exist, or is no file": coco(
        images=image(region={"slide_file": "/dev/zero", "x_px": 1, "y_px": 1, "mpp": 0.5})
    ),
}


@pytest.mark.parametrize("message", FAULTS)
def test_every_fault_is_one_error_that_names_the_file(root, message):
    path = write(root, FAULTS[message])
    ensure_registered(["set_train"])
    with pytest.raises(InputError, match=message) as error:
        check_dataset("set_train")
    assert str(root) in str(error.value) and "\n" not in str(error.value)
    assert path.exists()


def test_categories_must_agree_between_splits(root):
    write(root, coco())
    renamed = [{"id": 9, "name": "normal"}, {"id": 4, "name": "sclerotic"}]
    write(root, coco(categories=renamed), split="val")
    register_folders()
    with pytest.raises(InputError, match=r"annotations_train\.json.*differ.*annotations_val\.json"):
        DatasetCatalog.get("set_train")
    write(root, coco(), split="val")  # mended: noticed without a new process
    os.utime(root / "set" / "annotations_val.json", (1, 1))
    assert len(DatasetCatalog.get("set_train")) == 2


def test_unknown_dataset_says_what_is_expected_where(root):
    write(root, coco())
    with pytest.raises(InputError, match=r"ki_ro_val.*ki_ro/annotations_val\.json.*set_train"):
        ensure_registered(["set_train", "ki_ro_val"])
    write(root, coco(), name="my_set", split="fold_1")
    ensure_registered(["my_set_fold_1", "my_set_fold_1@glomerulus", "my_set_fold_1@x"])
    assert len(check_dataset("my_set_fold_1@x")) == 2


def test_splits_must_not_share_a_slide():
    def one(slide=None, file_name="x.png"):
        return {"file_name": file_name, **({"slide": slide} if slide else {})}

    check_split_disjoint([one("a"), one("b")], [one("c", "y.png")])
    check_split_disjoint([one()], [one(None, "y.png")])
    with pytest.raises(InputError, match="^b: this slide is in both train and val"):
        check_split_disjoint([one("a"), one("b")], [one("b", "y.png")], ("train", "val"))
    with pytest.raises(InputError, match=r"x\.png"):
        check_split_disjoint([one()], [one()])


def test_real_kidney_regions(shared_data):
    """Drawn: test_folders_become_datasets and test_splits_must_not_share_a_slide."""
    register_folders(str(shared_data))
    train, val = (check_dataset(f"kidney_roi_{s}") for s in ("train", "val"))
    assert (len(train), sum(len(d["annotations"]) for d in train)) == (36, 633)
    assert (len(val), sum(len(d["annotations"]) for d in val)) == (15, 289)
    assert MetadataCatalog.get("kidney_roi_val").thing_classes == ["normal", "sclerotic"]
    check_split_disjoint(train, val)
    with pytest.raises(InputError, match="HE_I_1_S_1"):
        check_split_disjoint(train, val + train[:1])
