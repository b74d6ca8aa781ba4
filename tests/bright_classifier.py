"""A classifier whose answers can be worked out: how bright the middle of an image is."""

import mhkd  # noqa: F401  (first)
from mhkd.classifier import Classifier

import torch
from torch import nn


class Brightness(nn.Module):
    """The probability of "pale" is the green of the middle pixel, of 255; counts what it has looked at."""

    def __init__(self):
        super().__init__()
        self.looked, self.sizes = 0, []

    def forward(self, batch):
        found = []
        for entry in batch:
            self.looked += 1
            h, w = entry["image"].shape[1:]
            self.sizes.append((w, h))
            pale = entry["image"][1, h // 2, w // 2].float() / 255
            found.append({"probabilities": torch.stack([1 - pale, pale])})
        return found


def bright_classifier(**changes):
    values = dict(
        network=Brightness(),
        class_names=("dark", "pale"),
        lr_factor=2,
        lr_filter="area",
        lr_mpp=8.0,
        image_format="RGB",
        cut=None,
        folder="bright",
        checksum="bright",
        device="cpu",
    )
    return Classifier(**{**values, **changes})
