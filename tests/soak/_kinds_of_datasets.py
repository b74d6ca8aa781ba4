"""Datasets to train on: COCO, labels, images, tables of slides, and what ``mhkd tile`` adds to."""

import json
import os
from pathlib import Path
from unittest import mock

import mhkd.data.read_regions
from mhkd.data.registrar import check_dataset, ensure_registered
from mhkd.slides.images import check_whole, image_size, read_rgb
from mhkd.slides.slide_table import parse_mpp
from mhkd.slides.views import read_view
from mhkd.tiling.cut import read_cut
from mhkd.tiling.splits import assign_splits
from mhkd.tiling.tile import read_classes
from mhkd.visualization.inspection import inspect

import numpy as np
import tiled_slides
from _kinds import Kind, said_by
from _kinds_of_annotations import _folder, _link, _pipe, _put, chunk, png, zipped
from detectron2.data import DatasetCatalog
from labelled_images import write_labels
from PIL import Image
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


def _read_image():
    size, pixels = image_size("a.img"), read_rgb("a.img")
    check_whole("a.img")
    assert pixels.dtype == np.uint8 and pixels.shape == (size[1], size[0], 3)
    return [list(size), int(pixels.astype(np.int64).sum())]


def _images(folder_kind):
    def write(folder):
        noise = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)
        Image.fromarray(noise).save(folder / "a.img", folder_kind)

    return write


IMAGES = {
    "a bomb": _put(png(60_000, 60_000, bytes(1_000_000)), "a.img"),
    "claims of 2^31": _put(png(2**31 - 1, 2**31 - 1, b"\0" * 99), "a.img"),
    "a narrow bomb": _put(png(1, 80_000_000, b"\0\1" * 500_000), "a.img"),
    "a bomb of text": _put(
        lambda: png(50, 40, bytes(151 * 40), 2, chunk(b"zTXt", b"a\0\0" + zipped(400))), "a.img"
    ),
    "a bomb of a profile": _put(
        lambda: png(50, 40, bytes(151 * 40), 2, chunk(b"iCCP", b"a\0\0" + zipped(400))), "a.img"
    ),
    "a bomb of few bytes": _put(lambda: png(13_400, 13_400, colour=6, packed=zipped(690)), "a.img"),
    "a gif of 65535": _put(
        b"GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x08\x00\x00;", "a.img"
    ),
    "postscript": _put(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 40\n(RAN) (w) file closefile\n", "a.img"
    ),
    "a bmp of 2^31": _put(
        b"BM" + b"\0" * 12 + (40).to_bytes(4, "little") + b"\xff\xff\xff\x7f" * 2 + b"\1\0\x18\0" + bytes(24),
        "a.img",
    ),
    "an icon": _put(b"\0\0\1\0\xff\xff" + b"\0" * 100, "a.img"),
    "svg": _put(
        '<svg xmlns="http://www.w3.org/2000/svg"><image href="../outside/secret.png"/></svg>', "a.img"
    ),
    "a pipe": lambda folder: _pipe(folder / "a.img"),
    "a device": lambda folder: _link(folder / "a.img", "/dev/zero"),
    "a folder": lambda folder: _folder(folder / "a.img"),
    "tiff that refers to itself": _put(b"II*\0\x08\0\0\0\1\0\0\1\3\0\1\0\0\0\x0a\0\0\0\x08\0\0\0", "a.img"),
}

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


SLIDES = ["s1.svs", "s2.svs", "s3.svs"]


def _read_splits():
    patients, splits = assign_splits(SLIDES, table="splits.csv")
    assert all(slide in SLIDES for slides in splits.values() for slide in slides)
    return [sorted(patients.items()), sorted(splits.items())]


def _tiled(folder):
    (folder / "slides").mkdir()
    for k, name in enumerate(("ann_1", "bob_1")):
        tiled_slides.write_slide(folder / "slides", name, shade=k)
    tiled_slides.run(folder / "slides", folder / "mine")
    (folder / "mine" / "notes.txt").write_text("mine")
    (folder / "mine" / "images").mkdir(exist_ok=True)
    (folder / "mine" / "images" / "own.png").write_text("mine")
    (folder / "kept.txt").write_text("mine")


def _tile_again():
    """What is the user's own in and beside the folder stays, whatever the manifest claims."""
    said_by("tile", "slides", "--out", "mine", *tiled_slides.ARGS, "--split", "train=0.5,val=0.5")
    for path in ("mine/notes.txt", "mine/images/own.png", "kept.txt", "slides/ann_1.tiff"):
        assert os.path.isfile(path), f"{path} is gone"
    manifest = json.loads(Path("mine/manifest.json").read_text())
    return [json.loads(Path("mine", name).read_text()) for name in manifest["files"]]


MANIFEST = "mine/manifest.json"

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
    *(
        Kind(
            f"image {kind}",
            _images(kind),
            _read_image,
            {"a.img": None},
            IMAGES if kind == "PNG" else {},
            share=0.6,
        )
        for kind in ("PNG", "JPEG", "TIFF")
    ),
    Kind(
        "table of splits",
        lambda folder: (folder / "splits.csv").write_text(
            "slide,split,patient\ns1.svs,train,p1\ns2.svs,val,p2\ns3.svs,train,p1\n"
        ),
        _read_splits,
        {"splits.csv": "text"},
        {
            "a split outside": _put("slide,split\ns1.svs,../../x\ns2.svs,val\ns3.svs,val\n", "splits.csv"),
            **_table("splits.csv", "slide,split"),
        },
        reformatted=("splits.csv",),
        share=0.6,
    ),
    Kind(
        "table of resolutions",
        lambda folder: (folder / "mpp.csv").write_text('slide,mpp\ns1.svs,0.5\ns2.svs,"0,25"\n'),
        lambda: sorted(parse_mpp("mpp.csv", "--slide-mpp").items()),
        {"mpp.csv": "text"},
        _table("mpp.csv", "slide,mpp"),
        reformatted=("mpp.csv",),
        share=0.4,
    ),
    Kind(
        "table of classes",
        lambda folder: (folder / "classes.csv").write_text("slide,class\ns1.svs,a\ns2.svs,b\n"),
        lambda: sorted(read_classes("classes.csv").items()),
        {"classes.csv": "text"},
        _table("classes.csv", "slide,class"),
        reformatted=("classes.csv",),
        share=0.4,
    ),
    Kind(
        "how images were cut",
        lambda folder: (folder / "cut.json").write_text(
            '{"mode": "centred", "field_um": 300.0, "field_boxes": null, "mpp": 0.5, "min_tissue_um2": 1.0}'
        ),
        lambda: str(read_cut(".")),
        {"cut.json": "json"},
        {
            "deep": _put("[" * 100_000, "cut.json"),
            "a pipe": lambda folder: _pipe(folder / "cut.json"),
        },
        reformatted=("cut.json",),
        share=0.3,
    ),
    Kind(
        "dataset of an earlier tiling",
        _tiled,
        _tile_again,
        {MANIFEST: "json", "mine/.tile/*.json": "json"},
        {
            f"{key} {value!r:.30}": _set(MANIFEST, key, value=value)
            for key in ("files", "folders")
            for value in (
                [".."],
                ["images/.."],
                ["."],
                [""],
                ["/"],
                ["../../kept.txt"],
                ["notes.txt"],
                ["images"],
                ["../slides"],
                7,
                [7],
                [[1]],
                "abc",
                None,
                {"a": 1},
                ["annotations_\0.json"],
                ["images/own.png"],
                ["images/" + "x" * 5000],
            )
        }
        | {
            "deep": _put("[" * 100_000, MANIFEST),
            "a pipe": lambda folder: _pipe(folder / MANIFEST),
            "a list": _put("[]", MANIFEST),
        },
        fresh=True,
        share=0.25,
    ),
]
