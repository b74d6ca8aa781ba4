"""A task that the engine has never heard of trains, resumes, is scored and exported by it."""

import ast
import json
import sys
from pathlib import Path

import mhkd
from mhkd import extensions
from mhkd.config import load_cfg
from mhkd.engine import exported_cfg, load_exported, prepare_datasets, score_trained
from mhkd.engine.exported import export_cfg, export_checkpoint, load_student
from mhkd.engine.record import differences
from mhkd.errors import InputError
from mhkd.extensions import load_extensions
from mhkd.losses import LOSS_REGISTRY
from mhkd.schedules import SCHEDULES, Schedule, Stage
from mhkd.tasks import TASK_REGISTRY, DetectionTask, get_task

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import META_ARCH_REGISTRY
from killed_training import train
from support import tiny_config

NAMES = ("colours_train", "colours_val")


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """The toy task, from a file of its own as a user's would be."""
    load_extensions([file := Path(__file__).with_name("colours.py")])
    (module,) = (m for n, m in sys.modules.items() if n.startswith("mhkd_ext") and n.endswith("_colours"))
    folder = tmp_path_factory.mktemp("colours")
    for name, count in zip(NAMES, (24, 12)):
        module.write_colours(folder, name, count)
    yield module
    for name in NAMES:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    for registry, names in (
        (LOSS_REGISTRY, ("labels", "softened")),
        (TASK_REGISTRY, ("colours",)),
        (META_ARCH_REGISTRY, ("ColourNet", "ColourPair")),
    ):
        for name in names:
            registry._obj_map.pop(name)
    del SCHEDULES["colours"]
    extensions._loaded.remove(str(file))


@pytest.fixture
def colours_cfg(colours, tmp_path):
    return toy_cfg(tmp_path / "output")


def toy_cfg(folder):
    cfg = get_cfg()
    mhkd.add_mhkd_config(cfg)
    cfg.merge_from_list([
        "MHKD.TASK", "colours", "MHKD.SCHEDULE", "colours", "MODEL.META_ARCHITECTURE", "ColourPair",
        "MODEL.DEVICE", "cpu", "DATASETS.TRAIN", NAMES[:1], "DATASETS.TEST", NAMES[1:], "INPUT.CROP.ENABLED",
        False, "MHKD.TEACHER_ITERS", 10, "MHKD.STUDENT_ITERS", 20, "SOLVER.BASE_LR", 10.0,
        "SOLVER.WARMUP_ITERS", 0, "SOLVER.IMS_PER_BATCH", 6, "DATALOADER.NUM_WORKERS", 0,
        "OUTPUT_DIR", str(folder),
    ])  # fmt: skip
    return cfg


def weights(cfg, step):
    return torch.load(Path(cfg.OUTPUT_DIR, step, "model_final.pth"), weights_only=True)["model"]


@pytest.fixture(scope="module")
def trained(colours, tmp_path_factory):
    cfg = toy_cfg(tmp_path_factory.mktemp("trained"))
    train(cfg)
    return cfg


def test_it_trains_step_by_step_and_is_scored(trained):
    out = Path(trained.OUTPUT_DIR)
    reports = {p.parent.name: json.loads(p.read_text()) for p in out.glob("*/stage.json")}
    assert sorted(reports) == ["0_teacher", "1_soft", "2_labels"]
    assert reports["0_teacher"]["teacher_trains"] == ["classifier"]
    assert {k: set(r["results"]) for k, r in reports.items()} == {
        "0_teacher": {"teacher", "direct"}, "1_soft": {"student"}, "2_labels": {"student"},
    }  # fmt: skip
    assert reports["2_labels"]["results"]["student"] == {"accuracy": 100.0}
    assert score_trained(trained, "teacher") == reports["0_teacher"]["results"]["teacher"]
    teacher = [k for k in weights(trained, "0_teacher") if k.startswith("teacher.")]
    steps = [weights(trained, s) for s in ("0_teacher", "2_labels")]
    assert all(torch.equal(steps[0][k], steps[1][k]) for k in teacher)
    curves = [json.loads(line) for line in (out / "metrics.json").read_text().splitlines()]
    assert any("classification/accuracy" in line for line in curves)


@pytest.mark.parametrize("iteration", [5, 9, 12, 29])  # within a step, at its end
@pytest.mark.slow
def test_it_resumes_bit_exactly(trained, colours_cfg, iteration):
    colours_cfg.SOLVER.CHECKPOINT_PERIOD = 1
    train(colours_cfg, kill_after=iteration)
    train(colours_cfg, resume=True)
    for step in ("0_teacher", "1_soft", "2_labels"):
        a, b = weights(trained, step), weights(colours_cfg, step)
        assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_it_is_exported_and_loaded_again(trained, tmp_path):
    folder = Path(trained.OUTPUT_DIR, "student")
    cfg = exported_cfg(folder, "cpu")
    assert (cfg.MHKD.TASK, cfg.MODEL.META_ARCHITECTURE) == ("colours", "ColourNet")
    assert cfg.MHKD.CLASSES == ["red", "green", "blue"] and cfg.MHKD.LR_MPP == 2.0
    red = torch.tensor([200, 60, 60])[:, None, None].expand(3, 8, 8)
    (found,) = load_exported(cfg)([{"image": red}])
    assert found["scores"].argmax() == 0
    (found,) = load_exported(cfg, ["blue", "red", "green"])([{"image": red}])  # classes in another order
    assert found["scores"].argmax() == 1
    assert load_student(folder, "cpu").MHKD.CLASSES == ["red", "green", "blue"]
    out = export_checkpoint(Path(trained.OUTPUT_DIR, "1_soft", "model_final.pth"), tmp_path, "student")
    assert torch.load(out, weights_only=True)["model"].keys() == load_exported(cfg).state_dict().keys()


def test_another_task_in_the_same_folder_is_refused(trained):
    other = trained.clone()
    other.MHKD.TASK = "detection"
    assert differences(other, trained) == ["MHKD.TASK was colours, asked for detection"]


def test_a_part_that_the_task_has_not_is_named_with_its_step(colours_cfg):
    SCHEDULES["odd"] = Schedule("odd", (Stage("all", {"labels": 1}),))  # detection's parts
    try:
        colours_cfg.MHKD.SCHEDULE = "odd"
        message = "odd: step 1: student must .* of classifier: there is no backbone, bfa, heads"
        with pytest.raises(InputError, match=message):
            prepare_datasets(colours_cfg)
    finally:
        del SCHEDULES["odd"]


def test_every_named_schedule_names_parts_of_detection():
    task = DetectionTask()
    for schedule in SCHEDULES.values():
        if schedule.task == "detection":
            task.check_schedule(schedule)
    neck = Schedule("x", (Stage("a", {"detect": 1}), Stage("b", {"detect": 1}, teacher=("heads", "neck"))))
    with pytest.raises(InputError, match="x: step 2: teacher .* of backbone, heads: there is no neck"):
        task.check_schedule(neck)


def test_a_task_that_there_is_not(tiny_cfg):
    assert isinstance(get_task(tiny_cfg), DetectionTask)  # the default, also of configs of before the key
    tiny_cfg.MHKD.TASK = "segmentation"
    with pytest.raises(InputError, match="MHKD.TASK 'segmentation': choose one of classification, detection"):
        prepare_datasets(tiny_cfg)


def test_an_exported_config_from_before_the_key_is_of_detection(tmp_path):
    out = export_cfg(tiny_config(tmp_path), "student")
    text = "".join(x for x in out.dump().splitlines(True) if "TASK" not in x)
    (tmp_path / "config.yaml").write_text(text)
    before = load_cfg(tmp_path / "config.yaml", allow_base=False)
    assert before.MHKD.TASK == "detection" and differences(out, before) == []


OF_A_TASK = {
    "PairedResolutionMapper", "CocoEvaluator", "GeneralizedRCNN", "DistilledRCNN", "DirectDetector",
    "LowResolutionRCNN", "DetectionTask", "StudentBackbone", "exported_form", "student_cfg", "teacher_cfg",
    "is_student", "coco_dict", "mapper", "evaluator", "meta_arch", "detection", "detection_datasets",
    "ClassificationMapper", "ClassificationEvaluator", "ClassificationTask", "DistilledClassifier",
    "ResNetClassifier", "classifier_cfg", "classification", "label_checks",
}  # fmt: skip
# What a config names its task and networks by.
NAMED = {"detection", "classification", "DistilledRCNN", "DistilledClassifier", "DirectDetector", "RetinaNet"}
OF_DATA = {  # what may be asked for its type: values, files, errors
    "bool", "int", "float", "str", "list", "tuple", "dict", "Iterable", "OSError", "FloatingPointError",
    "InputError", "Tensor", "torch", "distributed", "DistError",
}  # fmt: skip


def test_the_engine_imports_nothing_of_a_task_and_asks_no_network_or_config_what_it_is():
    for path in Path(mhkd.__file__).with_name("engine").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                named = {a.name for a in node.names} | set((node.module or "").split("."))
                assert not named & OF_A_TASK, f"{path}, line {node.lineno}"
            if isinstance(node, ast.Constant):
                assert node.value not in NAMED, f"{path}, line {node.lineno}: {node.value}"
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
                kinds = list(ast.walk(node.args[1]))
                kinds = {getattr(n, "id", None) or getattr(n, "attr", None) for n in kinds} - {None}
                assert kinds <= OF_DATA, f"{path}, line {node.lineno}: {kinds}"
