"""The one enlargement of LR pixels: what every training, score and student here rests on."""

import numpy as np
import torch
from detectron2.data import transforms as T
from PIL import Image


def upsample(image: np.ndarray, factor: int) -> np.ndarray:
    """LR (h, w, 3) uint8 to HR size by the bilinear resize that ``DefaultPredictor`` uses too.

    It is PIL's, of 8 bits: ``F.interpolate`` is a grey level apart in a fifth of the values.
    """
    h, w = image.shape[:2]
    resize = T.ResizeTransform(h, w, h * factor, w * factor, interp=Image.Resampling.BILINEAR)
    return resize.apply_image(np.ascontiguousarray(image))


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 array to (3, H, W) uint8 tensor.

    Always a copy: a flipped view of one pixel counts as contiguous, though its strides are negative.
    """
    return torch.from_numpy(image.transpose(2, 0, 1).copy())


def enlarge(image: torch.Tensor, factor: int) -> torch.Tensor:
    """:func:`upsample` of a (3, h, w) tensor of whole numbers from 0 to 255; uint8, on the CPU.

    With a factor of 1 the pixels stay what they are.
    """
    pixels = image.detach().cpu().clamp(0, 255).round().to(torch.uint8)
    return to_tensor(upsample(pixels.permute(1, 2, 0).numpy(), factor))
