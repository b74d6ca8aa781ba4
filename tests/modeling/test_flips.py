from mhkd.errors import InputError
from mhkd.modeling import FlipAveraged, build_network, exported_form, student_cfg
from mhkd.modeling.flips import FLIPS, _mirrored

import pytest
import torch
from detectron2.structures import Boxes, Instances
from torch import nn


def build(cfg, deployed, kind="upsampled"):
    cfg.MODEL.STUDENT.INPUT = kind
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
    cfg = student_cfg(cfg)
    torch.manual_seed(0)
    return build_network(exported_form(cfg) if deployed else cfg).eval()


def found(network, image, **size):
    (output,) = network([{"image": image, **size}])
    instances = output["instances"]
    order = instances.scores.argsort(descending=True)
    return instances.pred_boxes.tensor[order], instances.scores[order]


def test_mirrored_boxes_by_hand():
    boxes = torch.tensor([[1.0, 2.0, 3.0, 5.0]])
    of = {flip: _mirrored(boxes, (10, 20), flip)[0].tolist() for flip in FLIPS}
    assert list(of.values()) == [[1, 2, 3, 5], [17, 2, 19, 5], [1, 5, 3, 8], [17, 5, 19, 8]]
    two = _mirrored(boxes.repeat(1, 2), (10, 20), (True, False))  # of two classes
    assert two[0].tolist() == [17, 2, 19, 5] * 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["upsampled", "native"])
@pytest.mark.parametrize("deployed", [True, False])
def test_what_is_found_turns_with_the_image(tiny_cfg, deployed, kind):
    """Of sizes that need padding, too; a symmetric image, which is its own mirror image, has it for free."""
    averaged = FlipAveraged(build(tiny_cfg, deployed, kind))
    side = (24, 17) if deployed or kind == "native" else (96, 68)
    image = torch.randint(0, 256, (3, *side), dtype=torch.uint8)
    size = {} if deployed else {"height": 96, "width": 68}
    shape = side if deployed else (96, 68)
    boxes, scores = found(averaged, image, **size)
    assert len(boxes) > 5
    for axes, flip in (((-1,), (True, False)), ((-2,), (False, True)), ((-1, -2), (True, True))):
        turned, turned_scores = found(averaged, image.flip(axes), **size)
        torch.testing.assert_close(turned_scores, scores, atol=1e-5, rtol=0)
        torch.testing.assert_close(_mirrored(turned, shape, flip), boxes, atol=1e-3, rtol=0)
    alone, _ = found(averaged.network, image, **size)
    other, _ = found(averaged.network, image.flip(-1), **size)
    assert alone.shape != other.shape or not torch.allclose(
        _mirrored(other, shape, (True, False)), alone, atol=1e-2
    )  # which the network does not have of itself


@pytest.mark.slow
def test_images_of_several_sizes_are_as_each_alone(tiny_cfg):
    averaged = FlipAveraged(build(tiny_cfg, True))
    pictures = [torch.randint(0, 256, (3, s, 32), dtype=torch.uint8) for s in (32, 48)]
    together = [x["instances"] for x in averaged([{"image": x} for x in pictures])]
    for picture, instances in zip(pictures, together):
        boxes, scores = found(averaged, picture)
        assert instances.image_size == tuple(picture.shape[1:])
        torch.testing.assert_close(instances.scores.sort(descending=True).values, scores)
    assert averaged([]) == []


class OneMask(nn.Module):
    """A mask head that says the same of every box."""

    def forward(self, features, instances):
        for of_image in instances:
            of_image.pred_masks = torch.tensor([[[0.8, 0.4], [0.0, 0.0]]]).repeat(len(of_image), 1, 1, 1)
        return instances


def with_masks(cfg):
    cfg.MODEL.MASK_ON, cfg.MODEL.ROI_MASK_HEAD.NUM_CONV, cfg.MODEL.ROI_MASK_HEAD.CONV_DIM = True, 1, 8
    return cfg


def test_masks_are_averaged_as_they_lie_in_the_image(tiny_cfg):
    averaged = FlipAveraged(build(with_masks(tiny_cfg), True))
    averaged.network.roi_heads.mask_head = OneMask()
    image = torch.randint(0, 256, (3, 24, 17), dtype=torch.uint8)
    (instances,) = averaged.inference([{"image": image}], do_postprocess=False)
    assert instances.image_size == (24, 17) and len(instances) > 5
    # Each corner is seen once as each of the four, turned back: (0.8 + 0.4 + 0 + 0) / 4.
    torch.testing.assert_close(instances.pred_masks, torch.full((len(instances), 1, 2, 2), 0.3))


@pytest.mark.slow
@pytest.mark.parametrize("deployed, kind", [(True, "upsampled"), (True, "native"), (False, "upsampled")])
def test_masks_are_the_mean_of_what_the_network_says_of_each_flip(tiny_cfg, deployed, kind):
    """And what is found has the boxes and scores that it has without masks."""
    averaged = FlipAveraged(build(with_masks(tiny_cfg), deployed, kind))
    network = averaged.network
    torch.nn.init.normal_(network.roi_heads.mask_head.predictor.weight)
    size = (24, 17) if deployed else (96, 68)
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    (instances,) = averaged.inference([{"image": image}], do_postprocess=False)
    masks = []
    for flip in FLIPS:
        axes = [axis for axis, on in zip((-1, -2), flip) if on]
        given = Instances(size, pred_classes=instances.pred_classes)
        given.pred_boxes = Boxes(_mirrored(instances.pred_boxes.tensor, size, flip))
        with torch.no_grad():
            (seen,) = network.inference([{"image": image.flip(axes)}], [given], do_postprocess=False)
        masks.append(seen.pred_masks.flip(axes))
    torch.testing.assert_close(instances.pred_masks, torch.stack(masks).mean(0), atol=1e-4, rtol=0)
    assert (masks[0] - masks[1]).abs().max() > 0.01
    pasted = averaged([{"image": image}])[0]["instances"]
    assert pasted.pred_masks.dtype == torch.bool and pasted.pred_masks.shape[1:] == size
    network.roi_heads.mask_on = False
    boxes, scores = found(averaged, image)
    torch.testing.assert_close(pasted.pred_boxes.tensor, boxes)
    torch.testing.assert_close(pasted.scores, scores)


def test_a_cascade_or_another_detector_cannot_be_averaged(tiny_cfg):
    tiny_cfg.MODEL.ROI_HEADS.NAME = "CascadeROIHeads"
    tiny_cfg.MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG = True
    with pytest.raises(InputError, match="TEST.AUG.ENABLED: a cascade"):
        FlipAveraged(build(tiny_cfg, False))
    with pytest.raises(InputError, match="TEST.AUG.ENABLED: Linear has no RPN"):
        FlipAveraged(torch.nn.Linear(1, 1))
