"""One training step of a DistilledRCNN, on noise."""

import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage


def images(num=1, size=(128, 128), boxes=((10, 10, 60, 70), (64, 30, 120, 90)), of=None):
    """A batch; with ``of``, a model, LR is as its student takes it."""
    factor = of.student.backbone.input_factor if of else 1
    generator = torch.Generator().manual_seed(0)
    batch = []
    for _ in range(num):
        instances = Instances(size)
        instances.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
        instances.gt_classes = torch.zeros(len(boxes), dtype=torch.long)
        hr, lr = (
            torch.randint(0, 256, (3, size[0] // f, size[1] // f), generator=generator).byte()
            for f in (1, factor)
        )
        batch.append({"image": hr, "image_lr": lr, "instances": instances})
    return batch


def step(model, stage, batch=None, seed=0):
    """Losses of one training forward and backward under ``stage``."""
    model.apply_stage(stage)
    model.train()
    torch.manual_seed(seed)
    with EventStorage():
        losses = model(batch or images(of=model if getattr(model, "student", None) else None))
    model.zero_grad(set_to_none=True)
    sum(losses.values()).backward()
    return losses
