"""What other works on distilling detectors compare, in the place of the paper's own losses."""

import math

import torch
import torch.nn.functional as F
from detectron2.structures import Boxes, Instances

from .registry import LOSS_REGISTRY, Features, Iteration, needs

TEMPERATURE = 0.5  # of FGD's attention


@LOSS_REGISTRY.register()
@needs("f_l", "f_h")
def pkd(it: Iteration) -> torch.Tensor:
    """PKD (Cao et al. 2022): 1 - Pearson correlation of f_L and f_H. See :func:`pearson_loss`."""
    return pearson_loss(it.f_l, it.f_h)


@LOSS_REGISTRY.register()
@needs("f_l", "f_h", "truth")
def fgd_focal(it: Iteration) -> torch.Tensor:
    """The focal part of FGD (Yang et al. 2022), without its global relations. See :func:`focal_loss`."""
    size = it.images_h.tensor.shape[-2:]
    return focal_loss(it.f_l, it.f_h, it.truth, it.ignored, (size[0], size[1]))


def pearson_loss(student: Features, teacher: Features) -> torch.Tensor:
    """Half the squared difference of standardised pyramids, which is 1 - r for each channel.

    Each channel gets mean 0 and variance 1 over all images and places, in both networks, so that what is
    compared is a pattern and not its magnitude. The authors weigh each level by 6.

    Args:
        student, teacher: level name -> Tensor of shape (N, C, H, W); the same levels and shapes.

    Returns:
        Scalar tensor, mean over channels, sum over levels.
    """
    losses = [
        F.mse_loss(_standardised(student[level]), _standardised(features)) / 2
        for level, features in teacher.items()
    ]
    return torch.stack(losses).sum()


def _standardised(features: torch.Tensor) -> torch.Tensor:
    features = features.float()
    variance, mean = torch.var_mean(features, dim=(0, 2, 3), keepdim=True, correction=0)
    return (features - mean) / (variance.sqrt() + 1e-6)


def focal_loss(
    student: Features,
    teacher: Features,
    truth: list[Instances],
    ignored: list[Boxes | None],
    image_size: tuple[int, int],
) -> torch.Tensor:
    """Squared difference in objects and half of it in the background, and L1 between attentions.

    Every object counts the same, whatever its size, and so does the background of every image; places and
    channels count as the teacher attends to them. The authors weigh it by 5e-5 with a Faster R-CNN.

    Args:
        student, teacher: level name -> Tensor of shape (N, C, H, W); the same levels and shapes.
        truth: objects of each image, ``gt_boxes`` in pixels.
        ignored: regions of each image that are neither objects nor background.
        image_size: height and width in pixels of what the features cover.

    Returns:
        Scalar tensor: sum over elements, mean over images, sum over levels.
    """
    total = torch.zeros((), device=next(iter(student.values())).device)
    for level, of_teacher in teacher.items():
        t, s = of_teacher.float(), student[level].float()
        shares = [
            _shares(x.gt_boxes, i, image_size, (t.shape[2], t.shape[3])) for x, i in zip(truth, ignored)
        ]
        share = torch.stack(shares)[:, None].to(t.device)
        (place_t, channel_t), (place_s, channel_s) = _attention(t), _attention(s)
        difference = (share * place_t * channel_t * (t - s) ** 2).sum()
        attention = (place_t - place_s).abs().sum() + (channel_t - channel_s).abs().sum()
        total = total + (difference + attention) / len(t)
    return total


def _shares(
    objects: Boxes, ignored: Boxes | None, image_size: tuple[int, int], grid: tuple[int, int]
) -> torch.Tensor:
    """How much each cell counts, shape ``grid``: 1 / cells of its object, of the smallest where several are;
    of the background 0.5 / cells of it; 0 where it is ignored."""
    of_objects, left = torch.zeros(grid), torch.ones(grid, dtype=torch.bool)
    for box in objects.tensor.cpu():
        cells = _cells(box, image_size, grid)
        of_objects[cells] = of_objects[cells].clamp(min=1 / of_objects[cells].numel())
        left[cells] = False
    for box in [] if ignored is None else ignored.tensor.cpu():
        left[_cells(box, image_size, grid)] = False
    return of_objects + 0.5 * left / left.sum().clamp(min=1)


def _cells(box: torch.Tensor, image_size: tuple[int, int], grid: tuple[int, int]) -> tuple[slice, slice]:
    """The cells, one at least, that a box (x0, y0, x1, y1) touches: rows and columns."""
    spans = []
    for low, high, size, count in zip(box[[1, 0]].tolist(), box[[3, 2]].tolist(), image_size, grid):
        first = min(max(math.floor(low / size * count), 0), count - 1)
        spans.append(slice(first, max(min(math.ceil(high / size * count), count), first + 1)))
    return spans[0], spans[1]


def _attention(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of places (N, 1, H, W) and of channels (N, C, 1, 1), each of mean 1: softmax of mean magnitudes."""
    n, c, h, w = features.shape
    magnitude = features.abs()
    place = torch.softmax(magnitude.mean(1).flatten(1) / TEMPERATURE, 1) * h * w
    channel = torch.softmax(magnitude.mean((2, 3)) / TEMPERATURE, 1) * c
    return place.view(n, 1, h, w), channel.view(n, c, 1, 1)
