"""`mhkd tile --no-annotations`: tissue for MHKD.UNLABELED."""

import json

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.cli import main
from mhkd.data import read_regions, read_view
from mhkd.data.inspect import inspect_datasets
from mhkd.data.loader import build_train_loader
from mhkd.data.mapper import PairedResolutionMapper
from mhkd.data.region_columns import RegionEntries
from mhkd.engine import DistillationTrainer, prepare_datasets
from mhkd.errors import InputError
from mhkd.modeling.distilled_rcnn import teacher_cfg
from mhkd.slide_detection.student import load_student

import numpy as np
import pytest
import pyvips
import torch
from click.testing import CliRunner
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from support import DISKS as TINY_DISKS
from support import tiny_config, write_disks
from tiled_slides import BY_PATIENT, manifest_of, mark, run, write_annotations, write_slide


@pytest.fixture
def unannotated(slides):
    """The slides without a single annotation file."""
    for path in slides.glob("*.geojson"):
        path.unlink()
    return slides


def test_slides_that_nobody_annotated(unannotated, out):
    """Tiles are where they would be with annotations; what there is of those is not looked at."""
    (unannotated / "ann_1.geojson").write_text("{")
    printed = run(unannotated, out, "--no-annotations", *BY_PATIENT)
    assert "tiled_set_train: 4 slides, 44 tiles\n" in printed
    content = json.loads((out / "annotations_train.json").read_text())
    assert content["annotations"] == content["categories"] == []
    assert content["images"][0]["region"]["slide_file"] == "../../slides/ann_1.tiff"
    assert sorted(p.name for p in out.iterdir()) == [".tile", "annotations_train.json", "manifest.json"]
    manifest = manifest_of(out)
    assert manifest["categories"] == manifest["warnings"] == manifest["skipped"] == []
    report = manifest["slides"][0]
    assert report["patient"] == "ann" and report["sha256"]
    assert report["annotation_file"] is report["annotation_sha256"] is report["annotation_format"] is None
    look = ["inspect", "tiled_set", "--out", str(out / "look"), "--num-images", "1", "--strict"]
    result = CliRunner().invoke(main, look)
    assert result.exit_code == 0 and "No warnings" in result.output
    assert (out / "look" / "tiled_set_train.png").exists()

    printed = run(unannotated, out, "--no-annotations", "--split", "new=.5,old=.5", "--mode", "whole")
    assert "tiled_set_new: 2 slides, 2 tiles\n" in printed and "tiled_set_old: 2 slides" in printed


def test_slides_that_nobody_annotated_are_resumed_but_not_with_annotations(unannotated, out):
    run(unannotated, out, "--no-annotations")
    for part_file in (out / ".tile").glob("*.json"):
        mark(part_file)
    write_slide(unannotated, "eve", shade=9)
    assert run(unannotated, out, "--no-annotations").count(" 1 marks") == 4
    for name in ("ann_1", "ann_2", "bob_1", "bob_2"):
        write_annotations(unannotated / f"{name}.geojson")
    assert "5 normal" in run(unannotated, out, "--split", "train=1")


def test_no_slide_without_annotations_can_be_used(tmp_path, out):
    (tmp_path / "text.svs").write_text("no slide")
    printed = run(tmp_path / "text.svs", out, "--no-annotations", exit_code=2)
    assert "no slide could be used" in printed and "is no slide" in printed


@pytest.mark.slow
def test_a_students_step_draws_unannotated_tissue(unannotated, out, monkeypatch):
    run(unannotated, out, "--no-annotations")
    write_disks(out.parent, "tiled_set_disks")
    cfg = tiny_config(out / "output", TINY_DISKS)
    cfg.INPUT.CROP.ENABLED = False
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("tiled_set_disks_train",), ("tiled_set_disks_val",)
    cfg.MHKD.SCHEDULE, cfg.MHKD.STUDENT_ITERS = "offline", 8
    cfg.MHKD.UNLABELED, cfg.MHKD.UNLABELED_RATIO = ("tiled_set_train",), 0.75
    prepare_datasets(cfg)
    drawn = [batch[0] for batch in build_train_loader(cfg, PairedResolutionMapper(cfg, True), 0, 4)]
    assert ["instances" in x for x in drawn] == [True, False, False, False]
    for x in drawn[1:]:
        assert x["unlabeled"] and x["file_name"].endswith(".tiff")
        assert x["image"].shape == x["image_lr"].shape == (3, 64, 64)
    DistillationTrainer(cfg).train()
    assert (out / "output" / "student" / "model_final.pth").exists()

    entries = DatasetCatalog.get("tiled_set_train")
    monkeypatch.setattr(read_regions, "MIN_BYTES", 0)  # as of a great many tiles
    columns = DatasetCatalog.get("tiled_set_train")
    assert isinstance(columns, RegionEntries) and list(columns) == entries

    for train in ("tiled_set_train", "tiled_set_train@glomerulus"):
        cfg.DATASETS.TRAIN = (train,)
        with pytest.raises(InputError, match=f"{train} has no categories.*MHKD.UNLABELED"):
            prepare_datasets(cfg)


@pytest.mark.slow
def test_a_teacher_and_slides_that_nobody_annotated_make_a_student(unannotated, out):
    run(unannotated, out, "--no-annotations")
    cfg = tiny_config(out / "output", TINY_DISKS)
    cfg.INPUT.CROP.ENABLED = False
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ()
    cfg.MHKD.SCHEDULE, cfg.MHKD.STUDENT_ITERS = "label_free", 3
    cfg.MHKD.UNLABELED, cfg.MHKD.UNLABELED_RATIO = ("tiled_set_train",), 1.0
    prepare_datasets(cfg)
    with pytest.raises(InputError, match=r"TRAIN is \(\), so set also MODEL.TEACHER.WEIGHTS .* MHKD.CLASSES"):
        DistillationTrainer(cfg)
    teacher = build_model(teacher_cfg(cfg)).state_dict()
    torch.save({"model": teacher}, out / "teacher.pth")
    cfg.MODEL.TEACHER.WEIGHTS, cfg.MHKD.CLASSES = str(out / "teacher.pth"), ["glomerulus"]
    prepare_datasets(cfg)
    DistillationTrainer(cfg).train()
    student = load_student(out / "output" / "student")
    mpp = DatasetCatalog.get("tiled_set_train")[0]["mpp"]
    assert student.class_names == ("glomerulus",) and student.lr_mpp == mpp * cfg.INPUT.LR_FACTOR
    trained = torch.load(out / "output" / "student" / "model_final.pth", weights_only=True)["model"]
    for name, value in teacher.items():
        own = name.replace("backbone.", "backbone.fpn.", 1) if name.startswith("backbone.") else name
        assert torch.equal(trained[own], value) == (own == name), name


def test_a_slide_of_one_level_without_annotations(one_level_slide, out):
    """2220 x 2967 px of 0.499 um: at twice that 1110 x 1484, five columns and six rows of 256."""
    args = ["--mpp", "0.998", "--tile-size-px", "256", "--no-annotations"]
    assert "tiled_set_train: 1 slides, 30 tiles" in run(one_level_slide, out, "--glass-too", args=args)
    run(one_level_slide, out, args=args)
    [split], _ = inspect_datasets(["tiled_set"])
    assert 16 <= split.num_images < 30
    assert min(read_view(e, "hr").std() for e in split.entries) > 5  # tissue, not glass


@pytest.mark.parametrize("more", [
    ["--annotations", "."], ["--mode", "centred"], ["--class", "a=b"], ["--classes", "a"],
    ["--point-diameter-um", "200"],
])  # fmt: skip
def test_without_annotations_nothing_can_be_said_of_them(slides, out, more):
    printed = run(slides, out, "--no-annotations", *more, exit_code=2)
    assert f"--no-annotations: {more[0]}" in printed and not out.exists()


def test_slides_with_hardly_any_tissue_are_named(unannotated, out):
    glass = np.full((400, 600, 3), 244, np.uint8)
    for name, side in {"empty": 0, "speck": 12}.items():
        pixels = glass.copy()
        pixels[100 : 100 + side, 100 : 100 + side] = (190, 120, 180)
        image = pyvips.Image.new_from_array(pixels).copy(interpretation="srgb", xres=1000, yres=1000)
        image.tiffsave(str(unannotated / f"{name}.tiff"), tile=True, compression="deflate", resunit="cm")
    printed = run(unannotated, out, "--no-annotations", "--min-tissue-um2", "0")
    assert "warning: empty.tiff: no tissue was found; if there is more, --glass-too takes the" in printed
    assert "warning: speck.tiff: only " in printed and "um² of tissue, 0.0" in printed
    assert "ann_1.tiff" not in printed
    for path in unannotated.glob("*_*.tiff"):
        path.unlink()
    (unannotated / "speck.tiff").unlink()
    printed = run(unannotated, out, "--no-annotations", exit_code=2)
    assert "the split train has no tiles" in printed and "empty.tiff: no tissue was found" in printed
