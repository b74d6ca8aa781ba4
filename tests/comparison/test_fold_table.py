"""A table on folds: two of "disks", tiny networks; and what pooling means, by hand."""

import csv
import json
from collections import Counter

from mhkd.comparison.compare import pool
from mhkd.comparison.folds import Folds
from mhkd.comparison.report import to_markdown
from mhkd.comparison.run import run_tables
from mhkd.comparison.scores import score
from mhkd.data.folds import fold_names
from mhkd.errors import InputError

import pytest
from detectron2.data import DatasetCatalog, Metadata
from detectron2.structures import BoxMode
from support import DISKS, TINY, edit_coco, write_disks

PAIRS = dict(zip(TINY[::2], TINY[1::2])) | dict(zip(DISKS[::2], DISKS[1::2]))
OPTIONS = [x for k, v in PAIRS.items() if not k.startswith("DATASETS.") for x in (k, v)]


def test_pooled_ap_is_that_of_the_detections_together():
    """Two folds with an object each. Alone they have 100 and 50, mean 75; together a false positive is above
    both hits, and precision is 2/3 at best, up to full recall."""

    disk = {"bbox": [0, 0, 10, 10], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0}
    images = [{"image_id": i, "height": 50, "width": 50, "annotations": [disk]} for i in (1, 2)]
    classes = Metadata(name="two folds", thing_classes=["disk"])

    def found(image, at, value):
        return {"image_id": image, "category_id": 0, "bbox": [at, at, 10, 10], "score": value}

    first, second = [found(1, 0, 0.9)], [found(2, 30, 0.95), found(2, 0, 0.8)]
    assert score(images[:1], classes, first, 100)["AP"] == pytest.approx(100)
    assert score(images[1:], classes, second, 100)["AP"] == pytest.approx(50)
    together = pool([{"student": first}, {"student": second}])
    assert together == {"student": first + second}
    assert score(images, classes, together["student"], 100)["AP"] == pytest.approx(200 / 3)


@pytest.fixture(scope="module")
def disks_of_three(tmp_path_factory):
    """Six slides of three people, each with one slide in val or two."""
    root, patch = tmp_path_factory.mktemp("data"), pytest.MonkeyPatch()
    folder = write_disks(root, "disks_of_three")
    for split, people in (("train", "aabc"), ("val", "bc")):
        edit_coco(
            folder,
            lambda content: [i.update(individual=p) for i, p in zip(content["images"], people)],  # noqa: B023
            split,
        )
    patch.setenv("DETECTRON2_DATASETS", str(root))
    yield
    patch.undo()


def fill(out, folds, only=("none",), said=None, **more):
    return run_tables(
        "V", "disks_of_three", "cpu", [0], out, OPTIONS, only, samples=20, folds=folds, command="make table",
        echo=said.append if said is not None else lambda _: None, **more,
    )  # fmt: skip


@pytest.mark.slow
def test_a_table_of_two_folds(disks_of_three, tmp_path):
    fill(tmp_path, Folds(2, by="slide"))
    root = tmp_path / "disks_of_three_cpu"
    content = json.loads((root / "table_V_slidefolds2.json").read_text())
    (row,) = content["rows"]
    assert row["key"] == "none" and content["test_images"] == 6 and content["training_images"] == 3
    assert (content["folds"], content["fold"], content["folds_by"]) == (2, None, "slide")
    assert (content["interval_by"], content["interval_groups"]) == ("slide", 6)  # three people are too few
    assert (content["people"], content["people_in_training_too"]) == (3, 3)
    assert content["config"] == "KidneyROI/mhkd_R18_FPN_cpu.yaml"

    # Each fold has a teacher of its own, which its rows share, and every image is scored once.
    folders = [root / f"slidefold{k}of2_seed0" for k in (1, 2)]
    teachers = [{p.stat().st_ino for p in f.glob("*/0_teacher/model_final.pth")} for f in folders]
    assert [len(t) for t in teachers] == [1, 1] and teachers[0] != teachers[1]
    sides = [
        [{e["slide"] for e in DatasetCatalog.get(name)} for name in names]
        for names in fold_names("disks_of_three", 2, "slide")
    ]
    assert all(not train & val for train, val in sides)
    assert Counter(s for _, val in sides for s in val) == Counter(s for t, v in sides[:1] for s in t | v)

    text = (root / "table_V_slidefolds2.md").read_text()
    assert "2 folds by slide, each with a teacher of its own: 6 images, each scored by networks" in text
    assert "People are not disjoint: 3 of the 3 who are scored are in the training images too; of new" in text
    others = ["global_only", "local_only", "output_only"]
    assert [r["key"] for r in content["not_run"]] == others and text.count("| not run |") == 3
    with open(root / "table_V_slidefolds2.csv", encoding="utf-8-sig") as f:
        states = {r["row"]: r["status"] for r in csv.DictReader(f)}
    assert states == {"none": "finished", **dict.fromkeys(others, "not run")}

    # One fold alone is another table of the same trainings.
    said = []
    fill(tmp_path, Folds(2, 1, "slide"), said=said)
    assert not [line for line in said if line.startswith("Training")]
    single = json.loads((root / "table_V_slidefold1of2.json").read_text())
    assert single["test_images"] == len(sides[0][1]) and single["fold"] == 1

    # How large a difference could be seen: half the interval's width.
    content["rows"][0]["difference"] = {"to": "x", "AP": 1.0, "interval": [-1.0, 3.0], "verdict": "undecided"}
    assert "Half their width is 2.0 AP: a smaller difference" in to_markdown(content)


def test_what_folds_cannot_divide_is_one_error(disks_of_three, tmp_path):
    with pytest.raises(
        InputError, match=r"3 patient\(s\) cannot be divided into 5 folds: ask for 2 to 3, or go by slide"
    ):
        fill(tmp_path, Folds(5), dry_run=True)
    with pytest.raises(InputError, match="folds divide the NAME_train and NAME_val of one dataset"):
        run_tables(
            "V", "disks_of_three", "cpu", [0], tmp_path,
            [*OPTIONS, "DATASETS.TEST", "('disks_of_three_train',)"], ("none",), dry_run=True,
            folds=Folds(2, by="slide"), echo=lambda _: None,
        )  # fmt: skip
    with pytest.raises(InputError, match="choose one of 1 to 2"):
        Folds(2, 3)
