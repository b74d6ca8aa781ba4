import json

from mhkd.cli import main
from mhkd.data.inspect import inspect_datasets, sizes, summary
from mhkd.errors import InputError

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

WIDTH, HEIGHT = 64, 48


def image(number, slide=None, **more):
    entry = {"id": number, "file_name": f"{number}.png", "width": WIDTH, "height": HEIGHT, **more}
    return {**entry, **({"slide": slide} if slide else {})}


def box(number, image_id, bbox, category_id=1, **more):
    keys = {"id": number, "image_id": image_id, "category_id": category_id}
    return {**keys, "bbox": bbox, **more}


def write(root, split, images, annotations, classes=("normal", "sclerotic"), name="kidneys"):
    folder = root / name
    folder.mkdir(exist_ok=True)
    for entry in images:
        if isinstance(entry, dict) and "file_name" in entry:
            path = folder / f"{split}_{entry['file_name']}"
            entry["file_name"] = path.name
            grey = sum(split.encode()) % 256  # or they would be copies
            cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), grey, np.uint8))
    categories = [{"id": k + 1, "name": c} for k, c in enumerate(classes)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / f"annotations_{split}.json").write_text(json.dumps(content))
    return folder


def test_counts_and_sizes_of_a_sound_dataset(tmp_path):
    images = [
        image(1, "a", patient="p", mpp=2.0),
        image(2, "a", patient="p", mpp=2.0),
        image(3, "b", patient="p", mpp=4.0),
    ]
    found = [
        box(1, 1, [0, 0, 40, 40]),
        box(2, 1, [10, 10, 30, 30], 2),
        box(3, 3, [5, 5, 16, 25]),
        box(4, 3, [0, 0, 9, 9], iscrowd=1),
    ]
    write(tmp_path, "train", images, found)
    write(tmp_path, "val", [image(1, "c", mpp=2.0)], [box(1, 1, [1, 1, 40, 40])])
    (train, val), warnings = inspect_datasets(["kidneys"], tmp_path)
    assert warnings.lines() == []
    figures = summary(train, "um")
    # 40 px x 2 um = 80 um; sqrt(16 x 25) = 20 px x 4 um = 80 um; 30 px x 2 um = 60 um
    assert figures.pop("size_um") == {
        "normal": {"min": 80.0, "p5": 80.0, "median": 80.0, "p95": 80.0, "max": 80.0},
        "sclerotic": {"min": 60.0, "p5": 60.0, "median": 60.0, "p95": 60.0, "max": 60.0},
    }
    assert figures == {
        "annotation_file": str(tmp_path / "kidneys" / "annotations_train.json"),
        "images": 3,
        "images_without_objects": 1,
        "slides": 2,
        "patients": 1,
        "objects": 3,
        "ignored": 1,
        "objects_by_class": {"normal": 2, "sclerotic": 1},
        "mpp": [2.0, 4.0],
    }
    assert (val.name, len(sizes(val, "px")["normal"])) == ("kidneys_val", 1)


def test_every_fault_is_counted_and_the_rest_still_read(tmp_path):
    images = [image(1), image(2), image(3), image(3), {"id": 4, "width": 1, "height": 1}, image(5)]
    images += ["image", image(6, width=WIDTH + 1)]
    found = [
        box(1, 1, [0, 0, 10, 10]),
        box(2, 1, [0, 0, 10, 10]),  # again
        box(3, 1, [5, 5, 0, 10]),
        box(4, 1, [5, 5, 10, -1]),
        box(5, 2, [60, 5, 10, 10]),
        box(6, 2, [1e9, 5, 10, 10]),
        box(7, 2, [5, 5, float("nan"), 10]),
        box(8, 2, "box"),
        box(9, 99, [0, 0, 10, 10]),
        box(10, 2, [0, 0, 10, 10], 3),
        box(11, 5, [0, 0, 10, 10]),  # its image is gone: counted there
        box(1, 3, [0, 0, 10, 10]),
        box("12", 3, [0, 0, 10, 10]),
        {"id": 13},
        box(14, 3, [3, 3, 20, 20]),
    ]
    folder = write(tmp_path, "train", images, found)
    (folder / "train_5.png").unlink()
    (split,), warnings = inspect_datasets(["kidneys_train"], tmp_path)
    assert dict(warnings.counts) == {
        "images with the id of another": 1,
        "images without file_name": 1,
        "images without id, file_name, width, height": 1,
        "images that training refuses": 2,
        "boxes without an area": 2,
        "boxes that reach outside their images": 2,
        "boxes that are no numbers": 2,
        "annotations of no image": 1,
        "annotations of no category": 1,
        "annotations with the id of another": 1,
        "annotations whose ids are no whole numbers": 1,
        "annotations without image_id, category_id, bbox": 1,
        "objects that are there more than once": 1,
        "classes without a single object": 1,
    }
    assert "train_5.png" in warnings.examples["images that training refuses"][0]
    assert [len(e["annotations"]) for e in split.entries] == [2, 0, 1]
    assert split.num_images == 8


def test_what_is_in_two_splits_or_never_trained_on(tmp_path):
    write(tmp_path, "train", [image(1, "a", patient="p"), image(2, "b")], [box(1, 1, [0, 0, 9, 9])])
    val = [image(1, "a"), image(2, "c", patient="p")]
    write(tmp_path, "val", val, [box(1, 1, [0, 0, 9, 9], 2)])
    _, warnings = inspect_datasets(["kidneys_train", "kidneys_val"], tmp_path)
    assert warnings.lines() == [
        "1 slides in two splits: a in kidneys_train and kidneys_val",
        "1 patients in two splits: p in kidneys_train and kidneys_val",
        "1 classes that training does not see: sclerotic (in kidneys_val)",
    ]


def test_folds_may_share_slides_with_each_other_but_not_within(tmp_path):
    for split, slide in (("fold0_train", "a"), ("fold0_val", "b"), ("fold1_train", "b")):
        write(tmp_path, split, [image(1, slide)], [box(1, 1, [0, 0, 9, 9])], ("normal",))
    write(tmp_path, "fold1_val", [image(1, "b")], [box(1, 1, [0, 0, 9, 9])], ("normal",))
    _, warnings = inspect_datasets(["kidneys"], tmp_path)
    assert warnings.lines() == ["1 slides in two splits: b in kidneys_fold1_train and kidneys_fold1_val"]


@pytest.mark.parametrize("mpp, median", [(0.25, "5"), (250.0, "5000")])
def test_resolution_at_which_no_glomerulus_has_that_size(tmp_path, mpp, median):
    images = [image(1, "right", mpp=5.0), image(2, "wrong", mpp=mpp)]
    write(tmp_path, "train", images, [box(k, k, [9, 9, 20, 20]) for k in (1, 2)], ("normal",))
    _, warnings = inspect_datasets(["kidneys"], tmp_path)
    assert warnings.lines() == [
        "1 slides with objects of a size that no glomerulus has (is their mpp right?): "
        f"wrong, median {median} um"
    ]


def test_sizes_unlike_the_others(tmp_path):
    # 12 objects of 10 px, one of 60, one of 1 inside and one of 1 at the edge
    found = [box(k + 1, 1, [2 * k + 2, 9, 10, 10]) for k in range(12)]
    found += [box(20, 1, [2, 2, 60, 40]), box(21, 1, [30, 30, 1, 1]), box(22, 1, [63, 20, 1, 1])]
    # and a slide whose objects are all 4 times as large
    found += [box(30 + k, 2, [k, k, 40, 40]) for k in range(5)]
    images = [image(1, "a"), image(2, "b"), image(3, "c"), image(4, "d", mpp=5.0)]
    found += [box(40 + k, 3, [k, k, 10, 10]) for k in range(5)]
    write(tmp_path, "train", images, found, ("normal",))
    _, warnings = inspect_datasets(["kidneys"], tmp_path)
    assert warnings.lines() == [
        "3 images without mpp, where others have it: " + str(tmp_path / "kidneys" / "train_1.png"),
        "1 slides with objects much larger or smaller than on the others: b, median 40 px, others 10 px",
        # sqrt(60 x 40) = 49 < 50 is within 5 times
        "1 objects more than 5 times larger or smaller than the median of their class: "
        "kidneys_train: normal of 1 px (median 10) in train_1.png at (30, 30)",
    ]


def test_a_file_that_is_no_dataset_and_a_name_that_is_none(tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "annotations_train.json").write_text("{")
    with pytest.raises(InputError, match="no valid JSON"):
        inspect_datasets(["broken"], tmp_path)
    with pytest.raises(InputError, match="'nowhere'.*Datasets found: broken_train"):
        inspect_datasets(["nowhere"], tmp_path)


def test_command_writes_sheets_and_is_strict_on_demand(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    write(tmp_path, "train", [image(1, mpp=5.0)], [box(1, 1, [10, 10, 20, 20])], ("normal",))
    arguments = ["inspect", "kidneys_train@glomerulus", "--out", str(tmp_path / "out"), "--strict"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "No warnings." in result.output and "glomerulus" in result.output
    written = json.loads((tmp_path / "out" / "inspect.json").read_text())
    assert written["splits"]["kidneys_train@glomerulus"]["size_um"]["glomerulus"]["median"] == 100
    sheet = np.asarray(Image.open(tmp_path / "out" / "kidneys_train@glomerulus.png"))
    assert sheet.shape[1] == 2 * 768 + 8
    assert (tmp_path / "out" / "sizes.png").is_file()

    write(tmp_path, "train", [image(1)], [box(1, 1, [10, 10, 0, 20])], ("normal",))
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "WARNING: 1 boxes without an area" in result.output


@pytest.mark.slow
def test_real_regions_have_no_faults_but_that_splits_share_people(shared_data):
    """Drawn: test_counts_and_sizes_of_a_sound_dataset."""
    splits, warnings = inspect_datasets(["kidney_roi"], str(shared_data))
    counts = {s.name: summary(s, "px")["objects"] for s in splits}
    assert counts == {"kidney_roi_train": 633, "kidney_roi_val": 289}
    [line] = warnings.lines()
    assert line.startswith("3 patients in two splits: HE_I_1 in kidney_roi_train and kidney_roi_val")


def test_an_object_that_fills_its_image_is_named_once(tmp_path):
    """In tiles of a slide it is one; it is told where it is ignored too."""
    images = [image(1, "a"), image(2, "a"), image(3, "b")]
    found = [box(k, k, [0, 0, WIDTH, HEIGHT - 0.5], iscrowd=1) for k in (1, 2, 3)]
    found += [box(4, 1, [0, 0, WIDTH, 20]), box(5, 2, [0, 0, 30, 30], object_px=[90, 40])]
    write(tmp_path, "train", images, found)
    [line] = [w for w in inspect_datasets(["kidneys"], tmp_path)[1].lines() if "regions of interest" in w]
    assert line.startswith("3 objects as large as their image") and "normal of 90x40 px" in line


def test_a_split_that_cannot_be_read_does_not_hide_the_others(tmp_path):
    folder = write(tmp_path, "train", [image(1, "a")], [box(1, 1, [0, 0, 40, 40])], ["normal"])
    (folder / "annotations_val.json").symlink_to("nowhere")
    (folder / "val.json").write_text((folder / "annotations_train.json").read_text())
    (folder / "notes.json").write_text("{}")
    splits, warnings = inspect_datasets(["kidneys"], tmp_path)
    assert [s.name for s in splits] == ["kidneys_train"]
    cannot, stray = warnings.lines()
    assert "annotations_val.json" in cannot and "val.json" in stray and "notes.json" not in stray
    (folder / "annotations_train.json").unlink()
    with pytest.raises(InputError, match="annotations_val.json"):
        inspect_datasets(["kidneys"], tmp_path)
