"""`mhkd inspect` of images with a class each: counts, and whatever is wrong."""

import json

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.cli import main
from mhkd.data.inspect import inspect_datasets, summary
from mhkd.errors import InputError
from mhkd.visualization.inspection import inspect

import numpy as np
import pytest
from click.testing import CliRunner
from labelled_images import write_labels
from PIL import Image
from support import write_disks

TRAIN = [("a.png", "dark", "s1", "p1"), ("b.png", "pale", "s2", "p2"), ("c.png", "dark", "s2", "p2")]
VAL = [("d.png", "dark", "s3", "p3"), ("e.png", "pale", "s4", "p4")]


def test_counts_of_a_sound_dataset(tmp_path):
    write_labels(tmp_path, TRAIN)
    write_labels(tmp_path, VAL, split="val")
    splits, warnings = inspect_datasets(["cells"], tmp_path)
    assert warnings.lines() == []
    figures = summary(splits[0], "px")
    assert (figures["images"], figures["slides"], figures["patients"], figures["mpp"]) == (3, 2, 2, None)
    assert figures["classes"]["dark"] == {"images": 2, "slides": 2, "patients": 2}
    assert figures["images_by_patient"] == {"p1": {"dark": 1}, "p2": {"dark": 1, "pale": 1}}
    assert figures["width_px"] == {"min": 32, "median": 32, "max": 32}


def test_whatever_is_wrong_is_counted(tmp_path):
    rows = [
        *TRAIN,
        ("cut.png", "dark", "s1", "p1"),
        ("images/a.png", "pale", "s1", "p1"),
        ("gone.png", "dark", "s3", "p3"),
    ]
    csv_file = write_labels(tmp_path, rows)
    write_labels(tmp_path, [("d.png", "dark", "s2", "p2"), ("e.png", "Dark", "s3", "p3")], split="val")
    images = csv_file.parent / "images"
    (images / "gone.png").unlink()
    (images / "cut.png").write_bytes((images / "cut.png").read_bytes()[:-40])
    (csv_file.parent / "labels_more.csv").write_text("file_name;klass\n")
    splits, warnings = inspect_datasets(["cells"], tmp_path)
    assert [s.name for s in splits] == ["cells_train", "cells_val"]
    assert [len(s.entries) for s in splits] == [3, 2] and splits[0].num_images == 6
    lines = "\n".join(warnings.lines())
    for line in (
        "2 images that training refuses: ", "1 images that are there twice: ", "1 slides in two splits: s2",
        "1 patients in two splits: p2", "1 classes that training does not see: Dark (in cells_val)",
        "1 splits that cannot be read: ",
    ):  # fmt: skip
        assert line in lines
    (csv_file.parent / "labels_more.csv").unlink()
    lines = "\n".join(inspect_datasets(["cells"], tmp_path)[1].lines())
    assert "2 classes that training refuses: " in lines and "'dark' and 'Dark' differ only" in lines


def test_one_class_is_said_and_no_table_is_an_error(tmp_path):
    write_labels(tmp_path, TRAIN[:1])
    assert inspect_datasets(["cells_train"], tmp_path)[1].lines() == [
        "1 splits of one class: cells_train: dark"
    ]
    write_labels(tmp_path, ["a.png,"], header="file_name,class")
    assert inspect_datasets(["cells_train"], tmp_path)[1].lines() == [
        "1 splits of images without a class, which MHKD.UNLABELED alone takes: cells_train"
    ]
    write_labels(tmp_path, [], text="")
    with pytest.raises(InputError, match=r"labels_train\.csv: has no column file_name, class"):
        inspect_datasets(["cells_train"], tmp_path)


def test_the_command_draws_and_counts_them(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    write_labels(tmp_path, TRAIN)
    write_labels(tmp_path, ["f.png,", "g.png,"], split="more", header="file_name,class")
    out = tmp_path / "out"
    result = CliRunner().invoke(main, ["inspect", "cells", "--out", str(out), "--num-images", "2"])
    assert result.exit_code == 0, result.output
    table = [line.split() for line in result.output.splitlines()]
    assert ["cells_train", "dark", "2", "67", "%", "2", "2"] in table
    assert ["cells_more", "(none)", "2", "100", "%", "2", "–"] in table
    sheet = np.asarray(Image.open(out / "cells_train.png"))
    assert sheet.shape[1] == 2 * 768 + 8
    figures = json.loads((out / "inspect.json").read_text())["splits"]
    assert figures["cells_train"]["classes"]["pale"]["images"] == 1


def test_beside_boxes(tmp_path):
    """In one report, each with a table of its own."""
    write_labels(tmp_path, TRAIN)
    write_disks(tmp_path, "boxes", size=128)
    report, _ = inspect(["cells", "boxes"], root=tmp_path)
    table = [line.split() for line in report.splitlines()]
    assert ["boxes_val", "2", "0", "2", "–", "0.5", "4", "0", "4"] in table
    assert ["cells_train", "3", "2", "2", "–", "32", "24"] in table


@pytest.mark.slow
def test_real_images_have_no_faults(shared_data):
    """Drawn: test_counts_of_a_sound_dataset."""
    splits, warnings = inspect_datasets(["glas"], shared_data)
    assert [len(s.entries) for s in splits] == [99, 28] and warnings.lines() == []
