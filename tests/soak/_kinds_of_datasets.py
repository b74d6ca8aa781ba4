"""Datasets to train on: COCO, labels, and parts of slides."""

import json
import os
from pathlib import Path
from unittest import mock

import mhkd.data.read_regions
from mhkd.data.registrar import check_dataset, ensure_registered
from mhkd.slides.views import read_view
from mhkd.visualization.inspection import inspect

import numpy as np
import tiled_slides
from _kinds import Kind
from _kinds_of_annotations import _pipe, _put, png
from detectron2.data import DatasetCatalog
from labelled_images import write_labels
from support import write_disks

COCO, LABELS = "disks/annotations_train.json", "cells/labels_train.csv"


def _entries(name):
    os.environ["DETECTRON2_DATASETS"] = os.getcwd()
    ensure_registered([name])
    entries = check_dataset(name) if "disks" in name or "parts" in name else DatasetCatalog.get(name)
    for entry in list(entries):
        read_view(entry, "lr", 4)
    inspect([name], Path("../out"), 1)
    return [
        [
            os.path.relpath(e["file_name"]),
            e["width"],
            e["height"],
            e.get("label"),
            e.get("mpp"),
            e.get("slide"),
            sorted([*a["bbox"], a["category_id"], a["iscrowd"]] for a in e.get("annotations", ())),
        ]
        for e in entries
    ]


def _edited(path, edit):
    """A nasty file: the sound one's JSON, edited."""

    def put(folder):
        content = json.loads((folder / path).read_text())
        edit(content)
        (folder / path).write_text(json.dumps(content))

    return put


def _set(path, *keys, value):
    def edit(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return _edited(path, edit)


def _image(value):
    return _set(COCO, "images", 0, "file_name", value=value)


def _parts(folder):
    (folder / "slides").mkdir()
    tiled_slides.write_slide(folder / "slides", "a")
    image = {
        "id": 1,
        "file_name": "a_1",
        "width": 64,
        "height": 64,
        "mpp": 2.0,
        "slide": "a",
        "region": {"slide_file": "../slides/a.tiff", "x_px": 0, "y_px": 0, "mpp": 2.0},
    }
    images = [image, {**image, "id": 2, "file_name": "a_2", "region": {**image["region"], "x_px": 128.0}}]
    boxes = [
        {"id": k, "image_id": 1 + k % 2, "category_id": 1, "bbox": [5, 6, 20 + k, 30], "iscrowd": 0}
        for k in range(3)
    ]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "normal"}]}
    (folder / "parts").mkdir()
    (folder / "parts" / "annotations_train.json").write_text(json.dumps(content))


@mock.patch.object(mhkd.data.read_regions, "MIN_BYTES", 0)
def _packed_parts(folder):
    """A large file of parts of slides, and what is kept of it, as the next training finds them."""
    _parts(folder)
    os.utime(folder / "parts" / "annotations_train.json", (1e9, 1e9))
    assert mhkd.data.read_regions.read_regions(str(folder / "parts" / "annotations_train.json"))


@mock.patch.object(mhkd.data.read_regions, "MIN_BYTES", 0)
def _read_packed_parts():
    os.utime("parts/annotations_train.json", (1e9, 1e9))
    return _entries("parts_train")


def _npz(**changes):
    """One of the arrays is another."""

    def put(folder):
        path = folder / "parts" / ".annotations_train.json.npz"
        with np.load(path) as found:
            arrays = {**found, **changes}
        with open(path, "wb") as f:
            np.savez(f, **arrays)

    return put


def _cells(folder):
    write_labels(
        folder, [("a.png", "dark", "s1", "p1"), ("b.png", "pale", "s2", "p2"), ("c.png", "dark", "s3", "p3")]
    )


def _labels(*lines, header="file_name,class,slide,patient,mpp,x_px,y_px,width_px,height_px"):
    return _put("\n".join((header, *lines)) + "\n", LABELS)


TABLES = {
    "a field without end": '"' + "x" * 2_000_000,
    "a long field": "x" * 500_000 + ",1\n",
    "nulls": "s1.svs,\0\n",
    "many columns": "," * 500_000 + "\n",
    "half a character": "s1\udc80.svs,1\n",
    "lines in a field": 's1.svs,"a\n\x1b[2Jb"\n',
}


def _table(name, header):
    return {what: _put(header + "\n" + text, name) for what, text in TABLES.items()} | {
        "a pipe": lambda folder: _pipe(folder / name),
        "utf-16": _put((header + "\ns1.svs,1\n").encode("utf-16"), name),
    }


KINDS = [
    Kind(
        "dataset coco",
        write_disks,
        lambda: _entries("disks_train"),
        {COCO: "json"},
        {
            "an image outside": _image("../../outside/secret.png"),
            "an image by address": _image("http://127.0.0.1:9/a.png"),
            "a device": _image("/dev/zero"),
            "a folder": _image("images"),
            "a null in a name": _image("a\0b.png"),
            "half a character": _image("\ud800.png"),
            "a name of lines": _image("a\nb\x1b[2J.png"),
            "a long name": _image("x" * 5000),
            "a category of lines": _set(COCO, "categories", 0, "name", value="a\nb\x1b[31m"),
            "a slide of lines": _set(COCO, "images", 0, "slide", value="a\nb" * 2000),
            "deep": _put('{"images": ' + "[" * 200_000, COCO),
            "a number without end": _put('{"images": [1' + "0" * 1_000_000 + "]}", COCO),
            "a mask of all": _set(
                COCO, "annotations", 0, "segmentation", value={"size": [10**6, 10**6], "counts": [0, 10**12]}
            ),
            "counts that end early": _set(
                COCO, "annotations", 0, "segmentation", value={"size": [128, 128], "counts": "o" * 100}
            ),
            "a million points": _set(COCO, "annotations", 0, "segmentation", value=[[1.5] * 1_000_000]),
            "a region of a device": _set(
                COCO, "images", 0, "region", value={"slide_file": "/dev/zero", "x_px": 0, "y_px": 0, "mpp": 1}
            ),
            "a pipe": lambda folder: _pipe(folder / COCO),
            "an image that is a pipe": lambda folder: _pipe(folder / "disks" / "images" / "train_0.png"),
            "a mask of a bomb": _put(png(60_000, 60_000, bytes(1_000_000)), "disks/images/train_0.png"),
        },
        reformatted=(COCO,),
        named=("disks",),
        share=0.8,
        names_files=True,
    ),
    Kind(
        "dataset parts of slides",
        _parts,
        lambda: _entries("parts_train"),
        {"parts/annotations_train.json": "json"},
        {
            f"{key} {value!r:.20}": _set(
                "parts/annotations_train.json", "images", 0, "region", key, value=value
            )
            for key in ("slide_file", "x_px", "y_px", "mpp", "slide_mpp")
            for value in ("../../../../etc/passwd", -1e9, 1e9, 1e-9, 0, None, "", [1], {"a": 1}, True)
        },
        named=("slides", "parts"),
        reader=True,
        share=0.5,
        names_files=True,
    ),
    Kind(
        "dataset packed parts",
        _packed_parts,
        _read_packed_parts,
        {"parts/.annotations_train.json.npz": "npz"},
        {
            "objects": _npz(images=np.array([Path("x")], object)),
            "no columns": _npz(images=np.zeros((0, 0))),
            "other widths": _npz(images=np.zeros((2, 3))),
            "numbers of other files": _npz(images=np.full((2, 12), 1e9)),
            "no numbers": _npz(annotations=np.full((3, 8), np.nan)),
            "first beyond": _npz(first=np.array([0, 10**9, 3])),
            "texts that are none": _npz(texts=json.dumps([[1, 2], 7])),
            "text for numbers": _npz(images=np.array([["x"] * 12] * 2)),
        },
        fresh=True,
        exact=True,
        named=("parts", "slides"),
        reader=True,
        share=0.4,
    ),
    Kind(
        "dataset labels",
        _cells,
        lambda: _entries("cells_train"),
        {LABELS: "text"},
        {
            "an image outside": _labels("../../outside/secret.png,dark,,,,,,,"),
            "an image elsewhere": _labels("/etc/passwd,dark,,,,,,,"),
            "an address": _labels("http://127.0.0.1:9/a.png,dark,,,,,,,"),
            "a part of a device": _labels("/dev/zero,dark,,,1,0,0,10,10"),
            "a part of what is no slide": _labels("images/a.png,dark,,,1,0,0,10,10"),
            "a huge part": _labels("images/a.png,dark,,,1,0,0,1e7,1e7"),
            "a class of lines": _labels('images/a.png,"a\n\x1b[2Jb",,,,,,,'),
            "a formula": _labels("images/a.png,=HYPERLINK(1),,,,,,,"),
            "no number": _labels("images/a.png,dark,,,nan,inf,-inf,1e999,1"),
            **_table(LABELS, "file_name,class"),
        },
        reformatted=(LABELS,),
        named=("cells",),
        share=0.8,
        reader=True,
    ),
]
