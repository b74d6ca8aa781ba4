from mhkd.errors import InputError
from mhkd.modeling import FlipAveraged, build_network, exported_form, student_cfg
from mhkd.modeling.flips import FLIPS, _mirrored

import pytest
import torch


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


def test_masks_cannot_be_averaged(tiny_cfg):
    tiny_cfg.MODEL.MASK_ON = True
    with pytest.raises(InputError, match="TEST.AUG.ENABLED: masks"):
        FlipAveraged(build(tiny_cfg, True))


def test_a_cascade_or_another_detector_cannot_be_averaged(tiny_cfg):
    tiny_cfg.MODEL.ROI_HEADS.NAME = "CascadeROIHeads"
    tiny_cfg.MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG = True
    with pytest.raises(InputError, match="TEST.AUG.ENABLED: a cascade"):
        FlipAveraged(build(tiny_cfg, False))
    with pytest.raises(InputError, match="TEST.AUG.ENABLED: Linear has no RPN"):
        FlipAveraged(torch.nn.Linear(1, 1))
