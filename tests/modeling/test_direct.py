"""Direct detectors: each overfits one image, and its boxes are right on HR and on LR."""

import json
from pathlib import Path

from mhkd.engine import DistillationTrainer, evaluate, prepare_datasets
from mhkd.modeling.atss import ATSSDetector, centerness

import pytest
import torch
import yaml
from detectors import SMALL, detector_config
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from support import CONFIGS, write_disks

pytestmark = pytest.mark.slow

ITERATIONS = dict.fromkeys(SMALL, 60) | {"dab_detr_R18_cpu": 120}


@pytest.fixture(scope="module")
def one_image(tmp_path_factory):
    """Datasets "one_train" and "one_val": the same drawn image, as of two slides."""
    root = tmp_path_factory.mktemp("one")
    folder = write_disks(root, "one", splits=(("train", 1), ("val", 1)))
    content = (folder / "annotations_train.json").read_text()
    (folder / "annotations_val.json").write_text(content.replace('"slide": "train_0"', '"slide": "val_0"'))
    return root


@pytest.fixture
def overfitted(request, one_image, tmp_path, monkeypatch):
    """A detector trained on one image by the trainer itself."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(one_image))
    options = [
        "DATASETS.TRAIN", ("one_train",), "DATASETS.TEST", ("one_val",), "INPUT.CROP.ENABLED", False,
        "INPUT.FLIP_PROB", 0.0, "SOLVER.OPTIMIZER", "AdamW", "SOLVER.WARMUP_ITERS", 10,
        "MHKD.TEACHER_ITERS", ITERATIONS[request.param], "SOLVER.CHECKPOINT_PERIOD", 0,
    ]  # fmt: skip
    cfg = detector_config(request.param, tmp_path, [*options, *SMALL[request.param]])
    prepare_datasets(cfg)
    torch.manual_seed(0)
    trainer = DistillationTrainer(cfg)
    trainer.train()
    return cfg, trainer.distilled.teacher


@pytest.mark.parametrize("overfitted", SMALL, indirect=True)
def test_it_overfits_one_image_in_hr_pixels(overfitted):
    cfg, network = overfitted
    hr, lr = (evaluate(cfg, network, which) for which in ("teacher", "direct"))
    assert hr["AP50"] > 90, hr
    # Upsampled LR is blurred, which it was never trained on; boxes in LR pixels would score 0.
    assert lr["AP50"] > 40, lr
    found = (Path(cfg.OUTPUT_DIR, "inference", which, "one_val") for which in ("teacher", "direct"))
    on_hr, on_lr = (json.loads((p / "coco_instances_results.json").read_text()) for p in found)
    assert on_hr != on_lr


@pytest.mark.parametrize("name", SMALL)
def test_images_without_objects_train_it_too(name, tmp_path):
    model = build_model(detector_config(name, tmp_path))
    classes = torch.zeros(0, dtype=torch.long)
    empty = Instances((96, 128), gt_boxes=Boxes(torch.zeros(0, 4)), gt_classes=classes)
    image = torch.randint(0, 255, (3, 96, 128), dtype=torch.uint8)
    model.train()
    with EventStorage():
        losses = model([{"image": image, "instances": empty, "height": 96, "width": 128}])
        sum(losses.values()).backward()
    assert all(torch.isfinite(v) for v in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("seed", range(8))
def test_every_side_of_a_first_fcos_box_has_a_gradient(seed, tmp_path):
    torch.manual_seed(seed)
    detector = build_model(detector_config("fcos_R18_FPN_cpu", tmp_path)).teacher
    image = torch.randint(0, 255, (1, 3, 96, 128)).float()
    _, sides, _ = detector.head([detector.backbone(image)[k] for k in detector.head_in_features])
    assert all((x > 0).all() for x in sides)


def test_full_size_configs_build_and_are_r101():
    names = sorted(p.stem for p in (CONFIGS / "KidneyROI/direct").glob("*_R101*.yaml"))
    assert {n.split("_R101")[0] for n in names} == {n.split("_R18")[0] for n in SMALL}
    for name in names:
        content = yaml.safe_load((CONFIGS / "KidneyROI/direct" / f"{name}.yaml").read_text())
        assert content["MODEL"]["RESNETS"]["DEPTH"] == 101 and content["MHKD"]["SCHEDULE"] == "direct"


# --- ATSS ------------------------------------------------------------------------------------------


def test_atss_takes_anchors_around_an_objects_centre_at_the_level_of_its_size(tmp_path):
    model: ATSSDetector = build_model(detector_config("atss_R18_FPN_cpu", tmp_path)).teacher
    features = [torch.zeros(1, 32, 256 // s, 256 // s) for s in (8, 16, 32, 64, 128)]
    anchors = model.anchor_generator(features)
    box = torch.tensor([[64.0, 64, 128, 128]])  # the anchors of stride 8 are 64 px wide
    targets = Instances((256, 256), gt_boxes=Boxes(box), gt_classes=torch.tensor([0]))
    (index,) = model.match_anchors(anchors, [targets])
    positive = Boxes.cat(anchors)[index == 0]
    assert 0 < len(positive) <= 9 and int((index == 0).nonzero().max()) < len(anchors[0])
    assert ((positive.get_centers() - 96).abs() < 13).all()


def test_centerness_by_hand():
    boxes = torch.tensor([[0.0, 0, 40, 40]] * 3)
    anchors = torch.tensor([[10.0, 10, 30, 30], [0, 10, 20, 30], [-10, 0, 10, 40]])
    # Centres (20, 20), (10, 20), (0, 20): ratios 1, 10 / 30, 0.
    torch.testing.assert_close(centerness(anchors, boxes), torch.tensor([1.0, (1 / 3) ** 0.5, 0.0]))


def test_the_loss_normalizer_is_part_of_a_checkpoint(tmp_path):
    model = build_model(detector_config("fcos_R18_FPN_cpu", tmp_path))
    assert "teacher.loss_normalizer" in model.state_dict()
    assert model.teacher._ema_update("loss_normalizer", 10.0, 0) == pytest.approx(91.0)
    assert model.teacher.loss_normalizer.item() == pytest.approx(91.0)
