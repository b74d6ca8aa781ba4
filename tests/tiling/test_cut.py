"""`mhkd tile --task classification`: images with a class each, which stay parts of slides and images."""

import csv
import json

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.data import ensure_registered, read_view
from mhkd.data.label_checks import check_labelled_datasets
from mhkd.errors import InputError
from mhkd.slides.tissue import tissue_boxes
from mhkd.tiling.cut import Cut, read_cut, write_cut

import numpy as np
import pytest
from detectron2.data import DatasetCatalog
from PIL import Image
from tiled_slides import BY_PATIENT, manifest_of, run, write_slide

TASK = ("--task", "classification")


def rows_of(out, split):
    return list(csv.DictReader((out / f"labels_{split}.csv").open()))


def entries_of(out, split):
    name = f"{out.name}_{split}"
    ensure_registered([name])
    return DatasetCatalog.get(name)


def test_an_image_an_object(slides, out):
    """Disks 100 um wide, a field of 128: at 2 um 64 px."""
    printed = run(
        slides,
        out,
        *TASK,
        "--mpp",
        "2",
        "--field-um",
        "128",
        *BY_PATIENT,
        "--split",
        "train=.5,val=.5",
        args=(),
    )
    assert "tiled_set_train: 2 slides, 4 images; 2 normal, 2 sclerotic" in printed
    assert sorted(p.name for p in out.iterdir()) == [
        ".tile",
        "cut.json",
        "labels_train.csv",
        "labels_val.csv",
        "manifest.json",
    ]
    assert check_labelled_datasets(["tiled_set_train"], ["tiled_set_val"], (), 4) == ["normal", "sclerotic"]
    first, second, *_ = entries_of(out, "train")
    assert first["slide"] in ("ann_1", "bob_1") and first["patient"] == first["slide"][:3]
    assert (first["width"], first["height"], first["mpp"], first["label"]) == (64, 64, 2.0, 0)
    assert [first["region"][k] for k in ("x_px", "y_px")] == [0, 0]
    assert [second["region"][k] for k in ("x_px", "y_px")] == [56, 256]
    assert second["label"] == 1
    dark = read_view(second, "lr", 4)[..., 1] < 100  # 25 of 32 um around the middle
    assert dark[4:12, 4:12].all() and not dark[[0, 0, -1, -1], [0, -1, 0, -1]].any()


def test_a_field_of_boxes_where_no_resolution_is_known(out, tmp_path):
    """1.5 boxes of 100 px: 150 base pixels, in no micrometres."""
    folder = tmp_path / "silent"
    folder.mkdir()
    write_slide(folder, "silent", mpp=None)
    run(folder, out, *TASK, "--field-boxes", "1.5", "--split", "train=1", args=())
    first, second = rows_of(out, "train")
    assert [first[k] for k in ("mpp", "slide_mpp", "x_px", "y_px", "width_px")] == ["", "", "0", "0", "150"]
    assert [second[k] for k in ("class", "x_px", "y_px", "height_px")] == ["sclerotic", "45", "245", "150"]
    assert manifest_of(out)["warnings"] == []
    pixels = read_view(entries_of(out, "train")[1], "hr")
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(folder / "silent.tiff"))[245:395, 45:195])
    printed = run(folder, out, *TASK, "--field-um", "150", "--split", "train=1", exit_code=2, args=())
    assert "does not record its resolution" in printed


def test_a_piece_of_tissue_or_a_slide_with_the_class_of_a_table(slides, out, tmp_path):
    table = tmp_path / "slides.csv"
    table.write_text("slide;class\nann_1.tiff;rejection\nann_2;normal\nbob_1;normal\nbob_2;rejection\n")
    more = (*TASK, "--mpp", "4", "--labels", str(table), "--split", "train=1")
    run(slides, out, *more, "--mode", "section", args=())
    rows = rows_of(out, "train")
    assert [(r["slide"], r["class"]) for r in rows] == [
        ("ann_1", "rejection"), ("ann_2", "normal"), ("bob_1", "normal"), ("bob_2", "rejection"),
    ]  # fmt: skip
    # The left half is tissue, 300 x 400 um; the mask sees it in 8 um.
    assert all(abs(int(r["width_px"]) - 75) <= 4 and int(r["height_px"]) == 100 for r in rows)
    run(slides, out, *more, "--mode", "whole", args=())
    assert [(r["width_px"], r["height_px"]) for r in rows_of(out, "train")] == [("150", "100")] * 4
    table.write_text("slide;class\nann_1.tiff;rejection\nann_2;normal\nbob_1;normal\n")
    printed = run(slides, out, *more, "--mode", "whole", exit_code=1, args=())
    assert "bob_2.tiff: has no row in the table of --labels" in printed
    assert len(rows_of(out, "train")) == 3


def test_a_section_has_the_class_that_most_of_it_is_annotated_as(slides, out):
    run(
        slides,
        out,
        *TASK,
        "--mode",
        "section",
        "--mpp",
        "4",
        "--class",
        "normal=",
        "--split",
        "train=1",
        args=(),
    )
    assert {r["class"] for r in rows_of(out, "train")} == {"sclerotic"}


def test_slides_that_nobody_annotated_are_images_without_class(slides, out):
    run(slides, out, *TASK, "--mode", "section", "--mpp", "4", "--no-annotations", args=())
    entries = entries_of(out, "train")
    assert len(entries) == 4 and not any("label" in e for e in entries)


@pytest.mark.parametrize("more, message", [
    ((*TASK, "--mode", "grid"), "--mode grid is of tiles to detect in"),
    (TASK, "give the field with --field-um or with --field-boxes"),
    ((*TASK, "--field-um", "9", "--field-boxes", "2"), "one of them"),
    ((*TASK, "--field-um", "9", "--mode", "whole"), "which are of centred"),
    ((*TASK, "--field-um", "9", "--tile-size-px", "1024"), "--tile-size-px: is of tiles to detect in"),
    ((*TASK, "--field-um", "9", "--tiles", "png"), "--tiles: is of tiles to detect in"),
    (("--mpp", "1", "--field-um", "9"), "--field-um: is of images with a class each"),
    (("--mpp", "1", "--mode", "section"), "mode is 'section'"),
    ((*TASK, "--field-um", "9", "--labels", "gone.csv"), "no such table of classes"),
])  # fmt: skip
def test_options_that_cannot_be_meant(slides, out, more, message):
    assert message in run(slides, out, *more, exit_code=2, args=())
    assert not out.exists()


@pytest.mark.parametrize("text, message", [
    ("slide,klass\na,b\n", "needs the columns slide and class"),
    ("slide,class\nann_1,\n", "the slide ann_1 has no class"),
    ("slide,class\nann_1,a\nann_1,b\n", "has different rows for the slide ann_1"),
])  # fmt: skip
def test_a_table_of_classes_that_says_too_little(slides, out, tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    more = ("--mode", "whole", "--labels", str(tmp_path / "t.csv"))
    assert message in run(slides, out, *TASK, *more, exit_code=2, args=())


def test_fields_by_hand():
    """An object 20 px wide and 10 high about (50, 40), on pixels of 0.5 by 1 um: 10 um either way."""
    size, mpp, bounds = (200, 100), (0.5, 1.0), (40, 35, 60, 45)
    assert Cut(field_um=30).field(bounds, size, mpp) == (20, 25, 60, 30)
    assert Cut(field_boxes=2).field(bounds, size, mpp) == (30, 30, 40, 20)
    assert Cut(field_boxes=2).field(bounds, size, None) == (30, 20, 40, 40)
    assert Cut(field_um=90).field(bounds, size, mpp) == (0, 0, 180, 90)  # moved to stay on the slide
    assert Cut(field_um=120).field(bounds, size, mpp) == (0, 0, 240, 120)  # larger than it
    image = Cut(field_um=30, mpp=2.0).image((20, 25, 60, 30), mpp, "here")
    assert image == {"x_px": 20, "y_px": 25, "mpp": 2.0, "width": 15, "height": 15}
    with pytest.raises(InputError, match="here: as one image of 9000x9000 px it is too large"):
        Cut("whole").image((0, 0, 9000, 9000), None, "here")


def test_boxes_around_tissue_that_overlap_are_one():
    """An L and a dot within its box are one; what touches at a corner is one piece; a third is apart."""
    mask = np.zeros((12, 20), bool)
    mask[1:6, 2] = mask[5, 2:8] = mask[2, 6] = True
    mask[8, 10] = mask[9, 11] = True
    assert tissue_boxes(mask).tolist() == [[2, 1, 8, 6], [10, 8, 12, 10]]
    assert tissue_boxes(np.zeros((3, 3), bool)).shape == (0, 4)


@pytest.fixture
def coco(tmp_path):
    """Two splits of an image each, 100 x 80; ``b`` is of the person that ``a`` is of."""
    folder = tmp_path / "people"
    folder.mkdir()
    categories = [{"id": 1, "name": "normal"}, {"id": 2, "name": "sclerotic"}]
    for split, file_name in (("train", "a.png"), ("val", "b.png")):
        pixels = np.random.default_rng(0).integers(0, 256, (80, 100, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / file_name)
        image = {"id": 1, "file_name": file_name, "width": 100, "height": 80, "slide": f"s_{split}"}
        boxes = [(1, [40, 30, 20, 10], 0), (2, [0, 70, 10, 10], 0), (1, [0, 0, 9, 9], 1)]
        content = {
            "images": [{**image, "individual": "I"}],
            "categories": categories,
            "annotations": [
                {"id": k, "image_id": 1, "category_id": c, "bbox": box, "iscrowd": crowd}
                for k, (c, box, crowd) in enumerate(boxes)
            ],
        }
        (folder / f"annotations_{split}.json").write_text(json.dumps(content))
    return folder


def test_the_objects_of_a_coco_dataset(coco, out):
    printed = run(coco, out, *TASK, "--mode", "centred", "--field-boxes", "1.5", args=())
    assert "tiled_set_train: 2 images; 1 normal, 1 sclerotic" in printed
    assert "warning: 2 objects to be ignored left out" in printed
    assert "warning: patients in more than one split: I;" in printed
    first, second = entries_of(out, "train")
    assert (first["slide"], first["patient"], first["label"]) == ("s_train", "I", 0)
    pixels = np.asarray(Image.open(coco / "a.png"))
    np.testing.assert_array_equal(read_view(first, "hr"), pixels[20:50, 35:65])
    np.testing.assert_array_equal(read_view(second, "hr"), pixels[65:80, 0:15])
    run(coco / "annotations_val.json", out, *TASK, "--field-boxes", "1", "--class", "normal=", args=())
    [only] = rows_of(out, "val")
    assert (only["class"], only["width_px"]) == ("sclerotic", "10")


def test_a_field_of_one_pixel_shows_nothing(coco, out):
    """Twelve hundredths of 20 px are two pixels, of 10 px one."""
    printed = run(coco, out, *TASK, "--field-boxes", "0.12", args=())
    assert "warning: 2 images of fewer than 2 px a side left out" in printed
    assert [(r["class"], r["width_px"]) for r in rows_of(out, "train")] == [("normal", "2")]


def test_what_a_coco_dataset_cannot_give(coco, out, slides):
    for more, message in (
        (("--field-um", "50"), "image 1 (a.png) has no mpp: give the field with --field-boxes"),
        (("--field-boxes", "1", "--folds", "2"), "--folds: of slides; a COCO dataset has its own splits"),
        (("--mode", "section"), "there is only centred"),
        (("--field-boxes", "1", "--class", "*="), "annotations_train.json: has no object of a class"),
        (("--field-boxes", "1", str(slides)), "is no COCO dataset, as "),
    ):
        assert message in run(coco, out, *TASK, *more, exit_code=2, args=())
    assert not out.exists()


def test_real_glomeruli(shared_data, out):
    """Drawn: test_the_objects_of_a_coco_dataset."""
    run(shared_data / "kidney_roi", out, *TASK, "--field-boxes", "1.5", args=())
    rows = [row for split in ("train", "val") for row in rows_of(out, split)]
    assert len(rows) == 922 and sum(row["class"] == "sclerotic" for row in rows) == 215
    assert {row["patient"] for row in rows} == {"HE_I_1", "HE_I_2", "PAS_I_4"}


def test_a_dataset_records_how_it_was_cut(tmp_path):
    cut = Cut("centred", field_boxes=1.5)
    assert read_cut(str(tmp_path)) is None
    write_cut(cut, str(tmp_path))
    assert read_cut(str(tmp_path)) == cut
    (tmp_path / "cut.json").write_text('{"mode": "grid"}')
    with pytest.raises(InputError, match=r"cut.json: does not say how the images were cut .*remove it"):
        read_cut(str(tmp_path))
