"""Parts of a dataset by patient, also of a fold's training images."""

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.data import ensure_registered
from mhkd.data.parts import Part
from mhkd.errors import InputError

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from labelled_images import write_labels


def write_patients(root, count=8):
    """One slide a patient, two images a slide."""
    rows = [
        (f"{p}{k}.png", c, f"s{p}", f"p{p}")
        for p, c in enumerate(("dark", "pale") * (count // 2))
        for k in "ab"
    ]
    write_labels(root, rows[:-4])
    write_labels(root, rows[-4:], split="val")


def test_parts_divide_patients(root):
    write_patients(root)
    names = [f"cells_train_part{k}of3" for k in (1, 2, 3)]
    ensure_registered(names)
    parts = [DatasetCatalog.get(name) for name in names]
    files = [e["file_name"] for part in parts for e in part]
    assert sorted(files) == sorted(e["file_name"] for e in DatasetCatalog.get("cells_train"))
    assert len(set(files)) == len(files) == 12
    for name, part in zip(names, parts):
        assert {e["label"] for e in part} == {0, 1}  # each has its share of both
        assert MetadataCatalog.get(name).thing_classes == ["dark", "pale"]
        assert MetadataCatalog.get(name).evaluator_type == "classification"
    patients = [{e["patient"] for e in part} for part in parts]
    assert sum(map(len, patients)) == len(set().union(*patients)) == 6


def test_parts_of_a_fold_know_nothing_of_what_is_scored(root):
    write_patients(root)
    parts = ["cells_fold1of4_train_part1of3", "cells_fold1of4_train_part3of3"]
    ensure_registered([*parts, "cells_fold1of4_val"])
    first, third = map(DatasetCatalog.get, parts)
    scored = {e["patient"] for e in DatasetCatalog.get("cells_fold1of4_val")}
    assert first and third
    assert not scored & {e["patient"] for e in [*first, *third]}
    assert {e["image_id"] for e in first}.isdisjoint(e["image_id"] for e in third)


def test_parts_of_folds_by_slide_are_by_slide(root):
    """One patient could not be divided."""
    rows = [(f"{k}.png", ("dark", "pale")[k % 2], f"s{k}", "p") for k in range(12)]
    write_labels(root, rows)
    name = "cells_slidefold1of2_train_part1of3"
    ensure_registered([name])
    assert len(DatasetCatalog.get(name)) == 2


def test_names(root):
    assert Part.parse("a_train_part2of3") == Part("a_train", 2, 3)
    assert Part.parse("a_train_part2of3").name == "a_train_part2of3"
    assert Part.parse("a_train") is None
    with pytest.raises(InputError, match="parts are 1 to N of N"):
        Part.parse("a_train_part0of3")
    write_patients(root)
    with pytest.raises(
        InputError, match=r"'cells_val_part1of9': 2 patient\(s\) cannot be .*: ask for 2 to 2$"
    ):
        ensure_registered(["cells_val_part1of9"])
        DatasetCatalog.get("cells_val_part1of9")
    with pytest.raises(InputError, match="gone_train"):
        ensure_registered(["gone_train_part1of3"])
