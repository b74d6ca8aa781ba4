"""Crowds and cut objects: neither learned as objects nor as background, by any network."""

import json

from mhkd.engine import DistillationTrainer, prepare_datasets
from mhkd.engine.exported import export_cfg
from mhkd.errors import InputError
from mhkd.modeling import distilled_rcnn
from mhkd.modeling.detection_transformer import of_labelled
from mhkd.modeling.ignore import (
    IgnoringCascadeROIHeads,
    IgnoringRes5ROIHeads,
    IgnoringRPN,
    IgnoringStandardROIHeads,
    boxes_on,
    points_on,
)
from mhkd.schedules import SCHEDULES, SEMANTIC, TEACHER

import pytest
import torch
from detectors import SMALL, detector_config
from detectron2.modeling import ROI_HEADS_REGISTRY, build_model
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import StandardROIHeads
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from support import DISKS, tiny_config, write_disks
from training_step import images, step

EVERYWHERE = Boxes(torch.tensor([[-9999.0, -9999, 9999, 9999]]))
CLASSIFICATION = ("loss_cls", "loss_rpn_cls", "_cls", "loss_ce")


def boxes(*rows):
    return Boxes(torch.tensor(rows, dtype=torch.float32).reshape(-1, 4))


def classification(losses):
    """name -> value of those that say what is an object and what is not."""
    found = {k: v.item() for k, v in losses.items() if any(c in k for c in CLASSIFICATION)}
    assert found
    return found


# --- What lies on a region -------------------------------------------------------------------------


def test_half_of_its_own_area_by_hand():
    regions = boxes([0, 0, 10, 10], [10, 0, 14, 10])
    on = boxes([0, 0, 10, 20], [2, 2, 4, 4], [0, 0, 20, 10])  # shares 0.5, 1, 0.5
    off = boxes([0, 0, 10, 21], [5, 5, 40, 40], [30, 30, 40, 40])
    # 40 % on either region is not half on one of them.
    off = Boxes.cat([off, boxes([6, 0, 15, 10])])
    assert boxes_on(on, regions).all() and not boxes_on(off, regions).any()
    assert not boxes_on(on, boxes()).any() and len(boxes_on(boxes(), regions)) == 0
    points = torch.tensor([[5.0, 5], [12, 9], [14, 5], [-1, 5], [5, 10]])
    assert points_on(points, regions).tolist() == [True, True, False, False, False]
    assert not points_on(points, boxes()).any()


# --- RPN and ROI heads -----------------------------------------------------------------------------


def truth(*rows):
    return Instances((128, 128), gt_boxes=boxes(*rows), gt_classes=torch.zeros(len(rows), dtype=torch.long))


def test_anchors_on_a_region_have_no_label_unless_they_match_an_object(tiny_cfg):
    model = build_model(tiny_cfg)
    levels = model.student.proposal_generator.in_features
    strides = {k: s.stride for k, s in model.student.backbone.output_shape().items()}
    features = [torch.zeros(1, 8, 128 // strides[k], 128 // strides[k]) for k in levels]
    region, target = boxes([60, 60, 128, 128]), truth([64, 64, 128, 128])
    for rpn in (model.teacher.proposal_generator, model.student.proposal_generator):
        assert isinstance(rpn, IgnoringRPN)
        rpn.batch_size_per_image, rpn.positive_fraction = 10**6, 1.0  # all of them are sampled
        anchors = rpn.anchor_generator(features)
        (before, none), _ = rpn.label_and_sample_anchors(anchors, [target, truth()])
        rpn.ignored = [region, boxes()]
        (labels, untouched), _ = rpn.label_and_sample_anchors(anchors, [target, truth()])
        on = boxes_on(Boxes.cat(anchors), region)
        assert (before[on] == 1).any() and (before[on] == 0).any() and (before[~on] == 0).any()
        assert torch.equal(labels, torch.where(on & (before == 0), -1, before))
        assert torch.equal(untouched, none)  # of the other image


@pytest.fixture
def three_proposals():
    """Background on the region, background beside it, and one that matches an object on the region."""
    found = Instances((128, 128), proposal_boxes=boxes([60, 60, 90, 90], [0, 0, 30, 30], [90, 90, 128, 126]))
    found.objectness_logits = torch.zeros(3)
    return found, truth([90, 90, 128, 128]), boxes([60, 60, 128, 128])


@pytest.mark.parametrize("heads", [IgnoringStandardROIHeads, IgnoringRes5ROIHeads, IgnoringCascadeROIHeads])
def test_proposals_on_a_region_are_no_background(heads, three_proposals):
    """Sampling needs the matcher alone, so these heads are without layers."""
    proposals, target, region = three_proposals
    sampler = heads.__new__(heads)
    torch.nn.Module.__init__(sampler)
    sampler.num_classes, sampler.batch_size_per_image, sampler.positive_fraction = 1, 100, 1.0
    sampler.proposal_append_gt, sampler.proposal_matcher = False, Matcher([0.5], [0, 1])
    sampler.proposal_matchers = [None, Matcher([0.6], [0, 1])]

    def labelled():
        with EventStorage():
            (one,) = sampler.label_and_sample_proposals([proposals], [target])
        rows = zip(one.proposal_boxes.tensor.tolist(), one.gt_classes.tolist())
        return sorted((int(box[0]), label) for box, label in rows)

    assert labelled() == [(0, 1), (60, 1), (90, 0)]  # 1: background
    sampler.ignored = [region]
    assert labelled() == [(0, 1), (90, 0)]
    if heads is IgnoringCascadeROIHeads:  # a later stage has its own boxes, and its own threshold
        with EventStorage():
            (one,) = sampler._match_and_label_boxes([proposals], 1, [target])
        assert one.gt_classes.tolist() == [1, 0]


# --- Whole networks --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.slow
def test_where_all_is_ignored_no_detector_learns_background(name, tmp_path):
    model = build_model(detector_config(name, tmp_path))
    model.train()
    image = torch.randint(0, 255, (3, 96, 128), dtype=torch.uint8)
    instances = Instances((96, 128), **truth().get_fields())
    entry = {"image": image, "instances": instances, "height": 96, "width": 128}
    with EventStorage():
        plain = model([entry])
        none = model([{**entry, "ignore_boxes": boxes()}])
        ignored = model([{**entry, "ignore_boxes": EVERYWHERE}])
        sum(ignored.values()).backward()
    assert all(v == 0 for v in classification(ignored).values()), ignored
    assert all(v > 0 for k, v in classification(plain).items() if "denoising" not in k), plain
    assert classification(none).keys() == classification(plain).keys()
    trained = [p.grad for p in model.parameters() if p.requires_grad]
    assert all(g is not None and torch.isfinite(g).all() for g in trained)


@pytest.mark.parametrize("name", ["fcos_R18_FPN_cpu", "atss_R18_FPN_cpu"])
def test_points_in_a_region_have_no_gradient_and_the_others_the_same(name, tmp_path):
    network = build_model(detector_config(name, tmp_path)).teacher
    sizes = [(12, 16), (6, 8), (3, 4), (2, 2), (1, 1)]
    features = [torch.zeros(1, 32, *s) for s in sizes]
    anchors = network.anchor_generator(features)
    target = Instances((96, 128), gt_boxes=boxes([40, 20, 90, 80]), gt_classes=torch.tensor([0]))
    region = boxes([0, 0, 70, 96])

    def gradients(ignored):
        torch.manual_seed(0)
        shapes = [(1, h * w, n) for n in (network.num_classes, 4, 1) for h, w in sizes]
        outputs = [torch.rand(s).requires_grad_() for s in shapes]
        logits, deltas, centerness = outputs[:5], outputs[5:10], outputs[10:]
        network.ignored = ignored
        labels, found = network.label_anchors(anchors, [target])
        # The scripted focal loss is optimized after its first calls, which changes last bits.
        with EventStorage(), torch.jit.optimized_execution(False):
            losses = network.losses(anchors, logits, labels, deltas, found, centerness)
            sum(losses.values()).backward()
        return labels[0], torch.cat([x.grad for x in logits], 1)[0, :, 0]

    network.loss_normalizer.fill_(100)
    labels, before = gradients(())
    network.loss_normalizer.fill_(100)
    ignoring_labels, after = gradients([region])
    inside = points_on(Boxes.cat(anchors).get_centers(), region)
    left_out = inside & (labels == network.num_classes)
    assert left_out.any() and (inside & ~left_out).any() and (~inside & (labels == 0)).any()
    assert torch.equal(ignoring_labels, torch.where(left_out, -1, labels))
    assert (before != 0).all()
    assert torch.equal(after, torch.where(left_out, 0.0, before))


def test_an_unmatched_query_on_a_region_costs_nothing():
    logits = torch.zeros(1, 4, 2)
    # Matched and on the region; unmatched and on it; beside it; 55 % of it on it.
    centres = [[0.2, 0.2], [0.3, 0.3], [0.8, 0.8], [0.49, 0.25]]
    pred = torch.cat([torch.tensor([centres]), torch.full((1, 4, 2), 0.2)], 2)
    outputs = {"logits": logits, "pred_boxes": pred}
    target = {"class_labels": torch.tensor([0]), "boxes": pred[0, :1]}
    indices = [(torch.tensor([0]), torch.tensor([0]))]
    assert of_labelled(outputs, [target], indices) is outputs
    target["ignored"] = torch.tensor([[0.0, 0, 0.5, 0.5]])
    found = of_labelled(outputs, [target], indices)["logits"]
    assert (found[0, :, 0] == 0).tolist() == [True, False, True, False]
    assert (found[0, [1, 3]] < -1000).all()


NONE, BASELINE = (SCHEDULES[name].steps[0] for name in ("none", "baseline_kd"))


@pytest.mark.parametrize("stage", [TEACHER, SEMANTIC, BASELINE], ids=lambda s: s.name)
def test_both_networks_and_the_output_loss_leave_regions_out(tiny_cfg, stage):
    torch.manual_seed(0)
    model = build_model(tiny_cfg)
    model.output_score_thresh = 1.01  # O_T is empty: all that the output loss could learn is background
    batch = images(boxes=())
    before = classification(step(model, stage, batch))
    batch[0]["ignore_boxes"] = EVERYWHERE
    losses = step(model, stage, batch)
    assert all(v > 0 for v in before.values())
    assert all(v == 0 for v in classification(losses).values()), losses
    assert all(torch.isfinite(v) for v in losses.values())


def test_a_region_of_one_image_leaves_the_others_as_they_are(tiny_cfg):
    torch.manual_seed(0)
    model = build_model(tiny_cfg)
    for part in (model.student.roi_heads, model.student.proposal_generator):
        part.batch_size_per_image = 10**6
    both = images(2)
    plain = step(model, NONE, both)
    both[0]["ignore_boxes"], both[1]["ignore_boxes"] = boxes(), EVERYWHERE
    assert step(model, NONE, both) != plain
    both[1]["ignore_boxes"] = boxes([500, 500, 600, 600])  # nothing lies there
    assert step(model, NONE, both) == plain
    # Without annotations (and where a step does not look at them) there are no regions either.
    del both[1]["instances"]
    unlabeled = step(model, NONE, both)
    assert torch.isfinite(sum(unlabeled.values()))


# --- Trainings -------------------------------------------------------------------------------------


def weights_of(root, out, monkeypatch, options=()):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))
    cfg = tiny_config(out, [*DISKS, "DATASETS.TEST", (), "MHKD.STUDENT_ITERS", 4, *options])
    prepare_datasets(cfg)
    torch.manual_seed(0)
    trainer = DistillationTrainer(cfg)
    trainer.train()
    return trainer.distilled.state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(v, b[k]) for k, v in a.items())


@pytest.mark.slow
def test_without_regions_a_training_is_detectron2s_own_bit_for_bit(tmp_path, disks_root, monkeypatch):
    with_mechanism = weights_of(disks_root, tmp_path / "a", monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(distilled_rcnn, "training_heads", lambda cfg: cfg)
        patch.setattr(RPN, "ignored", (), raising=False)
        stock = weights_of(disks_root, tmp_path / "b", patch)
    assert same(with_mechanism, stock)

    write_disks(tmp_path)  # the same pictures, and one crowd
    path = tmp_path / "disks/annotations_train.json"
    content = json.loads(path.read_text())
    crowds = [
        {**a, "id": 100 + a["id"], "bbox": [64, 0, 64, 64], "iscrowd": 1} for a in content["annotations"][::2]
    ]
    path.write_text(json.dumps({**content, "annotations": [*content["annotations"], *crowds]}))
    assert not same(with_mechanism, weights_of(tmp_path, tmp_path / "c", monkeypatch))


def test_exported_configs_name_detectron2s_own_heads(tiny_cfg):
    for network in ("student", "teacher"):
        cfg = export_cfg(tiny_cfg, network)
        assert cfg.MODEL.PROPOSAL_GENERATOR.NAME == "RPN"
        assert cfg.MODEL.ROI_HEADS.NAME == "StandardROIHeads"


def test_heads_that_would_learn_regions_as_background_say_so(tiny_cfg):
    class OwnHeads(StandardROIHeads):
        pass

    if "OwnHeads" not in ROI_HEADS_REGISTRY:
        ROI_HEADS_REGISTRY.register(OwnHeads)
    tiny_cfg.MODEL.ROI_HEADS.NAME = "OwnHeads"
    model = build_model(tiny_cfg)
    batch = images()
    assert torch.isfinite(sum(step(model, TEACHER, batch).values()))
    batch[0]["ignore_boxes"] = EVERYWHERE
    with pytest.raises(InputError, match="MODEL.ROI_HEADS.NAME.*OwnHeads would learn them as background"):
        step(model, TEACHER, batch)
