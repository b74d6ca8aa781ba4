"""Weights whose classes were learnt in one order, used where they come in another."""

import json
from functools import partial
from pathlib import Path

from mhkd.config import load_cfg
from mhkd.engine import (
    DistillationTrainer,
    classes,
    exported_cfg,
    load_exported,
    load_network,
    prepare_datasets,
    score_trained,
)
from mhkd.engine.checkpoint import save_atomically
from mhkd.engine.exported import export_cfg, export_network
from mhkd.engine.start import order_state
from mhkd.errors import InputError
from mhkd.modeling import teacher_cfg
from mhkd.tasks import DetectionTask

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from support import CONFIGS, DISKS, tiny_config, write_disks

order_classes = partial(classes.order_classes, rows_per_class=DetectionTask().rows_per_class)
ABC = ["a", "b", "c"]
CAB = ["c", "a", "b"]
SPREAD = 1e-3  # of weights on features that nothing normalises


@pytest.fixture(scope="module")
def kinds_root(tmp_path_factory):
    """ "kinds" of three classes, and "kinds_crossed": the same pictures and names, the ids another way."""
    root = tmp_path_factory.mktemp("kinds")
    for name in ("kinds", "kinds_crossed"):
        folder = write_disks(root, name, categories=ABC)
        for path in folder.glob("annotations_*.json"):
            content = json.loads(path.read_text())
            for k, annotation in enumerate(content["annotations"]):
                annotation["category_id"] = k % 3 + 1
            if name == "kinds_crossed":
                ids = {ABC.index(c) + 1: k + 1 for k, c in enumerate(CAB)}
                content["categories"] = [{"id": k + 1, "name": c} for k, c in enumerate(CAB)]
                for annotation in content["annotations"]:
                    annotation["category_id"] = ids[annotation["category_id"]]
            path.write_text(json.dumps(content))
    return root


@pytest.fixture
def kinds(tmp_path, kinds_root, monkeypatch):
    """A function from a dataset's name to a config on it."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(kinds_root))

    def config(name, *options):
        names = ["DATASETS.TRAIN", (f"{name}_train",), "DATASETS.TEST", (f"{name}_val",)]
        heads = ["MODEL.ROI_HEADS.NUM_CLASSES", 3, "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0,
                 "MODEL.RPN.POST_NMS_TOPK_TEST", 500, "TEST.DETECTIONS_PER_IMAGE", 500]  # fmt: skip
        return tiny_config(tmp_path / "output", [*DISKS, *names, *heads, *options])

    return config


def distinct_(module):
    """Scores that differ from class to class, and boxes."""
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "box_predictor" in name or "mask_head.predictor" in name:
                parameter.normal_(std=SPREAD)
    return module.eval()


def export(cfg, folder, network="teacher"):
    out = export_cfg(cfg, network)
    return export_network(distinct_(build_model(out)).state_dict(), out, folder)


def found(network):
    torch.manual_seed(5)
    image = torch.randint(0, 256, (3, 128, 128), dtype=torch.uint8)
    with torch.no_grad():
        return network([{"image": image, "height": 128, "width": 128}])[0]["instances"]


def test_rows_by_arrangement():
    """One score a class; with one that is no class; four of a box; two anchors a cell; shared."""
    weights = {
        "network.class_embed.bias": torch.arange(3),
        "roi_heads.box_predictor.0.cls_score.bias": torch.arange(4),
        "roi_heads.box_predictor.0.bbox_pred.bias": torch.arange(12),
        "head.cls_score.bias": torch.arange(6),
        "roi_heads.box_predictor.1.bbox_pred.bias": torch.arange(4),
        "head.bbox_pred.bias": torch.arange(12),
        "backbone.weight": torch.arange(3),
    }
    ordered = {k: v.tolist() for k, v in order_classes(weights, ABC, CAB, "x.pth").items()}
    assert ordered == {
        "network.class_embed.bias": [2, 0, 1],
        "roi_heads.box_predictor.0.cls_score.bias": [2, 0, 1, 3],
        "roi_heads.box_predictor.0.bbox_pred.bias": [8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 6, 7],
        "head.cls_score.bias": [2, 0, 1, 5, 3, 4],
        "roi_heads.box_predictor.1.bbox_pred.bias": [0, 1, 2, 3],
        "head.bbox_pred.bias": list(range(12)),
        "backbone.weight": [0, 1, 2],
    }
    back = order_classes(order_classes(weights, ABC, CAB, "x.pth"), CAB, ABC, "x.pth")
    assert all(torch.equal(back[k], weights[k]) for k in weights)


@pytest.mark.parametrize("name", ["faster_rcnn", "cascade_rcnn", "fcos", "atss", "dab_detr", "dino"])
@pytest.mark.slow
def test_every_detector_is_known(name):
    """With 61 classes, what has 61, 62 or 4 x 61 rows depends on the classes, and nothing else does."""
    if name in ("dab_detr", "dino"):
        pytest.importorskip("transformers")
    (path,) = (CONFIGS / "KidneyROI/direct").glob(f"{name}_R18*.yaml")
    cfg = load_cfg(path)
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 61
    order = torch.arange(61).flip(0)
    weights = build_model(teacher_cfg(cfg)).state_dict()
    names = [str(k) for k in range(61)]
    numbered = {k: torch.arange(len(v)) for k, v in weights.items() if v.dim()}
    ordered = order_classes(numbered, names, names[::-1], path)
    changed = {k for k in numbered if not torch.equal(ordered[k], numbered[k])}
    assert changed == {k for k, v in numbered.items() if len(v) in (61, 62, 244)}
    scores = [k for k in changed if len(numbered[k]) in (61, 62)]
    assert scores and all(torch.equal(ordered[k][:61], order) for k in scores)


@pytest.mark.parametrize("heads", ["StandardROIHeads", "CascadeROIHeads"])
@pytest.mark.parametrize("recorded_in", ["both", "config.yaml", "model_final.pth"])
@pytest.mark.slow
def test_an_exported_network_finds_the_same_under_the_same_names(kinds, tmp_path, heads, recorded_in):
    cascade = heads == "CascadeROIHeads"
    cfg = kinds("kinds", "MODEL.ROI_HEADS.NAME", heads, "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", cascade)
    prepare_datasets(cfg)
    path = export(cfg, tmp_path / "teacher")
    if recorded_in == "config.yaml":
        save_atomically({"model": torch.load(path, weights_only=True)["model"]}, path)
    plain = load_exported(exported_cfg(path.parent, "cpu"))
    if recorded_in == "model_final.pth":
        path = path.rename(tmp_path / "alone.pth")
    crossed = load_network(cfg, "teacher", path, CAB)
    a, b = found(plain), found(crossed)
    assert len(a) == len(b) > 20
    assert [ABC[k] for k in a.pred_classes] == [CAB[k] for k in b.pred_classes]
    torch.testing.assert_close(a.scores, b.scores)
    torch.testing.assert_close(a.pred_boxes.tensor, b.pred_boxes.tensor)


def test_scores_are_equal_by_name_wherever_the_weights_come_in(kinds, tmp_path):
    torch.manual_seed(1)  # untrained, it hits something with most seeds
    cfg, crossed = kinds("kinds"), kinds("kinds_crossed")
    for c, which in ((cfg, "plain"), (crossed, "crossed")):
        c.OUTPUT_DIR = str(tmp_path / which)
    prepare_datasets(cfg)
    path = export(cfg, tmp_path / "teacher")
    cfg.MHKD.EVAL = crossed.MHKD.EVAL = "teacher"
    cfg.MODEL.WEIGHTS = crossed.MODEL.TEACHER.WEIGHTS = str(path)
    crossed.DATASETS.TRAIN = cfg.DATASETS.TRAIN  # not read here, so its order does not matter
    prepare_datasets(crossed, training=False)
    scores, same = score_trained(cfg), score_trained(crossed)
    assert scores["AR"] > 0 and same == pytest.approx(scores, nan_ok=True)


@pytest.mark.slow
def test_a_given_teacher_teaches_by_name(kinds, tmp_path):
    cfg, crossed = kinds("kinds"), kinds("kinds_crossed")
    prepare_datasets(cfg)
    path = export(cfg, tmp_path / "teacher")
    crossed.MODEL.TEACHER.WEIGHTS, crossed.MHKD.SCHEDULE = str(path), "none_from_teacher"
    crossed.MHKD.STUDENT_ITERS, crossed.SOLVER.BASE_LR = 1, 0.0
    prepare_datasets(crossed)
    trainer = DistillationTrainer(crossed)
    trainer.train()
    a, b = found(load_exported(exported_cfg(path.parent, "cpu"))), found(trainer.distilled.teacher.eval())
    assert [ABC[k] for k in a.pred_classes] == [CAB[k] for k in b.pred_classes]
    weights = torch.load(Path(crossed.OUTPUT_DIR, "student/model_final.pth"), weights_only=True)
    assert weights["classes"] == CAB
    teacher = trainer.distilled.teacher.state_dict()
    name = "roi_heads.box_predictor.cls_score.weight"
    assert torch.equal(weights["model"][name], teacher[name])


def test_other_classes_are_refused_with_both_named(kinds, tmp_path):
    cfg = kinds("kinds")
    prepare_datasets(cfg)
    path = export(cfg, tmp_path / "teacher")
    merged = kinds("kinds", "MODEL.ROI_HEADS.NUM_CLASSES", 1)
    merged.DATASETS.TRAIN, merged.DATASETS.TEST = ("kinds_train@glomerulus",), ("kinds_val@glomerulus",)
    merged.MODEL.TEACHER.WEIGHTS = str(path)
    prepare_datasets(merged)
    with pytest.raises(InputError, match=r"model_final.pth: is of.*\['a', 'b', 'c'\].*\['glomerulus'\]"):
        DistillationTrainer(merged).train()
    with pytest.raises(InputError, match=r"\['glomerulus'\].*NAME_split@glomerulus"):
        order_classes({}, ["glomerulus"], ["disk"], "x.pth")
    with pytest.raises(InputError, match="rows of its classifier are not known"):
        order_classes({"backbone.weight": torch.zeros(3)}, ABC, CAB, "x.pth")
    cfg.MHKD.CLASSES = CAB
    with pytest.raises(InputError, match=r"kinds_train has classes \['a', 'b', 'c'\], MHKD.CLASSES has"):
        prepare_datasets(cfg)
    prepare_datasets(cfg, training=False)
    cfg.MHKD.CLASSES = ["disk"]
    with pytest.raises(InputError, match=r"the same, or name kinds_val@disk, which has all of them as one$"):
        prepare_datasets(cfg, training=False)


@pytest.mark.slow
def test_a_training_goes_on_with_its_classes_in_another_order(kinds):
    """At a step's beginning they are put in order; within a step, whose momentum has the other, not."""
    cfg = kinds("kinds", "MHKD.STAGE", 0, "MHKD.TEACHER_ITERS", 1)
    prepare_datasets(cfg)
    DistillationTrainer(cfg).train()
    before = torch.load(Path(cfg.OUTPUT_DIR, "0_teacher/model_final.pth"), weights_only=True)
    cfg.MHKD.STAGE, cfg.SOLVER.BASE_LR = 1, 0.0
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("kinds_crossed_train",), ("kinds_crossed_val",)
    prepare_datasets(cfg)
    trainer = DistillationTrainer(cfg)
    state = {**before, "optimizer": {}}
    with pytest.raises(InputError, match=r"began with the classes in the order \['a', 'b', 'c'\]"):
        order_state(trainer.cfg, state, "checkpoint.pth")
    order_state(trainer.cfg, before, "model_final.pth")
    recorded = torch.load(Path(cfg.OUTPUT_DIR, "0_teacher/model_final.pth"), weights_only=True)["model"]
    name = "teacher.roi_heads.box_predictor.cls_score.bias"
    assert torch.equal(before["model"][name], recorded[name][[2, 0, 1, 3]])


def test_the_dataset_knows_its_order(kinds):
    prepare_datasets(kinds("kinds_crossed"))
    assert MetadataCatalog.get("kinds_crossed_val").thing_classes == CAB
    assert len(DatasetCatalog.get("kinds_crossed_val")) == 2
