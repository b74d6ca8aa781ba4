"""What leaves a training: networks on their own, what they record, and pictures of what they find."""

import shutil
from dataclasses import replace
from pathlib import Path

import mhkd
from mhkd.cli import main
from mhkd.data.mapper import PairedResolutionMapper
from mhkd.data.registrar import ensure_registered
from mhkd.engine import exported_cfg, load_exported, load_network, score_trained
from mhkd.errors import InputError
from mhkd.evaluation.best_threshold import Choice
from mhkd.evaluation.threshold_file import record_threshold
from mhkd.slides.views import read_view
from mhkd.training_data import read_training_data

import cv2
import pytest
import torch
from click.testing import CliRunner
from detectron2.data import DatasetCatalog
from detectron2.engine import DefaultPredictor
from killed_training import assert_equal_weights, train

pytestmark = pytest.mark.slow


def test_exported_student_loads_in_default_predictor_without_a_teacher(trained):
    folder = Path(trained.OUTPUT_DIR, "student")
    cfg = mhkd.load_student(folder, "cpu")
    predictor = DefaultPredictor(cfg)
    assert type(predictor.model).__name__ == "LowResolutionRCNN"
    names = {n.split(".")[0] for n, _ in predictor.model.named_parameters()}
    assert names == {"backbone", "proposal_generator", "roi_heads"}
    saved = torch.load(folder / "model_final.pth", weights_only=True)["model"]
    assert_equal_weights(saved, predictor.model.state_dict())
    assert cfg.MHKD.CLASSES == ["disk"] and cfg.INPUT.LR_FACTOR == 4
    assert cfg.MHKD.LR_MPP == pytest.approx(2.0)

    # On an LR image it finds what evaluation finds on the dataset, in that image's own pixels.
    ensure_registered(["disks_val"])
    entry = DatasetCatalog.get("disks_val")[0]
    found = predictor(read_view(entry, "lr", 4)[:, :, ::-1])["instances"]
    with torch.no_grad():
        scored = load_exported(cfg)([PairedResolutionMapper(cfg, False)(entry)])[0]["instances"]
    assert found.image_size == (32, 32) and scored.image_size == (128, 128)
    assert len(found) > 0
    assert torch.equal(found.pred_boxes.tensor * 4, scored.pred_boxes.tensor)
    assert torch.equal(found.scores, scored.scores)


def test_a_step_without_bfa_exports_a_student_without_bfa(trained):
    cfg = exported_cfg(Path(trained.OUTPUT_DIR, "1_basic", "student"), device="cpu")
    assert not cfg.MODEL.BFA.ENABLED
    model = DefaultPredictor(cfg).model
    assert not any("bfa" in n for n, _ in model.named_parameters())


def test_any_training_checkpoint_converts(trained):
    for step in ("1_basic", "4_semantic"):
        exported = load_network(trained, "student", Path(trained.OUTPUT_DIR, step, "student/model_final.pth"))
        converted = load_network(trained, "student", Path(trained.OUTPUT_DIR, step, "model_final.pth"))
        assert_equal_weights(exported.state_dict(), converted.state_dict())


def test_mhkd_export_equals_what_training_exported(trained, tmp_path):
    step = Path(trained.OUTPUT_DIR, "2_adaptive")
    result = CliRunner().invoke(main, ["export", str(step / "model_final.pth"), "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    mine, theirs = exported_cfg(tmp_path), exported_cfg(step / "student")
    mine.MODEL.WEIGHTS = theirs.MODEL.WEIGHTS = ""
    assert mine == theirs
    known = read_training_data(tmp_path)
    assert known is not None and known.colour == read_training_data(step / "student").colour
    files = (tmp_path / "model_final.pth", step / "student" / "model_final.pth")
    assert_equal_weights(*(torch.load(f, weights_only=True)["model"] for f in files))

    result = CliRunner().invoke(main, ["export", str(files[0]), "--out", str(tmp_path)])
    assert result.exit_code == 2 and "not a training checkpoint" in result.output


def test_the_record_of_the_training_data_is_made_anew(trained, tmp_path):
    student = shutil.copytree(Path(trained.OUTPUT_DIR, "student"), tmp_path / "student")
    theirs = read_training_data(student)
    (student / "training_data.json").unlink()

    def record(*words, exit_code=0):
        result = CliRunner().invoke(main, ["record", str(student), *words])
        assert result.exit_code == exit_code, result.output
        return result.output

    assert "give --train too" in record("--val", "disks_val", exit_code=2)
    assert "colour of 4 images of disks_train" in record("--train", "disks_train")
    assert read_training_data(student) == replace(theirs, unsure=None)
    said = record("--val", "disks_val")
    assert read_training_data(student) == theirs and theirs.unsure is not None  # as detect runs it, as scored
    assert f"{100 * theirs.unsure:.0f} % of its scores on disks_val are unsure" in said
    teacher = Path(trained.OUTPUT_DIR, "0_teacher", "teacher")
    result = CliRunner().invoke(main, ["record", str(teacher), "--train", "disks_train"])
    assert result.exit_code == 2 and "is no student that finds glomeruli" in result.output
    assert not (teacher / "training_data.json").exists()


def test_overlays_and_curves_of_a_training(trained, tmp_path):
    student = str(Path(trained.OUTPUT_DIR, "student"))
    arguments = ["overlay", "--student", student, "--dataset", "disks_val", "--out", str(tmp_path)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert len(list(tmp_path.glob("*.png"))) == 2
    assert "scores of 0.5 or more (default" in result.output
    arguments[2] = shutil.copytree(student, tmp_path / "student")
    record_threshold(tmp_path / "student", Choice(0.25, 80.0, 80.0, 80.0, 5), "these")
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert "scores of 0.25 or more (threshold.json" in result.output, result.output
    arguments[2] = student
    result = CliRunner().invoke(main, ["curves", trained.OUTPUT_DIR])
    assert result.exit_code == 0, result.output
    assert cv2.imread(str(Path(trained.OUTPUT_DIR, "curves.png"))).shape[0] > 300
    arguments[4] = "disks_nowhere"
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2 and "disks_nowhere" in result.output


def test_a_network_that_was_not_trained_is_not_handed_out(trained, disks_cfg, tmp_path):
    teacher = str(Path(trained.OUTPUT_DIR, "0_teacher/model_final.pth"))
    result = CliRunner().invoke(main, ["export", teacher, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2 and "its student not yet: train further" in result.output
    assert not (tmp_path / "out").exists()
    result = CliRunner().invoke(
        main, ["export", teacher, "--out", str(tmp_path / "out"), "--network", "teacher"]
    )
    assert result.exit_code == 0, result.output
    scored = trained.clone()
    scored.MODEL.WEIGHTS = teacher
    with pytest.raises(InputError, match="0_teacher.model_final.pth: .*its student not yet"):
        score_trained(scored, "student")

    disks_cfg.MHKD.SCHEDULE, disks_cfg.MHKD.STUDENT_ITERS = "none", 1
    train(disks_cfg)
    alone = str(Path(disks_cfg.OUTPUT_DIR, "1_none/model_final.pth"))
    result = CliRunner().invoke(
        main, ["export", alone, "--out", str(tmp_path / "none"), "--network", "teacher"]
    )
    assert result.exit_code == 2 and "schedule has no teacher" in result.output
    disks_cfg.OUTPUT_DIR, disks_cfg.MHKD.SCHEDULE = str(tmp_path / "next"), "global_only"
    disks_cfg.MODEL.TEACHER.WEIGHTS = alone
    with pytest.raises(InputError, match="1_none.model_final.pth: its schedule has no teacher"):
        train(disks_cfg)
