"""labels_<split>.csv: what is accepted, and one error for whatever is wrong."""

import os

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.data import ensure_registered, read_view, register_folders
from mhkd.data.inspect import inspect_datasets
from mhkd.data.label_checks import check_labelled_datasets
from mhkd.errors import InputError

import cv2
import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from labelled_images import write_labels
from PIL import Image

TRAIN = [("a.png", "dark", "s1", "p1"), ("b.png", "pale", "s2", "p2"), ("c.png", "dark", "s2", "p2")]
VAL = [("d.png", "dark", "s3", "p3"), ("e.png", "pale", "s4", "p4")]
BOTH = (["cells_train"], ["cells_val"])


def load(name="cells_train"):
    ensure_registered([name])
    return DatasetCatalog.get(name)


def test_a_table_becomes_a_dataset(root):
    write_labels(root, TRAIN)
    write_labels(root, [*VAL, ("f.png", "mid", "s5", "p5")], split="val")
    assert register_folders() == ["cells_train", "cells_val"]
    first, second, _ = load()
    assert first == {
        "file_name": str(root / "cells" / "images" / "a.png"), "image_id": 1, "width": 32, "height": 24,
        "label": 0, "slide": "s1", "patient": "p1",
    }  # fmt: skip
    # Numbered over all splits of the folder, so that a label is the same class in each: dark, mid, pale.
    assert second["label"] == 2
    assert [d["label"] for d in load("cells_val")] == [0, 2, 1]
    assert MetadataCatalog.get("cells_train").thing_classes == ["dark", "mid", "pale"]


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbffile_name,class,mpp\r\na.png,dark,0.5\r\nb.png,pale,0.5\r\n",
        b"file_name;class;mpp\na.png;dark;0,5\nb.png;pale;0,5\n;;\n\n",
        b'File_Name\tCLASS\tmpp\n"a.png"\t dark \t0.5\nimages/b.png\tpale\t.5',
    ],
    ids=["mark and Windows", "semicolons", "tabs"],
)
def test_whatever_spreadsheets_write_is_read(root, text):
    write_labels(root, TRAIN, text=text)
    entries = load()
    assert [d["label"] for d in entries] == [0, 1]
    assert [d["mpp"] for d in entries] == [0.5, 0.5]
    assert "patient" not in entries[0]
    assert MetadataCatalog.get("cells_train").thing_classes == ["dark", "pale"]


def test_grades_are_in_the_order_of_their_numbers(root):
    write_labels(root, [("a.png", "grade 10"), ("b.png", "grade 9")], header="file_name,class")
    load()
    assert MetadataCatalog.get("cells_train").thing_classes == ["grade 9", "grade 10"]


@pytest.mark.parametrize("classes", [("9" * 5000, "007", "7"), ("7", "9" * 5000, "007")])
def test_numbers_of_any_length_are_in_order_and_equal_ones_too(root, classes):
    write_labels(root, [(f"{k}.png", name) for k, name in enumerate(classes)], header="file_name,class")
    load()
    assert MetadataCatalog.get("cells_train").thing_classes == ["007", "7", "9" * 5000]


REGION = b"file_name,class,x_px,y_px,width_px,height_px\n"
FAULTS = {
    "names no image": b"file_name,class\n",
    "has no column file_name, class: its first line": b"",
    "has no column class: ": b"file_name,klass\na.png,dark\n",
    "has the column 'class' more than once": b"file_name,class,class\na.png,dark,dark\n",
    r"line 3 has 3 fields, the first line 2: ": b"file_name,class\na.png,dark\nb.png,pale,s\n",
    r"line 2 has 1 fields, the first line 2: ": b"file_name,class\na.png\n",
    r"line 3 has no class: fill it in": b"file_name,class\na.png,dark\nb.png,\n",
    r"line 3 has no class \(nor have 1 others\)": b"file_name,class\na.png,dark\nb.png,\nc.png,\n",
    r"line 2 has no file_name": b"file_name,class\n,dark\n",
    r"line 4 is the same image as line 2, images/a\.png": (
        b"file_name,class\na.png,dark\nb.png,pale\nimages/a.png,pale\n"
    ),
    r"the classes 'dark' and 'Dark' differ only": b"file_name,class\na.png,dark\nb.png,Dark\n",
    r"the classes 'a b' and 'ab' differ only": b"file_name,class\na.png,a b\nb.png,ab\n",
    r"the classes 'B\xf6' and 'bo\u0308' differ only": (
        "file_name,class\na.png,B\xf6\nb.png,bo\u0308\n".encode()
    ),
    r"the classes 'dark' and 'dark\\u200b' differ only": (
        "file_name,class\na.png,dark\nb.png,dark\u200b\n".encode()
    ),
    r"line 2 has mpp 'O\.5': it must be a positive number": b"file_name,class,mpp\na.png,dark,O.5\n",
    r"line 2 has mpp '0'": b"file_name,class,mpp\na.png,dark,0\n",
    r"line 2 has mpp 'nan'": b"file_name,class,mpp\na.png,dark,nan\n",
    r"line 2: \.\./x\.png is not below": b"file_name,class\n../x.png,dark\n",
    r"line 2: /etc/x\.png is not below": b"file_name,class\n/etc/x.png,dark\n",
    r"gone\.png: there is no such image": b"file_name,class\ngone.png,dark\n",
    r"images: is no image": b"file_name,class\nimages,dark\n",
    r"cannot be read as CSV .*'utf-8'.*: save it as CSV in UTF-8": (
        "file_name,class\nä.png,dark\n".encode("latin-1")
    ),
    r"cannot be read as CSV \(it has characters of code 0, as UTF-16": b"file_name,class\na.png,dark\0\n",
    r"cannot be read as CSV .*, as UTF-16 would": "file_name,class\na.png,dark\n".encode("utf-16-le"),
    r"cannot be read as CSV .*unexpected end": b'file_name,class\n"a.png,dark\n',
    r"line 2 has x_px but no y_px, width_px": REGION + b"a.png,dark,1,,,\n",
    r"line 2 has width_px 1\.5: whole": REGION + b"a.png,dark,1,1,1.5,2\n",
    r"the slide .*gone\.svs does not exist": REGION + b"../gone.svs,dark,1,1,2,2\n",
    r"the slide /dev/zero does not exist, or is no file": REGION + b"/dev/zero,dark,1,1,2,2\n",
}  # fmt: skip


@pytest.mark.parametrize("message", FAULTS)
def test_every_fault_is_one_error_that_names_the_file(root, message):
    path = write_labels(root, TRAIN, text=FAULTS[message])
    with pytest.raises(InputError, match=message) as error:
        load()
    assert str(path.parent) in str(error.value) and "\n" not in str(error.value)


def write_deep_colours(path, kind):
    """Of which Pillow would read the upper eight bits: none, where twelve are used and all are dark."""
    path.write_bytes(cv2.imencode(kind, np.full((9, 9, 3), 255, np.uint16))[1].tobytes())


IMAGES = {
    r"bad\.png: is no image": lambda p: p.write_bytes(b"what"),
    r"bad\.png: (is cut short|cannot be decoded)": lambda p: p.write_bytes(p.read_bytes()[:-30]),
    r"bad\.png: has more than 8 bits a channel": lambda p: Image.new("I;16", (9, 9)).save(p),
    r"bad\.png: has more than 8 bits a": lambda p: write_deep_colours(p, ".png"),
    r"bad\.png: has more than 8 bits": lambda p: write_deep_colours(p, ".tiff"),
    r"lines? ?.*of 1x1|has width and height 1x1 px": lambda p: Image.new("RGB", (1, 1)).save(p),
}


@pytest.mark.parametrize("message", IMAGES)
def test_an_image_that_cannot_be_learned_from_is_named(root, message):
    write_labels(root, [*TRAIN, ("bad.png", "pale", "s1", "p1")])
    write_labels(root, VAL, split="val")
    IMAGES[message](root / "cells" / "images" / "bad.png")
    with pytest.raises(InputError, match=message) as error:
        check_labelled_datasets(*BOTH)
    assert "bad.png" in str(error.value)


def test_other_kinds_of_pixels_are_read_as_they_look(root):
    """Ink of four colours, and what is transparent is white."""
    write_labels(root, TRAIN)
    images = root / "cells" / "images"
    Image.new("CMYK", (32, 24), (0, 255, 255, 0)).save(images / "a.png", format="TIFF")
    Image.new("RGBA", (32, 24), (0, 0, 0, 0)).save(images / "b.png")
    Image.new("L", (32, 24), 77).save(images / "c.png")
    colours = [read_view(entry, "hr")[0, 0].tolist() for entry in load()]
    assert colours == [[255, 0, 0], [255, 255, 255], [77, 77, 77]]


def test_a_part_of_a_larger_image_is_read_from_it(root):
    """Without mpp in its own pixels; LR is the mean of the same ones."""
    header = "file_name,class,slide,patient,mpp,x_px,y_px,width_px,height_px"
    write_labels(root, ["a.png,dark,s,p,,8,4,16,8", "a.png,pale,s,p,,0,0,32,24"], header=header)
    part, whole = load()
    assert (part["width"], part["height"]) == (16, 8) and part["mpp"] is None
    pixels = read_view(whole, "hr")
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(root / "cells" / "images" / "a.png")))
    np.testing.assert_array_equal(read_view(part, "hr"), pixels[4:12, 8:24])
    mean = pixels[4:12, 8:24].reshape(2, 4, 4, 4, 3).mean((1, 3))
    assert np.abs(read_view(part, "lr", 4) - mean).max() <= 0.5


def test_without_classes_it_is_for_unlabelled_images(root):
    write_labels(root, TRAIN)
    write_labels(root, VAL, split="val")
    write_labels(root, ["g.png,", "h.png,"], split="more", header="file_name,class")
    assert all("label" not in d for d in load("cells_more"))
    assert check_labelled_datasets(*BOTH, ["cells_more"]) == ["dark", "pale"]
    with pytest.raises(InputError, match=r"labels_more\.csv: its images have no class: .*MHKD\.UNLABELED"):
        check_labelled_datasets(["cells_more"], ["cells_val"])


SPLITS = {
    r"labels_val\.csv: cells_val has images of 'mid', of which training has none": [
        ("f.png", "mid", "s5", "p5")
    ],
    r"s2: this slide is in both cells_train and cells_val": [("f.png", "dark", "s2", "p5")],
    r"p1: this patient is in both cells_train and cells_val": [("f.png", "dark", "s5", "p1")],
    r"classes 'dark' and 'DARK' differ": [("f.png", "DARK", "s5", "p5")],
    r"images/a\.png: this image is in both cells_train and cells_val": [("a.png", "dark", "s5", "p5")],
}


@pytest.mark.parametrize("message", SPLITS)
def test_splits_that_do_not_go_together(root, message):
    write_labels(root, TRAIN)
    write_labels(root, [*VAL, *SPLITS[message]], split="val")
    with pytest.raises(InputError, match=message):
        check_labelled_datasets(*BOTH)


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_another_name_of_a_file_is_the_same_image(root, link):
    images = write_labels(root, TRAIN).parent / "images"
    link(images / "a.png", images / "again.png")
    write_labels(root, [*VAL, ("again.png", "dark", "s5", "p5")], split="val")
    with pytest.raises(InputError, match=r"again\.png: this image is in both cells_train and cells_val"):
        check_labelled_datasets(*BOTH)
    write_labels(root, [*TRAIN, ("again.png", "dark", "s1", "p1")])
    with pytest.raises(InputError, match=r"line 5 is the same image as line 2, again\.png"):
        load()


def test_a_class_that_is_only_trained_is_said(root, caplog):
    write_labels(root, [*TRAIN, ("f.png", "mid", "s1", "p1")])
    write_labels(root, VAL, split="val")
    assert check_labelled_datasets(*BOTH) == ["dark", "mid", "pale"]
    assert "cells_val has no image of 'mid', which training has" in caplog.text


def test_a_slide_of_two_patients_is_a_mistake(root):
    write_labels(root, [*TRAIN, ("f.png", "pale", "s1", "p9")])
    write_labels(root, VAL, split="val")
    with pytest.raises(InputError, match="labels_train.csv: the slide s1 is of the patients 'p1', 'p9'"):
        check_labelled_datasets(*BOTH)
    _, warnings = inspect_datasets(["cells"], root)
    assert warnings.examples["slides of several patients"] == ["s1 in cells_train: p1, p9"]


def test_one_class_is_nothing_to_learn(root):
    write_labels(root, [("a.png", "dark", "s", "p")])
    write_labels(root, [("b.png", "dark", "t", "q")], split="val")
    with pytest.raises(InputError, match=r"labels_train\.csv: has only the class 'dark'"):
        check_labelled_datasets(*BOTH)


def test_what_a_name_cannot_mean(root):
    path = write_labels(root, TRAIN)
    with pytest.raises(InputError, match="leave out @dark"):
        ensure_registered(["cells_train@dark"])
    with pytest.raises(InputError, match=r"annotations_val\.json or labels_val\.csv: put it there"):
        ensure_registered(["cells_val"])
    (path.parent / "annotations_train.json").write_text("{}")
    both = "has both annotations_train.json and labels_train.csv"
    with pytest.raises(InputError, match=both):
        load()
    with pytest.raises(InputError, match=both):
        check_labelled_datasets(["cells_train"], [])


def test_boxes_are_no_classes(root, disks_root):
    with pytest.raises(InputError, match="disks_train is a dataset of boxes"):
        ensure_registered(["disks_train"], disks_root)
        check_labelled_datasets(["disks_train"], [])


def test_columns_that_are_not_read_are_named(root, caplog):
    write_labels(root, ["a.png,dark,p1", "b.png,pale,p2"], header="file_name,class,Patients")
    load()
    assert "columns that are not read: 'patients'" in caplog.text


def test_real_datasets(shared_data):
    """Drawn: test_a_table_becomes_a_dataset."""
    ensure_registered(["lymphoma_train", "lymphoma_val"], shared_data)
    assert check_labelled_datasets(["lymphoma_train"], ["lymphoma_val"], lr_factor=8) == ["CLL", "FL", "MCL"]
    assert [len(DatasetCatalog.get(f"lymphoma_{s}")) for s in ("train", "val")] == [218, 85]
