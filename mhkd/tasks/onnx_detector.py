"""An ``.onnx`` student with the inputs and outputs of the network it was made of, to be scored as that is."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances
from torch import nn

from ..errors import InputError
from ..onnx_file import OnnxNetwork


class OnnxDetector(nn.Module):
    """Takes LR pixels, on the CPU whatever MODEL.DEVICE is."""

    def __init__(
        self, path: str | os.PathLike[str], lr_factor: int, classes: Sequence[str], masks: bool = False
    ) -> None:
        """
        Args:
            path: of ``mhkd export --format onnx``.
            lr_factor: HR pixels per LR pixel of what it is scored on.
            classes: the dataset's, in whose order its own are brought.
            masks: give masks too.

        Raises:
            InputError: it cannot be used, is of another factor, or has other classes or no masks.
        """
        super().__init__()
        self.network = OnnxNetwork(path)
        record = self.network.record
        if record.lr_factor != lr_factor:
            raise InputError(
                f"{path}: is for an LR factor of {record.lr_factor}, and INPUT.LR_FACTOR is {lr_factor}: "
                "score it with the config that it was trained with"
            )
        if sorted(record.classes) != sorted(classes):
            raise InputError(f"{path}: finds {record.classes}, and the dataset has {list(classes)}")
        if masks and not self.network.masks:
            raise InputError(f"{path}: finds boxes alone: set MODEL.MASK_ON False")
        self.masks = masks
        self.order = np.array([list(classes).index(name) for name in record.classes])

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """
        Args:
            batched_inputs: Detectron2's format; ``image`` is LR and RGB, (3, h, w), whole numbers from 0 to
                255.

        Returns:
            For each image ``instances`` in ``height`` x ``width`` pixels.
        """
        return [{"instances": self._look(entry)} for entry in batched_inputs]

    def _look(self, entry: dict[str, Any]) -> Instances:
        pixels = entry["image"].permute(1, 2, 0).to(torch.uint8).numpy()
        boxes, scores, classes, *masks = self.network(pixels)
        found = Instances(pixels.shape[:2])
        found.pred_boxes = Boxes(torch.from_numpy(boxes))
        found.scores = torch.from_numpy(scores)
        found.pred_classes = torch.from_numpy(self.order[classes])
        if self.masks:
            found.pred_masks = torch.from_numpy(masks[0])[:, None]
        return detector_postprocess(found, entry["height"], entry["width"])
