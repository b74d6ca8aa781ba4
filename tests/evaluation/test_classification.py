"""The evaluator of classes, as Detectron2 calls it."""

import csv
import json

import mhkd  # noqa: F401
from mhkd.errors import InputError
from mhkd.evaluation.classification import ClassificationEvaluator
from mhkd.evaluation.predictions import read_predictions

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog

LABELS, PATIENTS = [0, 0, 1, 1], ["p", "p", "q", "r"]
SAID = [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]]


@pytest.fixture
def dataset():
    name = "evaluated_classes"
    entries = [
        {"file_name": f"/d/={k}.png", "image_id": k, "label": c, "patient": p, "slide": f"{p}1"}
        for k, (c, p) in enumerate(zip(LABELS, PATIENTS))
    ]
    DatasetCatalog.register(name, lambda: entries)
    MetadataCatalog.get(name).set(thing_classes=["benign", "malignant"])
    yield name
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def run(evaluator, said=SAID):
    evaluator.reset()
    for k, row in enumerate(said):
        evaluator.process([{"image_id": k}], [{"probabilities": torch.tensor(row)}])
    return evaluator.evaluate()["classification"]


def test_scores_files_and_votes(dataset, tmp_path):
    found = run(ClassificationEvaluator(dataset, str(tmp_path), samples=200))
    assert found["accuracy"] == 75 and found["balanced_accuracy"] == 75
    assert found["auroc"] == 100
    assert found["vote_accuracy"] == 100  # the mean of patient p is (0.65, 0.35)
    assert "kappa" not in found

    again = read_predictions(tmp_path)
    assert again.labels.tolist() == LABELS and again.class_names == ("benign", "malignant")
    assert again.groups.by == "patient"
    assert again.probabilities == pytest.approx(torch.tensor(SAID).numpy())

    with open(tmp_path / "predictions.csv", encoding="utf-8-sig") as f:
        rows = list(csv.DictReader(f))
    assert rows[1] == {
        "file_name": "/d/=1.png",
        "label": "benign",
        "predicted": "malignant",
        "p(benign)": "0.4",
        "p(malignant)": "0.6",
        "patient": "p",
        "slide": "p1",
    }
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["confusion"] == [[1, 1], [0, 2]]
    assert scores["interval_by"] == "patient" and scores["interval_groups"] == 3
    low, high = scores["intervals"]["accuracy"]
    assert low <= 75 <= high


def test_grades_have_kappa(dataset):
    assert run(ClassificationEvaluator(dataset, ordered=True))["kappa"] == pytest.approx(50)


def test_a_network_of_other_classes(dataset):
    with pytest.raises(InputError, match="tells 3 classes, but dataset .* has 2: benign, malignant"):
        run(ClassificationEvaluator(dataset), [[0.1, 0.2, 0.7]] * 4)


def test_no_image(dataset):
    with pytest.raises(InputError, match="no image"):
        run(ClassificationEvaluator(dataset), [])


def test_damaged_predictions(tmp_path):
    (tmp_path / "predictions.json").write_text(
        '{"classes": ["a"], "ordered": false, "images": [{"label": 0}]}'
    )
    with pytest.raises(InputError, match=r"predictions.json: cannot be read .*score the network again"):
        read_predictions(tmp_path)
