"""What a training was made with is compared before it goes on: nothing is mixed, what may change may."""

import json
import shutil
from pathlib import Path

import mhkd  # noqa: F401  (before Detectron2, which it prepares)
from mhkd.engine import prepare_datasets
from mhkd.engine.record import sources
from mhkd.engine.resume import find_start
from mhkd.errors import InputError
from mhkd.schedules import get_schedule, plan_steps

import cv2
import pytest
import torch
from killed_training import train
from support import DISKS, tiny_config, write_disks

pytestmark = pytest.mark.slow


def start(cfg, resume=True, **more):
    """Where it would go on, without building the networks."""
    prepare_datasets(cfg)
    teacher_iters = 0 if cfg.MODEL.TEACHER.WEIGHTS else cfg.MHKD.TEACHER_ITERS
    schedule = get_schedule(cfg.MHKD.SCHEDULE, cfg.MHKD.STUDENT_START)
    return find_start(cfg, plan_steps(schedule, teacher_iters, cfg.MHKD.STUDENT_ITERS), resume, **more)


def refused(cfg, said):
    with pytest.raises(InputError, match="was trained with other settings: .*" + said):
        start(cfg)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Datasets that the tests may change, apart from "disks" itself."""
    root = tmp_path_factory.mktemp("datasets")
    write_disks(root)
    write_disks(root, "other")
    write_disks(root, "more", splits=(("pool", 2),))
    patch = pytest.MonkeyPatch()
    patch.setenv("DETECTRON2_DATASETS", str(root))
    yield root
    patch.undo()


@pytest.fixture(scope="module")
def half_trained(tmp_path_factory, root):
    """Iterations done -> config: 1, within the teacher's step; 2, at its end; 5, within the student's 2nd."""
    found = {}
    for iterations in (1, 2, 5):
        cfg = tiny_config(tmp_path_factory.mktemp("half"), [*DISKS, "SOLVER.CHECKPOINT_PERIOD", 1])
        if iterations == 2:
            cfg.MHKD.STAGE = 0
            train(cfg)
            cfg.MHKD.STAGE = -1
        else:
            train(cfg, kill_after=iterations - 1)
        found[iterations] = cfg
    return found


DECIDING = [
    ("SOLVER.BASE_LR", 0.5, "SOLVER.BASE_LR was 0.001, asked for 0.5"),
    ("SOLVER.OPTIMIZER", "AdamW", "SOLVER.OPTIMIZER was SGD, asked for AdamW"),
    ("SOLVER.IMS_PER_BATCH", 2, "SOLVER.IMS_PER_BATCH was 1, asked for 2"),
    ("SOLVER.AMP.ENABLED", True, "SOLVER.AMP.ENABLED was False, asked for True"),
    ("DATASETS.TRAIN", ("other_train",), r"TRAIN was \['disks_train'\], asked for \['other_train'\]"),
    ("SEED", 7, "SEED was 0, asked for 7"),
    ("INPUT.FORMAT", "BGR", "INPUT.FORMAT was RGB, asked for BGR"),
    ("INPUT.FLIP_PROB", 0.0, "INPUT.FLIP_PROB was 0.5, asked for 0.0"),
    ("MODEL.PIXEL_MEAN", [1.0, 2.0, 3.0], r"MODEL.PIXEL_MEAN was \[.*\], asked for \[1.0, 2.0, 3.0\]"),
    ("MODEL.ANCHOR_GENERATOR.SIZES", [[8], [16], [32], [64]], r"SIZES was \[\[16\], .* asked for \[\[8\]"),
    ("MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 8, "BATCH_SIZE_PER_IMAGE was 16, asked for 8"),
    ("MHKD.TEACHER_ITERS", 3, "end_iter was 2, asked for 3"),
]
# A finished teacher does not depend on these; a half trained step may not change in any way.
DECIDING_STUDENTS = [
    ("INPUT.LR_FACTOR", 2, "INPUT.LR_FACTOR was 4, asked for 2"),
    ("MODEL.STUDENT.INPUT", "native", "MODEL.STUDENT.INPUT was upsampled, asked for native"),
    ("MHKD.LABELED_SHARE", 0.5, "MHKD.LABELED_SHARE was 1.0, asked for 0.5"),
    ("MHKD.OUTPUT_SCORE_THRESH", 0.9, "MHKD.OUTPUT_SCORE_THRESH was 0.5, asked for 0.9"),
]
MAY_CHANGE = [
    ("DATALOADER.NUM_WORKERS", 1),
    ("SOLVER.CHECKPOINT_PERIOD", 7),
    ("TEST.EVAL_PERIOD", 3),
    ("MODEL.DEVICE", "cuda"),
    ("MHKD.STAGE", 2),
    ("MHKD.EVAL", "teacher"),
    ("CUDNN_BENCHMARK", True),
]


@pytest.mark.parametrize("key, value, said", DECIDING)
def test_what_decides_weights_is_refused_wherever_the_training_stands(half_trained, key, value, said):
    for cfg in half_trained.values():
        cfg = cfg.clone()
        cfg.merge_from_list([key, value])
        refused(cfg, said)


@pytest.mark.parametrize("key, value, said", DECIDING_STUDENTS)
def test_what_decides_the_students_weights_alone_leaves_a_finished_teacher(half_trained, key, value, said):
    for iterations, cfg in half_trained.items():
        cfg = cfg.clone()
        cfg.merge_from_list([key, value])
        if iterations == 2:
            assert start(cfg).iteration == 2
        else:
            refused(cfg, said)


@pytest.mark.parametrize("key, value", MAY_CHANGE)
def test_what_may_change(half_trained, key, value):
    for iterations, cfg in half_trained.items():
        cfg = cfg.clone()
        cfg.merge_from_list([key, value])
        assert start(cfg).iteration == iterations


def test_steps_not_yet_begun_may_change(half_trained):
    for iterations in (1, 2):
        cfg = half_trained[iterations].clone()
        cfg.MHKD.STUDENT_ITERS = 12
        assert start(cfg).iteration == iterations
        cfg.MHKD.SCHEDULE = "three_step"  # of a student without BFA
        assert start(cfg).iteration == iterations
    cfg = half_trained[5].clone()
    cfg.MHKD.SCHEDULE = "offline"  # equal up to here
    assert start(cfg).iteration == 5
    cfg.MHKD.SCHEDULE = "online"
    refused(cfg, "teacher_trains was")
    cfg.MHKD.SCHEDULE = "global_only"
    refused(cfg, "it has 1_basic of another schedule")


def test_the_course_of_the_rate_depends_on_all_of_the_students_iterations(half_trained, tmp_path):
    """Two steps of four iterations in all, or four of eight: the first is as long, its decays are not."""
    cfg = half_trained[5].clone()
    cfg.OUTPUT_DIR = str(tmp_path / "out")
    cfg.MHKD.SCHEDULE, cfg.MHKD.STAGE = "double_step", 1
    shutil.copytree(half_trained[2].OUTPUT_DIR, cfg.OUTPUT_DIR)
    cfg.MHKD.STUDENT_ITERS = 4
    train(cfg, resume=True)
    steps = plan_steps(get_schedule("double_step"), 2, 4)
    longer = cfg.clone()
    longer.MHKD.STUDENT_ITERS = 8
    with pytest.raises(InputError, match="1_global: .*MHKD.STUDENT_ITERS was 4, asked for 8"):
        find_start(longer, steps, True)
    assert find_start(cfg, steps, True).iteration == 4


def test_a_half_trained_teacher_goes_on_under_another_schedule(half_trained, tmp_path):
    """As if it had been trained with that schedule from the first iteration on."""
    cfg = half_trained[1].clone()
    cfg.MHKD.SCHEDULE, cfg.MHKD.STUDENT_ITERS = "global_only", 1
    whole = cfg.clone()
    cfg.OUTPUT_DIR, whole.OUTPUT_DIR = str(tmp_path / "resumed"), str(tmp_path / "whole")
    shutil.copytree(half_trained[1].OUTPUT_DIR, cfg.OUTPUT_DIR)
    train(cfg, resume=True)
    train(whole)
    files = (Path(c.OUTPUT_DIR, "1_global_only/model_final.pth") for c in (cfg, whole))
    resumed, expected = (torch.load(f, weights_only=True)["model"] for f in files)
    assert resumed.keys() == expected.keys()
    assert all(torch.equal(resumed[k], expected[k]) for k in resumed)


def test_an_adamw_training_resumes(half_trained, tmp_path):
    cfg = half_trained[1].clone()
    cfg.SOLVER.OPTIMIZER, cfg.MHKD.STAGE = "AdamW", 0
    whole = cfg.clone()
    cfg.OUTPUT_DIR, whole.OUTPUT_DIR = str(tmp_path / "resumed"), str(tmp_path / "whole")
    train(cfg, kill_after=0)
    train(cfg, resume=True)
    train(whole)
    files = (Path(c.OUTPUT_DIR, "0_teacher/model_final.pth") for c in (cfg, whole))
    resumed, expected = (torch.load(f, weights_only=True)["model"] for f in files)
    assert all(torch.equal(resumed[k], expected[k]) for k in expected)


def test_the_number_of_processes_decides_within_a_step(half_trained):
    with pytest.raises(InputError, match="the number of processes was 1, asked for 2"):
        start(half_trained[5], processes=2)
    assert start(half_trained[2], processes=2).iteration == 2


# --- Data and teachers -----------------------------------------------------------------------------


def test_other_data_under_the_same_name(half_trained, root):
    annotations, image = root / "disks/annotations_train.json", root / "disks/images/train_0.png"
    text, pixels = annotations.read_text(), image.read_bytes()
    content = json.loads(text)
    content["annotations"][0]["bbox"][2] += 1
    try:
        annotations.write_text(json.dumps(content))
        for cfg in half_trained.values():
            refused(cfg, "annotations of disks_train was sha256 .*, asked for sha256")
        annotations.write_text(text)
        assert start(half_trained[5]).iteration == 5
        cv2.imwrite(str(image), cv2.imread(str(image)) // 2)
        annotations.touch()  # a file of another time is looked at anew
        refused(half_trained[5], "HR images of disks_train was sha256 .*, asked for sha256")
    finally:
        annotations.write_text(text)
        image.write_bytes(pixels)


def test_unlabelled_data_is_nothing_to_the_teacher(half_trained):
    cfg = half_trained[2].clone()
    cfg.MHKD.UNLABELED = ("more_pool",)
    steps = plan_steps(get_schedule("mhkd"), 2, 8)
    assert any("more_pool" in k for k in sources(cfg, steps[1]))
    assert not any("more_pool" in k for k in sources(cfg, steps[0]))
    assert start(cfg).iteration == 2


def test_a_given_teacher_is_known_by_its_content(half_trained, tmp_path):
    teacher = tmp_path / "teacher.pth"
    shutil.copy(Path(half_trained[2].OUTPUT_DIR, "0_teacher/teacher/model_final.pth"), teacher)
    cfg = half_trained[5].clone()
    cfg.MODEL.TEACHER.WEIGHTS, cfg.OUTPUT_DIR = str(teacher), str(tmp_path / "out")
    train(cfg, kill_after=0)
    moved = teacher.rename(tmp_path / "moved.pth")
    cfg.MODEL.TEACHER.WEIGHTS = str(moved)
    assert start(cfg).iteration == 1
    content = torch.load(moved, weights_only=True)
    next(iter(content["model"].values())).add_(1)
    torch.save(content, moved)
    refused(cfg, "MODEL.TEACHER.WEIGHTS was sha256 .*, asked for sha256")
    moved.unlink()  # what was taken from it is in the checkpoint
    assert start(cfg).iteration == 1


# --- Checkpoints that are not whole ----------------------------------------------------------------


@pytest.mark.parametrize("key", ["iteration", "plan", "cfg", "stage", "seconds", "scaler"])
def test_a_checkpoint_that_lacks_a_key(half_trained, tmp_path, key):
    cfg = half_trained[5].clone()
    cfg.OUTPUT_DIR = str(shutil.copytree(cfg.OUTPUT_DIR, tmp_path / "out"))
    path = Path(cfg.OUTPUT_DIR, "checkpoint.pth")
    state = torch.load(path, weights_only=True)
    del state[key]
    torch.save(state, path)
    with pytest.raises(InputError, match=f"checkpoint.pth: not a training checkpoint.*has no {key};"):
        start(cfg)


def test_what_older_versions_did_not_record_is_not_compared(half_trained, tmp_path):
    cfg = half_trained[5].clone()
    cfg.OUTPUT_DIR = str(shutil.copytree(cfg.OUTPUT_DIR, tmp_path / "out"))
    path = Path(cfg.OUTPUT_DIR, "checkpoint.pth")
    state = torch.load(path, weights_only=True)
    del state["sources"], state["processes"]
    torch.save(state, path)
    for report in Path(cfg.OUTPUT_DIR).glob("*/stage.json"):
        content = json.loads(report.read_text())
        del content["sources"]
        report.write_text(json.dumps(content))
    assert start(cfg).iteration == 5
    shutil.rmtree(Path(cfg.OUTPUT_DIR, "1_basic/student"))  # its config is in the step's checkpoint, too
    assert start(cfg).iteration == 5


def test_a_checkpoint_of_a_diverged_training(half_trained, tmp_path):
    cfg = half_trained[5].clone()
    cfg.OUTPUT_DIR = str(shutil.copytree(cfg.OUTPUT_DIR, tmp_path / "out"))
    path = Path(cfg.OUTPUT_DIR, "checkpoint.pth")
    state = torch.load(path, weights_only=True)
    state["model"]["student.roi_heads.box_predictor.cls_score.bias"][0] = float("nan")
    torch.save(state, path)
    with pytest.raises(InputError, match="checkpoint.pth: its weights are not finite .*cls_score.bias"):
        start(cfg)
    path.unlink()
    assert start(cfg).iteration == 4  # the end of the step before


def test_a_report_cut_short(half_trained, tmp_path):
    cfg = half_trained[2].clone()
    cfg.OUTPUT_DIR = str(shutil.copytree(cfg.OUTPUT_DIR, tmp_path / "out"))
    report = Path(cfg.OUTPUT_DIR, "0_teacher/stage.json")
    report.write_text(report.read_text()[:40])
    with pytest.raises(InputError, match="stage.json: cannot be read"):
        start(cfg)
    report.unlink()
    assert start(cfg).unscored.folder == "0_teacher"
