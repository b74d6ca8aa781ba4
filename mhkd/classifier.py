"""A trained classifier in use: pixels in, the probability of each class out."""

import functools
import hashlib
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from .data.cuts import recorded_cut
from .engine.devices import check_device_option
from .engine.exported import exported_cfg, load_deployed
from .enlarge import to_tensor
from .errors import InputError
from .files import sha256
from .packed_student import is_packed, unpacked
from .tiling.cut import Cut

TASK = "classification"


@dataclass(frozen=True, eq=False)
class Classifier:
    """A student of classification.

    Attributes:
        network: takes LR pixels of any size.
        class_names: classes, of the columns of what it says.
        lr_factor, lr_filter: how LR is made from HR where it is not there.
        lr_mpp: micrometres per LR pixel, the resolution it was trained at; 0: not known.
        image_format: "RGB" or "BGR", the network's channel order.
        cut: how the images were cut from slides that it was trained on; None: they were files, or it does not
            say.
        folder: absolute path of where it came from.
        checksum: of its weights and of all that was set for it.
        device: where it runs.
    """

    network: nn.Module
    class_names: tuple[str, ...]
    lr_factor: int
    lr_filter: str
    lr_mpp: float
    image_format: str
    cut: Cut | None
    folder: str
    checksum: str
    device: str

    @torch.inference_mode()
    def classify(self, images: Iterable[np.ndarray]) -> np.ndarray:
        """Probabilities of LR images.

        Args:
            images: uint8 RGB, shape (h, w, 3), of any sizes.

        Returns:
            float64, shape (N, C).
        """
        swapped = (i if self.image_format == "RGB" else i[:, :, ::-1] for i in images)
        outputs = self.network([{"image": to_tensor(i)} for i in swapped])
        said = [output["probabilities"].double().cpu().numpy() for output in outputs]
        return np.array(said).reshape(-1, len(self.class_names))


@functools.lru_cache(maxsize=2)
def load_classifier(
    folder: str, device: str = "", lr_mpp: float | None = None, option: str = ""
) -> Classifier:
    """Load an exported student of classification, once in a process.

    Args:
        folder: of ``model_final.pth`` and ``config.yaml``, or a file of ``mhkd pack``.
        device: "cpu", "cuda", ...; empty: CUDA if there is one.
        lr_mpp: micrometres per LR pixel, for a student that does not record it.
        option: what gives ``lr_mpp``, for messages.

    Raises:
        InputError: it is missing, damaged, or finds boxes instead.
    """
    check_device_option(device)
    with unpacked(folder) as source:
        classifier = _load(source, device, lr_mpp, option)
    return replace(classifier, folder=os.path.abspath(folder)) if is_packed(folder) else classifier


def _load(folder: str, device: str, lr_mpp: float | None, option: str) -> Classifier:
    cfg = exported_cfg(folder, device)
    if cfg.MHKD.TASK != TASK:
        raise InputError(
            f"{folder}: is trained for {cfg.MHKD.TASK}, not to tell classes of images: it goes into mhkd "
            "detect --student; a classifier comes of a training with MHKD.TASK classification"
        )
    if lr_mpp is not None and not (math.isfinite(lr_mpp) and lr_mpp > 0):
        raise InputError(f"{option} {lr_mpp}: must be a positive number")
    weights = sha256(cfg.MODEL.WEIGHTS)
    network = load_deployed(cfg)
    path, cfg.MODEL.WEIGHTS, cfg.OUTPUT_DIR = cfg.MODEL.WEIGHTS, "", ""
    return Classifier(
        network=network,
        class_names=tuple(cfg.MHKD.CLASSES),
        lr_factor=cfg.INPUT.LR_FACTOR,
        lr_filter=cfg.INPUT.LR_FILTER,
        lr_mpp=lr_mpp or cfg.MHKD.LR_MPP,
        image_format=cfg.INPUT.FORMAT,
        cut=recorded_cut(cfg),
        folder=os.path.dirname(os.path.abspath(path)),
        checksum=hashlib.sha256((weights + cfg.dump() + str(lr_mpp)).encode()).hexdigest(),
        device=cfg.MODEL.DEVICE,
    )
