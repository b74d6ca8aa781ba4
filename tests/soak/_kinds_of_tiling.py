"""What ``mhkd tile`` reads beside slides and annotations: tables of slides, and what it left itself."""

import json
import os
from pathlib import Path

from mhkd.slides.slide_table import parse_mpp
from mhkd.tiling.cut import read_cut
from mhkd.tiling.splits import assign_splits
from mhkd.tiling.tile import read_classes

import tiled_slides
from _kinds import Kind, said_by
from _kinds_of_annotations import _pipe, _put
from _kinds_of_datasets import _set, _table

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
