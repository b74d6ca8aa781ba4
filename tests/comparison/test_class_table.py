"""A table of classification for real, and its student in use: tiny networks, grey images, two folds."""

import csv
import json

from mhkd.classifier import load_classifier
from mhkd.cli import main
from mhkd.comparison.class_rows import CLASS_TABLES
from mhkd.comparison.class_run import Asked, run_class_table
from mhkd.comparison.folds import Folds
from mhkd.errors import InputError
from mhkd.files import write_text
from mhkd.slide_detection.torch_student import load as load_detector
from mhkd.visualization.attention import attention, draw_attention

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from labelled_images import write_labels
from PIL import Image
from support import tiny_config

pytestmark = pytest.mark.slow

OPTIONS = ("MODEL.RESNETS.STEM_OUT_CHANNELS", "8", "DATALOADER.NUM_WORKERS", "0", "SOLVER.IMS_PER_BATCH", "4")


class Filled:
    def __init__(self, out):
        self.out, self.root, self.said = out, out / "cells", []

    def fill(self, only=("kd",), folds=None, **changes):
        self.said = []
        asked = Asked("cells", (2,), folds or Folds(2), 2, 50, changes.pop("options", OPTIONS), "make table")
        return run_class_table(
            CLASS_TABLES["resolution"], asked, self.out, only, echo=self.said.append, **changes
        )

    @property
    def content(self):
        return json.loads((self.root / "table_resolution.json").read_text())


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    patch, root = pytest.MonkeyPatch(), tmp_path_factory.mktemp("data")
    patch.setenv("DETECTRON2_DATASETS", str(root))
    rows = [(f"{p}{k}.png", c, f"s{p}", f"p{p}") for p, c in enumerate(("dark", "pale") * 4) for k in "ab"]
    write_labels(root, rows[:12])
    write_labels(root, rows[12:], split="val")
    filled = Filled(tmp_path_factory.mktemp("tables"))
    filled.fill()
    yield filled
    patch.undo()


def test_rows_are_scored_and_others_named(filled):
    rows = {r["key"]: r for r in filled.content["rows"]}
    done = {k for k, r in rows.items() if r["status"] == "finished"}
    assert done == {"teacher", "kd_x2"}
    assert rows["kd_ad2_x2"]["status"] == "not run"
    assert filled.content["images"] == 16 and filled.content["interval_groups"] == 8
    assert all(sum(map(sum, rows[k]["confusion"])) == 16 for k in done)
    assert rows["kd_x2"]["flops_of_teacher"] < 1
    text = (filled.root / "table_resolution.md").read_text()
    assert "not run" in text and "2 folds by patient, 16 images" in text
    assert (filled.root / "confusion" / "kd_x2.png").is_file() and (
        filled.root / "table_resolution.png"
    ).is_file()


def test_the_teacher_of_a_fold_is_trained_once(filled):
    for fold in ("fold1of2", "fold2of2"):
        teachers = (filled.root / fold).glob("*/0_teacher/model_final.pth")
        assert len({p.stat().st_ino for p in teachers}) == 1  # hard links


def test_what_is_finished_is_neither_trained_nor_scored_again(filled):
    before = {p: p.stat().st_mtime_ns for p in filled.root.rglob("predictions.json")}
    assert len(before) >= 4
    filled.fill()
    assert not [line for line in filled.said if line.startswith("Training")]
    assert before == {p: p.stat().st_mtime_ns for p in filled.root.rglob("predictions.json")}
    filled.fill(folds=Folds(2, 1))
    assert not [line for line in filled.said if line.startswith("Training")]
    single = json.loads((filled.root / "table_resolution_fold1.json").read_text())
    assert single["fold"] == 1 and single["images"] == 8


def test_other_settings_are_refused(filled):
    with pytest.raises(InputError, match="was trained with other settings: .*SOLVER.BASE_LR"):
        filled.fill(options=(*OPTIONS, "SOLVER.BASE_LR", "0.01"))
    with pytest.raises(InputError, match="INPUT.LR_FACTOR is set by the table itself"):
        filled.fill(options=("INPUT.LR_FACTOR", "4"))


def test_grades_are_scored_as_such_without_training_anew(filled):
    ordered = (*OPTIONS, "MHKD.ORDERED_CLASSES", "True")
    filled.fill(folds=Folds(2, 2), options=ordered)
    assert not [line for line in filled.said if line.startswith("Training")]
    rows = json.loads((filled.root / "table_resolution_fold2.json").read_text())["rows"]
    assert ["kappa" in r["scores"] for r in rows if r["status"] == "finished"] == [True, True]


def test_a_third_of_the_patients_labelled_the_others_without(filled):
    filled.fill(only=("kd_ad2",), folds=Folds(2, 1), dry_run=True)
    plan = [line.split(",")[0] for line in filled.said[:-1]]
    assert plan == ["teacher_third", "kd_ad2_x2"]
    assert "shares 0_teacher" in filled.said[1]


def test_the_student_tells_classes_and_shows_where_it_looks(filled, tmp_path):
    folder = filled.root / "fold1of2" / "kd_x2"
    student, teacher = folder / "student", folder / "0_teacher" / "teacher"
    image = tmp_path / "a.png"
    Image.new("RGB", (32, 24), (60, 60, 60)).save(image)
    run = CliRunner().invoke(
        main, ["classify", str(image), "--student", str(student), "--out", str(tmp_path / "out")]
    )
    assert run.exit_code == 0, run.output
    with open(tmp_path / "out" / "classes.csv", encoding="utf-8-sig") as f:
        (row,) = csv.DictReader(f)
    classifier = load_classifier(str(student))
    lr = np.full((12, 16, 3), 60, np.uint8)
    expected = classifier.classify([lr])[0]
    assert [float(row["p(dark)"]), float(row["p(pale)"])] == pytest.approx(expected.tolist(), abs=1e-6)
    assert row["class"] == ("dark", "pale")[expected.argmax()]

    said, cam = attention(classifier.network, lr, 0)
    assert said == pytest.approx(expected, abs=1e-6)
    assert cam.shape == tuple(classifier.network.look(torch.zeros(1, 3, 12, 16))[0].shape[2:])
    assert cam.min() >= 0 and cam.max() <= 1
    arguments = [
        "--student",
        str(student),
        "--teacher",
        str(teacher),
        "--dataset",
        "cells_val",
        "--limit",
        "2",
    ]
    run = CliRunner().invoke(main, ["overlay", *arguments, "--out", str(tmp_path / "looks")])
    assert run.exit_code == 0, run.output
    assert len(list((tmp_path / "looks").glob("*.png"))) == 2


def test_one_kind_of_student_for_the_other(filled, tmp_path):
    student = filled.root / "fold1of2" / "kd_x2" / "student"
    with pytest.raises(InputError, match="tells classes of images and finds nothing"):
        load_detector(str(student), "", None, 300.0, None, None, None)
    write_text(tiny_config(tmp_path).dump(), tmp_path / "config.yaml")
    (tmp_path / "model_final.pth").touch()
    with pytest.raises(InputError, match="is trained for detection, not to tell classes of images"):
        load_classifier(str(tmp_path))


def test_a_map_is_drawn_where_it_is():
    """A map of one cell in the upper left corner changes nothing but the image's upper left."""
    image, cam = np.full((20, 20, 3), 128, np.uint8), np.zeros((4, 4))
    cam[0, 0] = 1
    drawn = draw_attention(image, cam, (20, 20))
    assert drawn.shape == (40, 20, 3) and (drawn[:20] == 128).all()
    none = draw_attention(image, np.zeros((4, 4)), (20, 20))
    changed = np.argwhere((drawn != none).any(2))
    assert changed.min(0).tolist() == [20, 0] and changed.max() < 20 + 10
