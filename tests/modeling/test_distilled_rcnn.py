"""The invariants of the method, on a tiny pair of networks."""

import copy
from dataclasses import replace

from mhkd.modeling import DistilledRCNN
from mhkd.schedules import ADAPTIVE, BASIC, LOCAL, SCHEDULES, SEMANTIC, TEACHER, WHOLE, Stage

import pytest
import torch
from detectron2.modeling import build_model
from training_step import images, step


def with_gradient(module):
    return {n for n, p in module.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


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
