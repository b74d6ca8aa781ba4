"""Curves of AP against blur, noise, JPEG and a wrong resolution, of a tiny student without any training."""

import csv
import json

from mhkd.cli import main
from mhkd.comparison.robustness import AXES, WrongMppMapper, run_robustness
from mhkd.engine.evaluation import evaluate, prepare_datasets
from mhkd.engine.exported import export_cfg, export_network, load_network
from mhkd.errors import InputError
from mhkd.modeling.build import build_network
from mhkd.slides.views import read_view
from mhkd.tasks import get_task

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from detectron2.data import DatasetCatalog

STRENGTHS = {"blur": [2], "noise": [0, 16], "jpeg": [0], "mpp": [20]}


@pytest.fixture
def student(disks_cfg, tmp_path):
    """The folder of one that has not learned anything."""
    disks_cfg.MODEL.ROI_HEADS.NUM_CLASSES = 1
    prepare_datasets(disks_cfg)
    torch.manual_seed(0)
    network = build_network(get_task(disks_cfg).network_cfg(disks_cfg, "student"))
    export_network(network.state_dict(), export_cfg(disks_cfg, "student"), tmp_path / "student")
    return tmp_path / "student"


def test_a_wrong_resolution_is_another_factor_and_boxes_stay_where_they_are(disks_cfg):
    """At an error of 100 %, a pixel of ×4 is one of ×8; at 20 % 128 px are 27 LR pixels, not 32."""
    disks_cfg.MODEL.STUDENT.INPUT = "native"
    prepare_datasets(disks_cfg)
    entry = DatasetCatalog.get("disks_val")[0]
    mapper = WrongMppMapper(disks_cfg, False, view="lr")
    mapper.mpp_error = 1.0
    seen = mapper(entry)
    pixels = seen["image"].numpy().transpose(1, 2, 0)
    if disks_cfg.INPUT.FORMAT == "BGR":
        pixels = pixels[:, :, ::-1]
    assert np.abs(pixels.astype(int) - read_view(entry, "lr", 8)).max() <= 1  # rounded or cut off
    assert (seen["height"], seen["width"]) == (128, 128)
    mapper.mpp_error = 0.2
    assert mapper(entry)["image"].shape[1:] == (27, 27) and mapper(entry)["height"] == 128


@pytest.mark.slow
def test_curves_of_two_students(student, disks_cfg, tmp_path):
    network = load_network(disks_cfg, "student", student / "model_final.pth", ["disk"])
    plain = evaluate(disks_cfg, network, "student")
    out = tmp_path / "out"
    run_robustness({"a": student, "b": student}, "disks_val", out, STRENGTHS, "cpu", "mhkd robustness")
    content = json.loads((out / "robustness.json").read_text())
    assert [a["strengths"] for a in content["axes"]] == [[0, 2], [0, 16], [0], [0, 20]]
    rows = {(r["student"], r["axis"], r["strength"]): r for r in content["scores"]}
    assert len(rows) == 2 * 7 and all(rows["a", axis.name, 0]["AP"] == plain["AP"] for axis in AXES)

    # Nothing wrong is what `mhkd eval` finds, box by box; anything else is not, and is the same again.
    def found(folder, condition):
        (path,) = folder.glob(f"scored/*/{condition}/inference/student/disks_val/coco_*.json")
        return json.loads(path.read_text())

    evaluated = tmp_path / "output/inference/student/disks_val/coco_instances_results.json"
    assert found(out, "as_it_is") == json.loads(evaluated.read_text()) != []
    conditions = ["as_it_is", "blur_2", "mpp_20", "noise_16"]
    assert len({json.dumps(found(out, c)) for c in conditions}) == 4
    again = tmp_path / "again"
    run_robustness({"c": student}, "disks_val", again, STRENGTHS, "cpu")
    assert found(again, "noise_16") == found(out, "noise_16")

    # What is scored is not scored again.
    written = {p: p.stat().st_mtime_ns for p in out.rglob("scores.json")}
    assert len(written) == 4
    run_robustness({"a": student}, "disks_val", out, STRENGTHS, "cpu")
    assert written == {p: p.stat().st_mtime_ns for p in out.rglob("scores.json")}

    with open(out / "robustness.csv", encoding="utf-8-sig") as f:
        assert [r["strength"] for r in csv.DictReader(f) if r["axis"] == "mpp"] == ["0", "20"]
    assert "| error of the slide's mpp, % | 20 |" in (out / "robustness.md").read_text()
    assert min(cv2.imread(str(out / "robustness.png")).shape[:2]) > 400


def test_bad_input_is_one_clear_error(student, tmp_path):
    with pytest.raises(InputError, match="--jpeg 101: must lie between 0 and 100"):
        run_robustness({"a": student}, "disks_val", tmp_path, {**STRENGTHS, "jpeg": [101]}, "cpu")
    for arguments, said in (
        ([student, student, "--dataset", "disks_val"], f"a={student} b={student}"),
        ([f"a={student}", f"a={student}", "--dataset", "disks_val"], f"a={student} b={student}"),
        ([tmp_path / "nothing", "--dataset", "disks_val"], "config.yaml: missing"),
        ([student, "--dataset", "disks_of_nobody_val"], "disks_of_nobody_val"),
        ([student, "--dataset", "disks_val", "--blur", "much"], "--blur 'much'"),
    ):
        arguments = ["robustness", *map(str, arguments), "--device", "cpu", "--out", str(tmp_path / "out")]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code != 0 and said in result.output, result.output
        assert "Traceback" not in result.output
