"""The invariants of the method, on a tiny pair of networks."""

import copy
from dataclasses import replace

from mhkd.errors import InputError
from mhkd.modeling import DistilledRCNN
from mhkd.modeling.pooling import pool
from mhkd.schedules import ADAPTIVE, BASIC, LOCAL, SCHEDULES, SEMANTIC, TEACHER, WHOLE, Schedule, Stage

import numpy as np
import pytest
import torch
from detectron2.modeling import ROI_HEADS_REGISTRY, build_model
from detectron2.modeling.roi_heads import StandardROIHeads
from detectron2.structures import Boxes, PolygonMasks
from training_step import images, step


def with_gradient(module):
    return {n for n, p in module.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


@pytest.fixture(params=["upsampled", "native"])
def model(tiny_cfg, request):
    tiny_cfg.MODEL.STUDENT.INPUT = request.param
    torch.manual_seed(0)
    return build_model(tiny_cfg)


def test_bfa_switched_on_leaves_the_students_output_unchanged(model):
    model.eval()
    inputs = [{"image": x["image_lr"]} for x in images(size=(256, 256), of=model)]
    outputs = []
    for stage in (BASIC, ADAPTIVE):
        model.apply_stage(stage)
        with torch.no_grad():
            outputs.append(model(inputs)[0]["instances"])
    before, after = outputs
    assert len(before) > 0
    assert torch.equal(before.pred_boxes.tensor, after.pred_boxes.tensor)
    assert torch.equal(before.scores, after.scores)


def test_adaptive_loss_starts_at_the_basic_loss(model):
    basic = step(model, BASIC)
    adaptive = step(model, ADAPTIVE)
    torch.testing.assert_close(adaptive["loss_adaptive"], basic["loss_basic"])
    for name in ("student/loss_cls", "student/loss_rpn_loc"):
        torch.testing.assert_close(adaptive[name], basic[name])


@pytest.mark.parametrize(
    "stage,names",
    [
        (TEACHER, ["teacher/"]),
        (BASIC, ["student/", "loss_basic"]),
        (ADAPTIVE, ["student/", "loss_adaptive"]),
        (LOCAL, ["student/", "teacher/", "loss_local"]),
        (SEMANTIC, ["student/", "teacher/", "loss_local", "output/"]),
        (SCHEDULES["none"].steps[0], ["student/"]),
    ],
)
@pytest.mark.slow
def test_each_step_has_the_losses_of_the_design(model, stage, names):
    four = {"loss_cls", "loss_box_reg", "loss_rpn_cls", "loss_rpn_loc"}
    expected = {p + n for p in names if p.endswith("/") for n in four}
    expected |= {n for n in names if not n.endswith("/")}
    losses = step(model, stage)
    assert set(losses) == expected
    assert all(torch.isfinite(v) for v in losses.values())


def test_weights_scale_the_losses(model):
    plain = step(model, replace(SEMANTIC, weights={"detect": 1, "local": 1, "output": 1}))
    papers = step(model, SEMANTIC)
    assert papers["loss_local"].item() == pytest.approx(0.1 * plain["loss_local"].item(), rel=1e-4)
    for name in ("student/loss_cls", "teacher/loss_cls"):
        assert papers[name].item() == pytest.approx(0.9 * plain[name].item(), rel=1e-4)


def test_frozen_parameters_are_bit_identical_and_the_others_move(model):
    for stage, frozen, moving in (
        (TEACHER, ["student."], ["teacher.backbone.", "teacher.roi_heads."]),
        (BASIC, ["teacher.", "student.backbone.bfa."], ["student.backbone.fpn.", "student.roi_heads."]),
        (ADAPTIVE, ["teacher."], ["student.backbone.bfa.", "student.backbone.fpn."]),
        (LOCAL, ["teacher.backbone."], ["teacher.roi_heads.", "teacher.proposal", "student."]),
        (SEMANTIC, ["teacher.backbone."], ["teacher.roi_heads.", "teacher.proposal", "student."]),
    ):
        before = copy.deepcopy(model.state_dict())
        model.apply_stage(stage)
        optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), 1e-4)
        step(model, stage)
        optimizer.step()
        changed = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
        for prefix in frozen:
            assert not any(n.startswith(prefix) for n in changed), (stage.name, prefix)
        for prefix in moving:
            assert any(n.startswith(prefix) for n in changed), (stage.name, prefix)


def test_what_the_config_freezes_stays_frozen_in_every_step(tiny_cfg):
    tiny_cfg.MODEL.BACKBONE.FREEZE_AT = 2  # the stem and res2
    model = build_model(tiny_cfg)
    for stage in (TEACHER, BASIC, ADAPTIVE, replace(LOCAL, teacher=WHOLE)):
        model.apply_stage(stage)
        trained = [name for name, p in model.named_parameters() if p.requires_grad]
        assert trained and not [name for name in trained if ".stem." in name or ".res2." in name]


def test_distillation_gradients_reach_the_teacher_only_where_its_backbone_trains(model):
    only_basic = {"detect": 0, "basic": 1}
    step(model, replace(BASIC, weights=only_basic))
    assert not with_gradient(model.teacher)
    step(model, replace(BASIC, weights=only_basic, teacher=WHOLE))
    assert any(n.startswith("backbone.") for n in with_gradient(model.teacher))


def test_local_loss_pools_the_teacher_at_the_students_coordinates(model):
    """Hand-made maps on the teacher's grid whose value is x: pooled, they tell where a box lies."""
    model.train()
    levels = model.teacher.roi_heads.box_in_features
    strides = {k: s.stride for k, s in model.teacher.backbone.output_shape().items()}

    def ramp(stride):  # the value at a cell is the x of its centre in HR pixels
        x = (torch.arange(256 // stride) + 0.5) * stride
        return x.expand(1, 8, 256 // stride, -1)

    f_h = {k: ramp(strides[k]) for k in levels}
    boxes = [Boxes(torch.tensor([[32.0, 40, 96, 120], [100, 20, 164, 100]]))]
    pooled = pool(model.teacher, f_h, boxes)
    assert pooled.shape[:2] == (2, 8)
    torch.testing.assert_close(pooled.mean((1, 2, 3)), torch.tensor([64.0, 132.0]), atol=0.5, rtol=0)

    # In a training step the teacher is asked at exactly the boxes the student's pooler was given.
    asked = {}
    handles = [
        network.roi_heads.box_pooler.register_forward_hook(
            lambda _, args, out, name=name: asked.setdefault(name, []).append((args, out))
        )
        for name, network in (("teacher", model.teacher), ("student", model.student))
    ]
    losses = step(model, replace(LOCAL, teacher=()), images(size=(256, 256), of=model))
    for handle in handles:
        handle.remove()
    (args_t, out_t), (args_s, out_s) = asked["teacher"][0], asked["student"][0]
    assert len(asked["teacher"]) == len(asked["student"]) == 1  # pooled features are reused
    assert torch.equal(args_t[1][0].tensor, args_s[1][0].tensor)
    assert [m.shape for m in args_t[0]] == [m.shape for m in args_s[0]]
    assert losses["loss_local"].item() == pytest.approx((out_t - out_s).square().mean().item())


@ROI_HEADS_REGISTRY.register()
class TwicePooledHeads(StandardROIHeads):
    """As someone's own heads that look at a wider region too."""

    def _forward_box(self, features, proposals):
        wider = [Boxes(p.proposal_boxes.tensor * torch.tensor([0.5, 0.5, 1, 1])) for p in proposals]
        self.box_pooler([features[f] for f in self.box_in_features], wider)
        return super()._forward_box(features, proposals)


@pytest.mark.parametrize(
    "heads,times",
    [("CascadeROIHeads", 3), ("Res5ROIHeads", 0), ("TwicePooledHeads", 2)],
)
def test_heads_whose_pooled_features_cannot_be_told_apart_are_refused(tiny_cfg, heads, times):
    tiny_cfg.MODEL.ROI_HEADS.NAME = heads
    tiny_cfg.MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG = True
    if heads == "Res5ROIHeads":
        tiny_cfg.MODEL.ROI_HEADS.IN_FEATURES = ["p3"]
    said = f"MODEL.ROI_HEADS.NAME {heads}: MHKD.SCHEDULE mhkd has a local loss.* {times} times"
    with pytest.raises(InputError, match=said):
        build_model(tiny_cfg)
    tiny_cfg.MHKD.SCHEDULE = "global_only"  # does not ask what they pool
    model = build_model(tiny_cfg)
    if heads != "Res5ROIHeads":  # whose layers want a C4 backbone
        losses = step(model, SCHEDULES["global_only"].steps[0])
        assert torch.isfinite(sum(losses.values()))


@pytest.fixture
def mask_cfg(tiny_cfg):
    tiny_cfg.MODEL.MASK_ON = True
    tiny_cfg.MODEL.ROI_MASK_HEAD.merge_from_list(["NUM_CONV", 1, "CONV_DIM", 8])
    tiny_cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
    return tiny_cfg


def outlined_images():
    """The boxes' upper right triangles."""
    batch = images()
    outlines = [[x0, y0, x1, y0, x1, y1] for x0, y0, x1, y1 in batch[0]["instances"].gt_boxes.tensor.tolist()]
    batch[0]["instances"].gt_masks = PolygonMasks([[np.array(o)] for o in outlines])
    return batch


def test_a_mask_head_has_a_pooler_of_its_own(mask_cfg):
    losses = step(build_model(mask_cfg), LOCAL, outlined_images())
    assert losses["student/loss_mask"] > 0 and losses["loss_local"] > 0


def test_a_detector_alone_learns_masks(mask_cfg):
    mask_cfg.MODEL.META_ARCHITECTURE, mask_cfg.MHKD.SCHEDULE = "DirectDetector", "direct"
    assert step(build_model(mask_cfg), TEACHER, outlined_images())["teacher/loss_mask"] > 0


def test_masks_are_the_teachers_where_its_output_stands_in_for_the_objects(mask_cfg):
    model = build_model(mask_cfg)
    model.output_score_thresh = 0.0
    hr = model._preprocess(model.teacher, [x["image"] for x in images()])
    (o_t,) = model._teacher_output(hr, model.teacher.backbone(hr.tensor))
    assert len(o_t) and o_t.gt_masks.tensor.shape == (len(o_t), 128, 128)
    for mask, (x0, y0, x1, y1) in zip(o_t.gt_masks.tensor, o_t.gt_boxes.tensor.tolist()):
        y, x = torch.nonzero(mask, as_tuple=True)
        assert not len(x) or (x0 - 1 <= x.min() and x.max() <= x1 and y0 - 1 <= y.min() and y.max() <= y1)
    losses = step(model, SEMANTIC, outlined_images())
    assert losses["output/loss_mask"] > 0
    model.output_score_thresh = 1.01
    assert step(model, SEMANTIC, outlined_images())["output/loss_mask"] == 0  # nothing was found


@pytest.mark.parametrize("kind", ["upsampled", "native"])
def test_what_mask_heads_pool_can_be_distilled(mask_cfg, monkeypatch, kind):
    stage = Stage("masks", {"detect": 1, "local": 1, "local_mask": 2})
    monkeypatch.setitem(SCHEDULES, "masks", Schedule("masks", (stage,)))
    mask_cfg.MHKD.SCHEDULE, mask_cfg.MODEL.STUDENT.INPUT = "masks", kind
    model = build_model(mask_cfg)
    batch = outlined_images()
    batch[0]["image_lr"] = images(of=model)[0]["image_lr"]
    assert step(model, stage, batch)["loss_local_mask"] > 0
    same = model.teacher.state_dict()
    if kind == "upsampled":  # equal networks on equal pixels pool the same
        model.student.backbone.fpn.load_state_dict(
            {k[9:]: v for k, v in same.items() if k[:9] == "backbone."}
        )
        batch[0]["image_lr"] = batch[0]["image"]
        assert step(model, stage, batch)["loss_local_mask"] < 1e-10
    mask_cfg.MODEL.MASK_ON = False
    with pytest.raises(InputError, match="MHKD.SCHEDULE masks has a loss .* set MODEL.MASK_ON True"):
        build_model(mask_cfg)


def test_networks_share_one_grid_for_any_image_size(model):
    losses = step(model, ADAPTIVE, images(size=(132, 208), boxes=((10, 10, 60, 70),), of=model))
    assert torch.isfinite(losses["loss_adaptive"])


def test_teacher_output_is_ground_truth_above_the_threshold(model):
    model.apply_stage(SEMANTIC)
    model.train()
    model.output_score_thresh = 0.0
    hr = model._preprocess(model.teacher, [x["image"] for x in images(2)])
    f_h = model.teacher.backbone(hr.tensor)
    everything = model._teacher_output(hr, f_h)
    assert len(everything) == 2 and all(len(x) > 0 for x in everything)
    assert everything[0].gt_boxes.tensor.requires_grad is False
    assert model.teacher.roi_heads.training and model.teacher.proposal_generator.training
    model.output_score_thresh = 1.01
    assert [len(x) for x in model._teacher_output(hr, f_h)] == [0, 0]


def test_images_without_ground_truth_and_without_teacher_output(model):
    model.output_score_thresh = 1.01
    for stage in (TEACHER, BASIC, LOCAL, SEMANTIC):
        losses = step(model, stage, images(boxes=(), of=model))
        assert all(torch.isfinite(v) for v in losses.values())
        assert all(v == 0 for k, v in losses.items() if k.endswith(("box_reg", "rpn_loc")))


@pytest.mark.parametrize("name", [n for n, s in SCHEDULES.items() if s.task in ("", "detection")])
@pytest.mark.slow
def test_every_step_of_every_schedule_gives_a_gradient_to_all_that_trains(tiny_cfg, name):
    """What DDP without find_unused_parameters requires, and no part trains on nothing."""
    tiny_cfg.MHKD.SCHEDULE = name
    model = build_model(tiny_cfg)
    for stage in SCHEDULES[name].steps:
        step(model, stage)
        missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert not missing, stage.name


def test_evaluation_runs_the_student_and_never_the_teacher(model):
    calls = []
    for module in model.teacher.modules():
        module.register_forward_hook(lambda *_: calls.append(1))
    model.eval()
    inputs = [{"image": x["image_lr"], "height": 256, "width": 512} for x in images(2, of=model)]
    with torch.no_grad():
        results = model(inputs)
    assert not calls
    with torch.no_grad():
        alone = model.student(inputs)
    for mine, theirs in zip(results, alone):  # every image is postprocessed, not only the first
        assert mine["instances"].image_size == (256, 512)
        assert torch.equal(mine["instances"].scores, theirs["instances"].scores)


def test_a_student_built_without_bfa_refuses_a_step_with_it(tiny_cfg):
    tiny_cfg.MHKD.SCHEDULE = "none"
    model: DistilledRCNN = build_model(tiny_cfg)
    assert not list(model.student.backbone.bfa.parameters())
    with pytest.raises(ValueError, match="without"):
        model.apply_stage(ADAPTIVE)


# --- Without annotations: the teacher's detections stand in for them, or nothing does ---
LABEL_FREE = SCHEDULES["label_free"].steps[0]
PSEUDO = Stage("pseudo", {"detect": 1, "basic": 1, "local": 1}, labels=False)


def without_annotations(batch):
    return [{k: v for k, v in x.items() if k != "instances"} for x in batch]


def test_label_free_trains_the_backbone_alone_and_never_looks_at_annotations(model):
    losses = step(model, LABEL_FREE, images(of=model))
    assert set(losses) == {"loss_basic", "loss_local"}
    assert losses["loss_local"] > 0
    trained = with_gradient(model)
    assert trained and all(n.startswith("student.backbone.fpn.") for n in trained)
    for batch in (images(boxes=(), of=model), without_annotations(images(of=model))):
        assert step(model, LABEL_FREE, batch) == losses


def test_label_free_has_nothing_to_learn_where_lr_is_hr_and_weighs_eight(tiny_cfg):
    model = build_model(tiny_cfg)
    model.start_student_from_teacher()
    same = images()
    same[0]["image_lr"] = same[0]["image"]
    assert step(model, LABEL_FREE, same) == {"loss_basic": 0.0, "loss_local": 0.0}
    plain = step(model, replace(LABEL_FREE, weights={"basic": 1, "local": 1}))
    weighted = step(model, LABEL_FREE)
    for name, value in plain.items():
        assert value > 0
        torch.testing.assert_close(weighted[name], 8 * value)


def test_without_labels_the_teachers_detections_are_the_ground_truth(model):
    model.output_score_thresh = 0.0  # an untrained teacher is sure of nothing
    batch = images(of=model)
    found = step(model, PSEUDO, batch)
    with torch.no_grad():
        f_h = model.teacher.backbone((pre := model._preprocess(model.teacher, [batch[0]["image"]])).tensor)
        (batch[0]["instances"],) = model._teacher_output(pre, f_h)
    assert len(batch[0]["instances"]) > 0
    annotated = Stage("annotated", PSEUDO.weights)
    assert step(model, annotated, batch) == found


def test_an_image_without_annotations_is_treated_so_beside_one_that_has_some(model):
    annotated, plain = Stage("annotated", PSEUDO.weights), without_annotations(images(2, of=model))[1:]
    (first,), both = images(of=model), images(2, of=model)[:1] + plain
    mixed = step(model, annotated, both)
    assert step(model, annotated, plain) == step(model, PSEUDO, plain)
    assert torch.equal(both[0]["instances"].gt_boxes.tensor, first["instances"].gt_boxes.tensor)
    assert mixed["student/loss_cls"] > 0 and mixed["loss_basic"] > 0
