"""Folds: no patient in two, every image in one, classes evenly spread; and as datasets of their own."""

from pathlib import Path

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.data import ensure_registered
from mhkd.data.folds import Fold, fold_names, group_keys, split_folds
from mhkd.data.registrar import annotation_files
from mhkd.errors import InputError

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from labelled_images import write_labels
from support import edit_coco, write_disks


def drawn_entries(rng, kind):
    """Patients with 1 to 9 images each, of labels or of objects."""
    entries = []
    for patient in range(rng.integers(8, 30)):
        for _ in range(rng.integers(1, 10)):
            entry = {"file_name": f"{len(entries)}.png", "slide": f"{patient}-{rng.integers(2)}"}
            if rng.random() < 0.8:
                entry["patient"] = str(patient)
            if kind == "labels":
                entry["label"] = int(rng.integers(3))
            else:
                found = rng.integers(0, 2, rng.integers(0, 5))
                entry["annotations"] = [{"category_id": int(c), "iscrowd": 0} for c in found]
            entries.append(entry)
    return entries


@pytest.mark.parametrize("kind", ["labels", "objects"])
@pytest.mark.parametrize("by", ["patient", "slide", "image"])
@pytest.mark.parametrize("seed", range(5))
def test_every_image_is_in_one_fold_and_no_patient_in_two(kind, by, seed):
    entries = drawn_entries(np.random.default_rng(seed), kind)
    folds = split_folds(entries, 5, by, seed)
    assert sorted(k for fold in folds for k in fold) == list(range(len(entries)))
    assert all(folds)
    keys = group_keys(entries, by)
    seen = [{keys[k] for k in fold} for fold in folds]
    assert sum(map(len, seen)) == len(set(keys))
    if by == "patient":  # of a slide's images one may name the patient, and others not
        patients = [{entries[k]["slide"] for k in fold} for fold in folds]
        assert sum(map(len, patients)) == len({e["slide"] for e in entries})
    assert split_folds(entries, 5, by, seed) == folds


@pytest.mark.parametrize("seed", range(3))
def test_equal_patients_are_shared_out_exactly(seed):
    """Ten patients of each of two classes, two images each: in each of five folds two patients of a class."""
    entries = [
        {"file_name": f"{p}-{k}", "patient": f"{p}", "label": int(p >= 10)}
        for p in range(20)
        for k in range(2)
    ]
    folds = split_folds(entries, 5, seed=seed)
    assert [sorted(entries[k]["label"] for k in fold) for fold in folds] == [[0] * 4 + [1] * 4] * 5
    assert folds != split_folds(entries, 5, seed=seed + 1)


def test_objects_count_and_ignored_ones_do_not():
    """The slide with six objects is alone; the one with six ignored is as good as empty."""

    def entry(slide, objects, iscrowd=0):
        return {
            "file_name": slide,
            "slide": slide,
            "annotations": [{"category_id": 0, "iscrowd": iscrowd}] * objects,
        }

    entries = [entry("a", 6), entry("b", 2), entry("c", 2), entry("d", 2), entry("e", 6, 1)]
    folds = {frozenset(entries[k]["slide"] for k in fold) for fold in split_folds(entries, 2, "slide")}
    assert folds == {frozenset("ae"), frozenset("bcd")}


@pytest.mark.parametrize("seed", range(3))
def test_slides_of_a_person_are_spread_over_the_folds(seed):
    """Two people with two equal slides each: in each of two folds one of either's."""
    entries = [
        {"file_name": f"{s}{k}", "slide": s, "patient": s[0], "annotations": [{"category_id": 0}] * 3}
        for s in ("a1", "a2", "b1", "b2")
        for k in range(2)
    ]
    folds = split_folds(entries, 2, "slide", seed)
    assert [sorted(entries[k]["patient"] for k in fold) for fold in folds] == [["a", "a", "b", "b"]] * 2


def test_a_fold_of_merged_classes_has_both_halves_and_knows_individuals(tmp_path, monkeypatch):
    folder = write_disks(tmp_path, "disks_of_individuals")
    edit_coco(folder, lambda c: [i.update(individual=f"I{i['id']}") for i in c["images"]], "val")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    found = []
    for names in fold_names("disks_of_individuals", 2, "slide", "@round"):
        ensure_registered(names)
        found += DatasetCatalog.get(names[1])
        assert [Path(f).name for f in annotation_files(names[1])] == [
            "annotations_train.json", "annotations_val.json"
        ]  # fmt: skip
    assert sorted(e["slide"] for e in found) == [f"train_{k}" for k in range(4)] + ["val_0", "val_1"]
    assert {e["slide"]: e["patient"] for e in found if "patient" in e} == {"val_0": "I1", "val_1": "I2"}


def test_too_few_patients_are_an_error_that_names_the_way_out():
    entries = [{"file_name": f"{k}", "patient": str(k % 3), "slide": str(k)} for k in range(9)]
    with pytest.raises(InputError, match=r"3 patient\(s\) cannot be divided into 5 folds: ask for 2 to 3$"):
        split_folds(entries, 5)
    with pytest.raises(InputError, match=r"1 patient\(s\) cannot be .*: there must be two or more$"):
        split_folds(entries[:1], 5)
    assert len(split_folds(entries, 5, "slide")) == 5
    with pytest.raises(InputError, match="folds by 'stain'"):
        split_folds(entries, 2, "stain")


def test_names():
    assert fold_names("a_b", 2) == [
        ("a_b_fold1of2_train", "a_b_fold1of2_val"), ("a_b_fold2of2_train", "a_b_fold2of2_val"),
    ]  # fmt: skip
    fold = Fold.parse("a_slidefold2of5_val@x")
    assert fold == Fold("a", 2, 5, "val", "slide", "@x")
    assert fold.name == "a_slidefold2of5_val@x" and fold.halves == ("a_train@x", "a_val@x")
    assert Fold.parse("a_fold0_train") is None  # of `mhkd tile --folds`
    for name in ("a_fold0of5_val", "a_fold6of5_val", "a_fold1of1_train"):
        with pytest.raises(InputError, match="folds are 1 to N of N"):
            Fold.parse(name)


def test_folds_are_datasets_of_train_and_val_together(root):
    rows = [(f"{p}{k}.png", c, f"s{p}", f"p{p}") for p, c in enumerate(("dark", "pale") * 4) for k in "ab"]
    write_labels(root, rows[:10])
    write_labels(root, rows[10:], split="val")
    scored = []
    for train, val in fold_names("cells", 4):
        ensure_registered([train, val])
        parts = [DatasetCatalog.get(name) for name in (train, val)]
        ids = [{e["image_id"] for e in part} for part in parts]
        assert ids[0] | ids[1] == set(range(1, 17)) and not ids[0] & ids[1]
        assert sorted(e["label"] for e in parts[1]) == [0, 0, 1, 1]
        assert MetadataCatalog.get(val).thing_classes == ["dark", "pale"]
        assert MetadataCatalog.get(val).evaluator_type == "classification"
        scored += [e["file_name"] for e in parts[1]]
    assert len(set(scored)) == 16


def test_folds_of_boxes(root):
    """One slide an image: six in three folds, all with the same two objects."""
    folder = write_disks(root, "boxes")
    edit_coco(folder, lambda c: c["images"][0].update(patient="p"))
    names = fold_names("boxes", 3, merged="@glomerulus")
    for train, val in names:
        ensure_registered([train, val])
        assert [len(DatasetCatalog.get(n)) for n in (train, val)] == [4, 2]
        assert MetadataCatalog.get(val).thing_classes == ["glomerulus"]
    ids = [e["image_id"] for _, val in names for e in DatasetCatalog.get(val)]
    assert sorted(ids) == [1, 2, 3, 4, 5, 6]
    with pytest.raises(
        InputError, match=r"'boxes_fold1of9_val': 6 patient\(s\) .*--folds-by slide, slidefold1of9"
    ):
        ensure_registered(["boxes_fold1of9_val"])
        DatasetCatalog.get("boxes_fold1of9_val")
    with pytest.raises(InputError, match="gone/annotations_train.json"):
        ensure_registered(["gone_fold1of5_val"])


def test_real_folds(shared_data):
    """Drawn: test_every_image_is_in_one_fold_and_no_patient_in_two."""
    for dataset, count, by, least in (("lymphoma", 303, "patient", 10), ("kidney_roi", 51, "slide", 100)):
        total = 0
        for _, val in fold_names(dataset, 5, by):
            ensure_registered([val], shared_data)
            entries = DatasetCatalog.get(val)
            total += len(entries)
            labels = [e["label"] for e in entries if "label" in e]
            objects = sum(len(e.get("annotations", ())) for e in entries)
            assert (np.bincount(labels, minlength=3).min() if labels else objects) >= least
        assert total == count
