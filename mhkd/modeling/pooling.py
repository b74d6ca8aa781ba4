"""What the ROI heads of a network pool: seen on the way, checked, and repeated on other boxes."""

import contextlib
from collections.abc import Iterator

import torch
from detectron2.config import CfgNode
from detectron2.modeling.meta_arch import GeneralizedRCNN
from detectron2.structures import Boxes, ImageList, Instances
from torch import nn

from ..errors import InputError
from ..losses import Features

Pooled = tuple[list[Boxes], torch.Tensor]  # boxes of each image, and (R, C, S, S)


def pool(network: GeneralizedRCNN, features: Features, boxes: list[Boxes], head: str = "box") -> torch.Tensor:
    """``network``'s ROIAlign, for its head of "box" or "mask", of its own ``features``; (R, C, S, S)."""
    levels = getattr(network.roi_heads, f"{head}_in_features")
    pooler = getattr(network.roi_heads, f"{head}_pooler")
    return pooler([features[level] for level in levels], boxes)


@torch.no_grad()
def check_pooling(network: GeneralizedRCNN, cfg: CfgNode) -> None:
    """Make sure that the ROI heads pool for their box head once, at the proposals that they are given.

    Otherwise there is no telling which of their pooled features the local loss is about. Heads for masks,
    which have a pooler of their own, do not matter.

    Raises:
        InputError: they do not.
    """
    shapes = network.backbone.output_shape()
    size = max(s.stride for s in shapes.values())
    features = {
        k: torch.zeros(1, s.channels, size // s.stride, size // s.stride, device=network.device)
        for k, s in shapes.items()
    }
    boxes = torch.tensor([[0.0, 0, size, size], [0, 0, size / 2, size]], device=network.device)
    proposals = Instances((size, size), proposal_boxes=Boxes(boxes), objectness_logits=boxes.new_zeros(2))
    images = ImageList(boxes.new_zeros(1, 3, size, size), [(size, size)])
    pooled: list[Pooled] = []
    if hasattr(network.roi_heads, "box_pooler"):
        with evaluating(network.roi_heads), watch_pooling(network.roi_heads) as calls:
            network.roi_heads(images, features, [proposals], None)
        pooled = calls["box"]
    if [torch.equal(boxes, at[0].tensor) for at, _ in pooled] != [True]:
        raise InputError(
            f"MODEL.ROI_HEADS.NAME {cfg.MODEL.ROI_HEADS.NAME}: MHKD.SCHEDULE {cfg.MHKD.SCHEDULE} has a local "
            "loss, of what the box head's pooler (box_pooler) gives for the proposals, and these heads call "
            f"it {len(pooled)} times instead of once: choose StandardROIHeads, or a schedule without it"
        )


@contextlib.contextmanager
def watch_pooling(heads: nn.Module) -> Iterator[dict[str, list[Pooled]]]:
    """Within it, of each head a list that receives the boxes and the output of each call of its pooler."""
    calls: dict[str, list[Pooled]] = {"box": [], "mask": []}
    with contextlib.ExitStack() as stack:
        for head, of_head in calls.items():
            if hasattr(heads, f"{head}_pooler"):
                pooler = heads.get_submodule(f"{head}_pooler")
                hook = pooler.register_forward_hook(
                    lambda _, args, output, to=of_head: to.append((args[1], output))
                )
                stack.callback(hook.remove)
        yield calls


@contextlib.contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Within it they are in evaluation; afterwards as they were."""
    was_training = [m.training for m in modules]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for module, training in zip(modules, was_training):
            module.train(training)
