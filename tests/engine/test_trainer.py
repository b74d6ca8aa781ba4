"""The trainer for real: tiny networks, real files, real interruptions."""

import json
import math
import shutil
from pathlib import Path

import mhkd
from mhkd.data.mapper import PairedResolutionMapper
from mhkd.engine import (
    DistillationTrainer,
    hooks,
    load_exported,
    prepare_datasets,
    score_trained,
    views_to_score,
)
from mhkd.engine.resume import within_step_files
from mhkd.errors import InputError
from mhkd.modeling import FCOSDetector
from mhkd.slide_detection.student import load_student as load_slides_student
from mhkd.slides.views import read_view
from mhkd.tasks import get_task
from mhkd.training_data import read_training_data

import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.engine import DefaultPredictor
from killed_training import assert_equal_weights, final_weights, train

pytestmark = pytest.mark.slow

STEPS = ["0_teacher", "1_basic", "2_adaptive", "3_local", "4_semantic"]


def test_every_step_leaves_what_the_contract_says(trained):
    out = Path(trained.OUTPUT_DIR)
    for step in STEPS:
        network = "teacher" if step == "0_teacher" else "student"
        report = json.loads((out / step / "stage.json").read_text())
        assert report["step"] == step and report["seconds"] > 0
        scored = {"teacher", "direct"} if network == "teacher" else {"student"}
        scored |= {"teacher"} if step in ("3_local", "4_semantic") else set()  # its heads train
        assert set(report["results"]) == scored
        for scores in report["results"].values():
            assert {"AP", "AP50", "AP75", "AR"} <= set(scores)
        assert (out / step / network / "model_final.pth").is_file()
        assert (out / step / network / "config.yaml").is_file()
        known = read_training_data(out / step / network)
        assert (known is None) if network == "teacher" else (known.images == 4)
    newest = torch.load(out / "student" / "model_final.pth", weights_only=True)["model"]
    last = torch.load(out / "4_semantic" / "student" / "model_final.pth", weights_only=True)["model"]
    assert_equal_weights(newest, last)
    assert not (out / "checkpoint.pth").exists()
    assert not list(out.rglob("*.tmp"))


def test_every_loss_is_logged_on_its_own(trained):
    lines = [json.loads(x) for x in Path(trained.OUTPUT_DIR, "metrics.json").read_text().splitlines()]
    logged = set().union(*lines)
    for name in ("loss_local", "teacher/loss_cls", "student/loss_rpn_loc", "output/loss_cls", "bbox/AP50"):
        assert name in logged
    last = next(x for x in lines if x["iteration"] == 9 and "total_loss" in x)
    assert last["stage"] == 4 and "lr" in last and "time" in last


@pytest.mark.parametrize("kill_after", [4, 7, 9])  # 4: inside step 2; 7: at step 3's end; 9: at the end
def test_interrupted_and_resumed_equals_uninterrupted(trained, disks_cfg, kill_after):
    disks_cfg.SOLVER.CHECKPOINT_PERIOD = 1
    train(disks_cfg, kill_after=kill_after)
    train(disks_cfg, resume=True)
    assert_equal_weights(final_weights(trained), final_weights(disks_cfg))


def test_killed_before_a_step_was_scored_finishes_it_first(trained, disks_cfg):
    disks_cfg.MHKD.STAGE = 1
    train(disks_cfg)
    done = Path(disks_cfg.OUTPUT_DIR, "1_basic", "stage.json")
    done.unlink()
    disks_cfg.MHKD.STAGE = 4
    train(disks_cfg, resume=True)
    assert json.loads(done.read_text())["results"]["student"].keys() >= {"AP", "AP50"}
    assert_equal_weights(final_weights(trained), final_weights(disks_cfg))


def test_what_says_that_a_step_is_finished_is_written_last(disks_cfg, monkeypatch):
    disks_cfg.MHKD.STAGE, disks_cfg.SOLVER.CHECKPOINT_PERIOD = 0, 1

    class Killed(BaseException):
        pass

    def kill(content, path):
        assert path.name == "stage.json" and within_step_files(disks_cfg) == []
        raise Killed

    monkeypatch.setattr(hooks, "write_json", kill)
    with pytest.raises(Killed):
        train(disks_cfg)


def test_frozen_teacher_is_bit_identical_after_its_steps(trained):
    before, offline, online = (final_weights(trained, s) for s in ("0_teacher", "2_adaptive", "4_semantic"))
    teacher = [k for k in before if k.startswith("teacher.")]
    assert all(torch.equal(before[k], offline[k]) for k in teacher)
    backbone = [k for k in teacher if k.startswith("teacher.backbone.")]
    assert all(torch.equal(before[k], online[k]) for k in backbone)
    assert not all(torch.equal(before[k], online[k]) for k in teacher)


def test_eval_only_scores_equal_those_of_training(trained):
    cfg = trained.clone()
    for which, step in (("student", "4_semantic"), ("teacher", "0_teacher"), ("direct", "0_teacher")):
        cfg.MHKD.EVAL = which
        report = json.loads(Path(cfg.OUTPUT_DIR, step, "stage.json").read_text())
        scores = {k: None if math.isnan(v) else v for k, v in score_trained(cfg).items()}
        assert scores == pytest.approx(report["results"][which])
    cfg.MHKD.EVAL = "both"
    with pytest.raises(InputError, match="both.*student"):
        score_trained(cfg)


def test_the_teachers_score_after_an_online_step_is_that_of_its_heads_then(trained):
    cfg = trained.clone()
    cfg.MHKD.EVAL = "teacher"
    cfg.MODEL.WEIGHTS = str(Path(cfg.OUTPUT_DIR, "3_local/model_final.pth"))
    report = json.loads(Path(cfg.OUTPUT_DIR, "3_local/stage.json").read_text())
    scores = {k: None if math.isnan(v) else v for k, v in score_trained(cfg).items()}
    assert scores == pytest.approx(report["results"]["teacher"])
    logged = [json.loads(x) for x in Path(cfg.OUTPUT_DIR, "metrics.json").read_text().splitlines()]
    assert any("teacher/AP" in line for line in logged)


def test_scores_may_be_averaged_over_flips(trained, disks_cfg):
    cfg = trained.clone()
    cfg.TEST.AUG.ENABLED = True
    assert {"AP", "AP50"} <= score_trained(cfg).keys()
    train(cfg, resume=True)  # finished, and no other training for that
    with pytest.raises(InputError, match="TEST.AUG.ENABLED: FCOSDetector has no RPN"):
        get_task(cfg).averaged_over_flips(FCOSDetector.__new__(FCOSDetector))


def test_a_given_teacher_skips_step_0(trained, disks_cfg):
    disks_cfg.MODEL.TEACHER.WEIGHTS = str(Path(trained.OUTPUT_DIR, "0_teacher/teacher/model_final.pth"))
    disks_cfg.MHKD.STAGE = 1
    train(disks_cfg)
    assert not Path(disks_cfg.OUTPUT_DIR, "0_teacher").exists()
    mine, theirs = final_weights(disks_cfg, "1_basic"), final_weights(trained, "0_teacher")
    assert all(torch.equal(mine[k], theirs[k]) for k in theirs if k.startswith("teacher."))


def test_a_student_on_hr_is_an_assistant_that_teaches_the_next(disks_cfg, tmp_path):
    """Pixel Distillation's detour: at a factor of 1 the student sees HR, and its export is a teacher."""
    disks_cfg.MHKD.SCHEDULE, disks_cfg.MHKD.STUDENT_ITERS = "none_from_teacher", 1
    assistant = disks_cfg.clone()
    assistant.INPUT.LR_FACTOR, assistant.OUTPUT_DIR = 1, str(tmp_path / "assistant")
    train(assistant)
    report = json.loads(Path(assistant.OUTPUT_DIR, "1_none_from_teacher/stage.json").read_text())
    disks_cfg.MODEL.TEACHER.WEIGHTS = str(Path(assistant.OUTPUT_DIR, "student/model_final.pth"))
    train(disks_cfg)
    mine, theirs = (final_weights(c, "1_none_from_teacher") for c in (disks_cfg, assistant))
    for name, value in theirs.items():
        if name.startswith("student."):
            of_teacher = name.replace("student.", "teacher.").replace("backbone.fpn.", "backbone.")
            assert torch.equal(mine[of_teacher], value), name
    disks_cfg.MHKD.EVAL = "teacher"  # on HR it scores what the assistant did on its "LR"
    assert score_trained(disks_cfg)["AP50"] == pytest.approx(report["results"]["student"]["AP50"])


def test_a_student_can_start_from_the_teachers_weights(disks_cfg):
    """With a learning rate of 0 it stays the teacher: on the teacher's own input it finds the same."""
    disks_cfg.MHKD.SCHEDULE = "none_from_teacher"
    disks_cfg.MHKD.STUDENT_ITERS = 1
    disks_cfg.MHKD.STAGE = 0
    train(disks_cfg)
    disks_cfg.MODEL.TEACHER.WEIGHTS = str(Path(disks_cfg.OUTPUT_DIR, "0_teacher/teacher/model_final.pth"))
    disks_cfg.MHKD.STAGE, disks_cfg.SOLVER.BASE_LR = 1, 0.0
    trainer = train(disks_cfg, resume=True)
    weights = final_weights(disks_cfg, "1_none_from_teacher")
    for name in ("backbone.fpn.bottom_up.res3.0.conv1.weight", "roi_heads.box_predictor.cls_score.weight"):
        of_teacher = name.replace("backbone.fpn.", "backbone.")
        assert torch.equal(weights["student." + name], weights["teacher." + of_teacher])
    image = torch.rand(1, 3, 128, 128) * 4 - 2
    student, teacher = trainer.distilled.student, trainer.distilled.teacher
    with torch.no_grad():
        features, expected = student.backbone.extract(image), teacher.backbone(image)
    for level in expected:
        assert torch.equal(features[level], expected[level])


def test_a_narrow_native_student_trains_resumes_and_is_what_it_was_scored_as(trained, disks_cfg, tmp_path):
    """Exactly, its adapter included, which no export holds; a teacher of any other student serves it."""
    disks_cfg.merge_from_list([
        "MODEL.STUDENT.INPUT", "native", "MODEL.STUDENT.FPN_CHANNELS", 4, "MODEL.STUDENT.FC_DIM", 8,
        "MODEL.STUDENT.RES2_OUT_CHANNELS", 8, "MHKD.SCHEDULE", "features_falling", "MHKD.STUDENT_ITERS", 6,
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0, "SOLVER.CHECKPOINT_PERIOD", 1,
        "MODEL.TEACHER.WEIGHTS", str(Path(trained.OUTPUT_DIR, "0_teacher/teacher/model_final.pth")),
    ])  # fmt: skip
    whole = disks_cfg.clone()
    whole.OUTPUT_DIR = str(tmp_path / "whole")
    train(whole)
    train(disks_cfg, kill_after=2)  # within the second step
    train(disks_cfg, resume=True)
    weights = final_weights(whole, "3_labels")
    assert_equal_weights(weights, final_weights(disks_cfg, "3_labels"))
    assert not torch.equal(weights["adapter.weight"], final_weights(whole, "1_features_w8")["adapter.weight"])

    # A native student's config scores its teacher on upsampled LR, as any other does.
    whole.MODEL.ROI_HEADS.SCORE_THRESH_TEST = trained.MODEL.ROI_HEADS.SCORE_THRESH_TEST
    direct = json.loads(Path(trained.OUTPUT_DIR, "0_teacher", "stage.json").read_text())["results"]["direct"]
    scores = {k: None if math.isnan(v) else v for k, v in score_trained(whole, "direct").items()}
    assert scores == pytest.approx(direct)
    whole.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0

    folder = Path(whole.OUTPUT_DIR, "student")
    exported = torch.load(folder / "model_final.pth", weights_only=True)["model"]
    assert exported and not any("adapter" in k for k in exported)
    report = json.loads(Path(whole.OUTPUT_DIR, "3_labels", "stage.json").read_text())
    scores = {k: None if math.isnan(v) else v for k, v in score_trained(whole).items()}
    assert scores == pytest.approx(report["results"]["student"])
    cfg = mhkd.load_student(folder, "cpu")
    entry = DatasetCatalog.get("disks_val")[0]
    scored = load_exported(cfg)([PairedResolutionMapper(cfg, False)(entry)])[0]["instances"]
    lr = read_view(entry, "lr", 4)[:, :, ::-1]
    alone = DefaultPredictor(cfg)(lr)["instances"]
    slides_student = load_slides_student(str(folder), "cpu", overlap_um=10.0)
    [(boxes, found_scores, _)] = slides_student.detect([slides_student.prepare(lr[:, :, ::-1])])
    assert len(scored) == len(alone) == len(boxes) > 0
    torch.testing.assert_close(alone.pred_boxes.tensor * 4, scored.pred_boxes.tensor)
    torch.testing.assert_close(torch.from_numpy(boxes) * 4, scored.pred_boxes.tensor, rtol=0, atol=1e-3)
    torch.testing.assert_close(torch.from_numpy(found_scores), scored.scores, rtol=0, atol=1e-5)


def test_a_trained_teacher_serves_any_schedule(trained, disks_cfg):
    """Its folder taken over: the steps equal those of a training that made the teacher itself."""
    disks_cfg.MHKD.SCHEDULE, disks_cfg.MHKD.STUDENT_ITERS = "none_from_teacher", 1
    other = disks_cfg.clone()
    other.OUTPUT_DIR += "_other"
    train(other)
    shutil.copytree(Path(trained.OUTPUT_DIR, "0_teacher"), Path(disks_cfg.OUTPUT_DIR, "0_teacher"))
    train(disks_cfg, resume=True)  # the copied student has BFA, this schedule's has not
    assert_equal_weights(*(final_weights(c, "1_none_from_teacher") for c in (disks_cfg, other)))


def test_a_detector_trains_alone_and_is_scored_on_both_resolutions(trained, disks_cfg):
    disks_cfg.MHKD.SCHEDULE = "direct"
    disks_cfg.MODEL.META_ARCHITECTURE = "DirectDetector"
    train(disks_cfg)
    weights = final_weights(disks_cfg, "0_teacher")
    assert {k.split(".")[0] for k in weights} == {"teacher"}
    # A Faster R-CNN trained this way is the teacher of the distillation.
    theirs = final_weights(trained, "0_teacher")
    assert_equal_weights(weights, {k: v for k, v in theirs.items() if k.startswith("teacher.")})
    assert views_to_score(disks_cfg) == ("teacher", "direct")
    assert views_to_score(trained) == ("student",)
    report = json.loads(Path(disks_cfg.OUTPUT_DIR, "0_teacher/stage.json").read_text())
    assert set(report["results"]) == {"teacher", "direct"}
    disks_cfg.MHKD.SCHEDULE = "mhkd"
    with pytest.raises(InputError, match="trains a student"):
        DistillationTrainer(disks_cfg)


def test_accumulated_batches_equal_one_large_batch(disks_cfg, tmp_path):
    """Two batches of one image or one of two: the same images, and the detection losses average."""
    disks_cfg.MHKD.STAGE = 0
    disks_cfg.MHKD.TEACHER_ITERS = 1
    disks_cfg.SOLVER.ACCUMULATE_BATCHES = 2
    trainer = DistillationTrainer(disks_cfg)
    prepare_datasets(disks_cfg)
    trainer.iter, trainer.step = 0, trainer.steps[0]
    trainer.enter_step(trainer.steps[0])
    batches = list(trainer._batches)
    assert [len(b) for b in batches] == [1, 1]
    trainer.cfg.defrost()  # its own copy
    trainer.cfg.SOLVER.ACCUMULATE_BATCHES, trainer.cfg.SOLVER.IMS_PER_BATCH = 1, 2
    trainer.enter_step(trainer.steps[0])
    (batch,) = list(trainer._batches)
    for accumulated, large in zip(batches, batch):
        assert torch.equal(accumulated[0]["image"], large["image"])


def test_mixed_precision_trains_and_keeps_float32_weights(disks_cfg):
    disks_cfg.SOLVER.AMP.ENABLED = True
    disks_cfg.MHKD.STUDENT_ITERS = 4
    train(disks_cfg)
    weights = final_weights(disks_cfg)
    assert all(w.dtype == torch.float32 and torch.isfinite(w).all() for w in weights.values())


# --- Bad input -------------------------------------------------------------------------------------


def test_an_output_dir_with_a_training_is_not_overwritten(trained):
    with pytest.raises(InputError, match="holds a training already.*--resume"):
        train(trained)


def test_resuming_with_other_settings_is_refused(trained):
    other = trained.clone()
    other.MHKD.SCHEDULE = "offline"
    with pytest.raises(InputError, match="3_local: was trained with other settings: teacher_trains was"):
        train(other, resume=True)


def test_everything_finished_is_no_work(trained):
    before = Path(trained.OUTPUT_DIR, "4_semantic", "model_final.pth").stat().st_mtime_ns
    train(trained, resume=True)
    assert Path(trained.OUTPUT_DIR, "4_semantic", "model_final.pth").stat().st_mtime_ns == before


def test_teacher_of_another_architecture(trained, disks_cfg):
    disks_cfg.MODEL.TEACHER.WEIGHTS = str(Path(trained.OUTPUT_DIR, "student/model_final.pth"))
    with pytest.raises(InputError, match="student.model_final.pth: weights of another architecture"):
        train(disks_cfg)
    disks_cfg.MODEL.TEACHER.WEIGHTS = "nowhere.pth"
    with pytest.raises(InputError, match="nowhere.pth: no such checkpoint"):
        train(disks_cfg)
