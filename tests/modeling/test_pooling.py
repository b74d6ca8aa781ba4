"""What ROI heads pool: at the student's coordinates, once, and for masks by a pooler of its own."""

from dataclasses import replace

from mhkd.errors import InputError
from mhkd.modeling.pooling import pool
from mhkd.schedules import LOCAL, SCHEDULES, SEMANTIC, TEACHER, Schedule, Stage

import numpy as np
import pytest
import torch
from detectron2.modeling import ROI_HEADS_REGISTRY, build_model
from detectron2.modeling.roi_heads import StandardROIHeads
from detectron2.structures import Boxes, PolygonMasks
from training_step import images, step


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
