"""What people's COCO files hold: one answer from training, ``mhkd inspect`` and ``mhkd tile`` alike."""

import json
import logging
import math
import shutil
from pathlib import Path

from mhkd.annotations import read_annotations
from mhkd.coco.read import XYWH_ABS
from mhkd.data.inspect import inspect_datasets
from mhkd.data.mapper import PairedResolutionMapper
from mhkd.data.registrar import ensure_registered
from mhkd.engine import DistillationTrainer, prepare_datasets
from mhkd.errors import InputError
from mhkd.evaluation.evaluator import coco_dict
from mhkd.tasks import get_task

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from support import DISKS, edit_coco, tiny_config, write_disks

SIDE = 128
SQUARE = [[35, 40, 75, 40, 75, 80, 35, 80]]  # 40 px wide


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return write_disks(tmp_path_factory.mktemp("sound"), "odd", (("train", 2), ("val", 1)))


@pytest.fixture
def folder(tmp_path, sound, monkeypatch):
    """The dataset "odd", of grey images with two disks each: odd_train of two, odd_val of one."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    yield shutil.copytree(sound, tmp_path / "odd")
    for name in ("odd_train", "odd_val"):
        if name in DatasetCatalog:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


def load(name="odd_train"):
    ensure_registered([name])
    return DatasetCatalog.get(name)


def set_image(key, value):
    return lambda content: content["images"][0].update({key: value})


def set_annotation(key, value):
    return lambda content: content["annotations"][0].update({key: value})


HUGE = 10**400
NO_MPP = ["0.5", "", -0.5, 0, math.nan, math.inf, [0.5], {}, True, HUGE]
NO_FLAG = ["0", "1", "", 2, -1, 0.5, math.nan, [], {}]
NO_ID = ["1", 1.0, 1.5, math.nan, True, None, [1], 2**53, HUGE]
IN_ALL = [
    *(("image", "id", v) for v in NO_ID),
    *(("image", "file_name", v) for v in (None, "", 7, ["a.png"], {})),
    *(("image", k, v) for k in ("width", "height") for v in ("128", 128.0, True, 0, -128, None, HUGE)),
    *(("annotation", k, v) for k in ("id", "image_id", "category_id") for v in NO_ID),
    *(("annotation", k, v) for k in ("iscrowd", "ignore") for v in NO_FLAG),
    *(("annotation", "bbox", v) for v in (
        None, [], "1234", [1, 2, 3], [1, 2, 3, 4, 5], ["1", 2, 3, 4], [1, 2, math.nan, 4], [1, 2, HUGE, 4],
        [1, 2, -3, 4], [1, 2, 3, 0], [[1, 2, 3, 4]], {"x": 1}, 5, [1, None, 3, 4],
    )),
]  # fmt: skip
IN_DATASETS = [
    *(("image", "mpp", v) for v in NO_MPP),
    *(("image", k, v) for k in ("slide", "patient") for v in ([], ["a"], {}, True, 1.5, math.nan, HUGE)),
    *(("image", "lr_file_name", v) for v in (7, ["a.png"], {}, True)),
    *(("image", "region", v) for v in ("x", [], 7, {})),
]


def named(case):
    return f"{case[0]}-{case[1]}-{case[2]!r}"[:40]


def refused_by_datasets(folder, what, key, value):
    """The error of training; that ``mhkd inspect`` warns as well, and loses nothing else."""
    setter = set_image if what == "image" else set_annotation
    path = str(edit_coco(folder, setter(key, value)))
    with pytest.raises(InputError) as e:
        load()
    message = str(e.value)
    assert message.startswith(path) and what in message and key in message and "\n" not in message
    (split,), warnings = inspect_datasets(["odd_train"])
    assert warnings.counts and split.num_images == 2
    left = sum(len(entry["annotations"]) for entry in split.entries)
    assert left == (2 if what == "image" else 3)
    return path, message


@pytest.mark.parametrize("case", IN_DATASETS, ids=named)
def test_an_optional_key_of_another_kind_is_one_error_and_one_warning(folder, case):
    refused_by_datasets(folder, *case)


@pytest.mark.parametrize("case", IN_ALL, ids=named)
def test_what_training_refuses_tile_and_score_refuse_too(folder, case):
    path, message = refused_by_datasets(folder, *case)
    with pytest.raises(InputError) as e:
        read_annotations(path, slide_name="train_0")
    assert str(e.value).split(" has ")[0] == message.split(" (")[0].split(" has ")[0]  # file, record


@pytest.mark.parametrize("value", [0, False, 0.0, None])
def test_flags_of_an_object_that_counts(folder, value):
    for key in ("iscrowd", "ignore"):
        path = str(edit_coco(folder, set_annotation(key, value)))
    assert [a["iscrowd"] for a in load()[0]["annotations"]] == [0, 0]
    assert [a.iscrowd for a in read_annotations(path, slide_name="train_0")] == [False, False]


@pytest.mark.parametrize("key", ["iscrowd", "ignore"])
@pytest.mark.parametrize("value", [1, True, 1.0])
def test_ignored_is_ignored_everywhere(folder, key, value):
    path = str(edit_coco(folder, set_annotation(key, value)))
    assert [a["iscrowd"] for a in load()[0]["annotations"]] == [1, 0]
    assert [a.iscrowd for a in read_annotations(path, slide_name="train_0")] == [True, False]
    (split,), _ = inspect_datasets(["odd_train"])
    assert [a["iscrowd"] for a in split.entries[0]["annotations"]] == [1, 0]


def test_names_may_be_numbers_and_the_same_slide_is_the_same(folder):
    edit_coco(folder, lambda c: [i.update(slide=s, patient="") for i, s in zip(c["images"], (3, 0))])
    edit_coco(folder, set_image("slide", 3.0), "val")
    edit_coco(folder, set_image("mpp", None), "val")
    train, val = load(), load("odd_val")
    assert [d["slide"] for d in (*train, *val)] == ["3", "0", "3"]
    assert not any("patient" in d for d in train) and "mpp" not in val[0]
    cfg = tiny_config("unused", ["DATASETS.TRAIN", ("odd_train",), "DATASETS.TEST", ("odd_val",)])
    with pytest.raises(InputError, match="^3: this slide is in both odd_train and odd_val"):
        prepare_datasets(cfg)
    assert get_task(cfg).lr_mpp(cfg) == 0.5 * 4


@pytest.mark.parametrize("edit, message", [
    (lambda c: c["categories"].append({"id": 2, "name": "disk"}), "category name 'disk' is there more"),
    (lambda c: c["categories"][0].update(name=None), "category 1 has no name"),
    (lambda c: c["categories"][0].update(name=" "), "category 1 has no name"),
    (lambda c: c["categories"][0].update(name=["disk"]), "category 1 has name"),
    (lambda c: c["categories"][0].update(id="1"), "category number 1 has id '1'"),
])  # fmt: skip
def test_categories(folder, edit, message):
    edit_coco(folder, edit, "val")
    path = str(edit_coco(folder, edit))
    with pytest.raises(InputError, match=message):
        load()
    _, warnings = inspect_datasets(["odd_train"])
    assert any(kind.startswith("categories") for kind in warnings.counts)
    if "id" in message:
        with pytest.raises(InputError, match=message):
            read_annotations(path, slide_name="train_0")


def test_a_mark_of_utf_8_at_the_beginning(folder):
    path = edit_coco(folder, lambda c: None)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(load()) == 2 and len(read_annotations(path, slide_name="train_0")) == 2


def mask(box, size=(SIDE, SIDE)):
    """A box as a boolean mask of (height, width)."""
    x, y, w, h = box
    found = np.zeros(size, np.uint8, order="F")
    found[y : y + h, x : x + w] = 1
    return found


def compressed(box, size=(SIDE, SIDE)):
    code = mask_util.encode(mask(box, size))
    return {"size": list(size), "counts": code["counts"].decode()}


def plain(box):
    x, y, w, h = box
    counts = [SIDE * x + y] + [h, SIDE - h] * (w - 1) + [h]
    return {"size": [SIDE, SIDE], "counts": [*counts, SIDE * SIDE - sum(counts)]}


BOX = (35, 40, 20, 30)
READABLE = {  # segmentation, its area, where it is odd how
    "absent": (None, None, ""),
    "empty": ([], None, ""),
    "square": (SQUARE, 1600, ""),
    "two parts": ([*SQUARE, [0, 0, 2, 0, 2, 2, 0, 2]], 1604, ""),
    "compressed": (compressed(BOX), 600, ""),
    "plain counts": (plain(BOX), 600, ""),
    "flat": (SQUARE[0], 1600, "a flat list"),
    "part of one point": ([*SQUARE, [1, 1]], 1600, "fewer than 3 points"),
    "two points": ([[35, 40, 75, 80]], None, "fewer than 3 points"),
    "no points": ([[]], None, "fewer than 3 points"),
    "empty mask": ({"size": [SIDE, SIDE], "counts": [SIDE * SIDE]}, None, "an empty mask"),
}
UNREADABLE = {
    "odd number": [[1, 2, 3, 4, 5, 6, 7]],
    "text": [["1", 2, 3, 4, 5, 6]],
    "text alone": "polygon",
    "nested": [[[1, 2], [3, 4], [5, 6]]],
    "points as objects": [{"x": 1, "y": 2}],
    "not a number": [[1, 2, math.nan, 4, 5, 6]],
    "huge": [[1, 2, HUGE, 4, 5, 6]],
    "number": 5,
    "true": True,
    "no counts": {"size": [SIDE, SIDE]},
    "empty object": {},
    "cut short": {"size": [SIDE, SIDE], "counts": compressed(BOX)["counts"][:-1] + "P"},
    "counts of text": {"size": [SIDE, SIDE], "counts": ["1", "2"]},
    "negative": {"size": [SIDE, SIDE], "counts": [5, -3, 9]},
    "fractions": {"size": [SIDE, SIDE], "counts": [5, 3.5, 9]},
    "too many": {"size": [SIDE, SIDE], "counts": [5, SIDE * SIDE]},
    "another size": compressed((3, 3, 5, 5), (64, 64)),
    "sides swapped": {"size": [SIDE, 64], "counts": [5, 3]},
    "size of text": {"size": "128x128", "counts": [5, 3]},
}


def loaded_with(folder, segmentation):
    path = str(edit_coco(folder, set_annotation("segmentation", segmentation)))
    entries = load()
    found = coco_dict(entries, MetadataCatalog.get("odd_train"))["annotations"][0]
    return path, entries, found


@pytest.mark.parametrize("form", READABLE)
def test_every_form_of_outline(folder, form, caplog):
    segmentation, area, odd = READABLE[form]
    with caplog.at_level(logging.WARNING, "mhkd"):
        path, entries, found = loaded_with(folder, segmentation)
        load()
    assert found["area"] == (area or found["bbox"][2] * found["bbox"][3])
    assert len(caplog.messages) == bool(odd)  # once, however often it is loaded
    _, warnings = inspect_datasets(["odd_train"])
    assert len(warnings.lines()) == bool(odd)
    for line in (*caplog.messages, *warnings.lines()):
        assert odd in line and "1 objects" in line and "annotation 1" in line
    read = read_annotations(path, slide_name="train_0")
    assert [a.geometry.area for a in read] == [found["area"], read.annotations[1].geometry.area]
    assert sum(read.counts.values()) == bool(odd)
    assert_the_mapper_reads_no_outline(entries)


@pytest.mark.parametrize("form", UNREADABLE)
def test_an_outline_that_cannot_be_read_is_a_warning_where_boxes_do(folder, form, caplog):
    with caplog.at_level(logging.WARNING, "mhkd"):
        path, entries, found = loaded_with(folder, UNREADABLE[form])
    assert found["area"] == found["bbox"][2] * found["bbox"][3]
    assert len(caplog.messages) == 1 and caplog.messages[0].startswith(path)
    assert len(inspect_datasets(["odd_train"])[1].lines()) == 1
    with pytest.raises(InputError, match="annotation 1 has a "):  # there the outline is what is wanted
        read_annotations(path, slide_name="train_0")
    assert_the_mapper_reads_no_outline(entries)


def assert_the_mapper_reads_no_outline(entries):
    mapped = PairedResolutionMapper(is_train=True, lr_factor=4, flip_prob=0)(entries[0])["instances"]
    assert mapped.get_fields().keys() == {"gt_boxes", "gt_classes"} and len(mapped) == 2


def test_masks_are_handed_on_where_they_are_asked_for(folder):
    edit_coco(folder, lambda c: [a.update(segmentation=compressed(BOX)) for a in c["annotations"]])
    mapper = PairedResolutionMapper(is_train=True, lr_factor=4, flip_prob=0, masks=True)
    masks = mapper(load()[0])["instances"].gt_masks
    assert torch.equal(masks.tensor[0], torch.from_numpy(mask(BOX)).bool())


def add_outlines_and_a_crowd(folder):
    kinds = [compressed(BOX), [[1, 2, 3, 4]], None, plain(BOX)]
    edit_coco(folder, lambda c: [a.update(segmentation=s) for a, s in zip(c["annotations"], kinds) if s])
    crowd = {"id": 9, "image_id": 1, "category_id": 1, "bbox": [0, 0, 20, 20], "iscrowd": 1}
    crowd["segmentation"] = plain((0, 0, 20, 20))
    edit_coco(folder, lambda c: c["annotations"].append(crowd), "val")


def test_a_training_sees_boxes_alone(folder, tmp_path):
    """Without outlines and with all kinds of them; a crowd in val, as COCO has it, is not scored."""
    weights, scores = [], []
    for name in ("without", "with"):
        if name == "with":
            add_outlines_and_a_crowd(folder)
        options = [
            *DISKS, "DATASETS.TRAIN", ("odd_train",), "DATASETS.TEST", ("odd_val",), "MHKD.SCHEDULE", "none",
            "MHKD.TEACHER_ITERS", 1, "MHKD.STUDENT_ITERS", 1,
        ]  # fmt: skip
        cfg = tiny_config(tmp_path / name, options)
        prepare_datasets(cfg)
        torch.manual_seed(0)
        DistillationTrainer(cfg).train()
        final = Path(cfg.OUTPUT_DIR) / "1_none"
        weights.append(torch.load(final / "model_final.pth", weights_only=True)["model"])
        scores.append(json.loads((final / "stage.json").read_text())["results"]["student"])
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    assert scores[1]["AR"] == scores[0]["AR"]


def test_boxes_are_said_to_be_what_detectron2_calls_them():
    assert XYWH_ABS == BoxMode.XYWH_ABS


def test_half_a_character_of_a_name_is_a_question_mark(folder):
    for split in ("train", "val"):
        edit_coco(folder, lambda content: content["categories"][0].update(name="\ud800 disk"), split)
    load()
    assert MetadataCatalog.get("odd_train").thing_classes[0] == "? disk"
