"""A slide of dark disks whose places are known, and a student that finds dark blobs by hand."""

import dataclasses
import resource
from pathlib import Path

import mhkd  # noqa: F401  (first)
from mhkd.slide_detection.options import DetectOptions
from mhkd.slide_detection.run import detect_slide
from mhkd.slide_detection.torch_student import TorchStudent

import cv2
import numpy as np
import pyvips
import torch
from detectron2.structures import Boxes, Instances
from torch import nn

TISSUE, DISK, PALE_DISK = (214, 150, 196), (70, 20, 80), (110, 50, 120)


class BlobDetector(nn.Module):
    """Takes and gives what a ``LowResolutionRCNN`` does; pale blobs are the second class."""

    def forward(self, batch):
        found = []
        for entry in batch:
            image = entry["enlarged"].numpy().transpose(1, 2, 0)
            dark = (image[..., 1] < 100).astype(np.uint8)
            n, labels, stats, _ = cv2.connectedComponentsWithStats(dark)
            instances = Instances(tuple(entry["image"].shape[1:]))
            x, y, w, h, area = (stats[1:, k].astype(np.float32) for k in range(5))
            boxes = np.stack([x, y, x + w, y + h], axis=1)
            green = [np.median(image[..., 1][labels == k]) for k in range(1, n)]
            instances.pred_boxes = Boxes(torch.from_numpy(boxes) / 2)
            instances.scores = torch.from_numpy(0.6 + 0.3 * area / (w * h))
            instances.pred_classes = torch.tensor([int(g > 35) for g in green], dtype=torch.int64)
            found.append({"instances": instances[torch.from_numpy(area > 8)]})
        return found


def blob_student(**changes):
    student = TorchStudent(
        network=BlobDetector(),
        class_names=("normal", "sclerotic"),
        lr_mpp=8.0,
        lr_factor=2,
        tile_px=128,
        checksum="blobs",
    )
    return dataclasses.replace(student, **changes)


def write_slide(path, image, mpp=(2.0, 2.0), pyramid=True):
    """A tiled TIFF of a uint8 RGB array."""
    vips = pyvips.Image.new_from_array(image).copy(interpretation="srgb")
    if mpp:
        vips = vips.copy(xres=1000 / mpp[0], yres=1000 / mpp[1])
    vips.tiffsave(str(path), tile=True, pyramid=pyramid, compression="deflate", resunit="cm")
    return str(path)


def write_disks(path, extent_um=(4000, 4000), spacing_um=320, mpp=(2.0, 2.0), seed=0, record_mpp=True):
    """Tissue with a margin of glass, and in it disks of 100 to 240 um that do not touch.

    Returns:
        tuple: the slide's path, boxes (n, 4) XYXY in base pixels, and classes (n,).
    """
    rng = np.random.default_rng(seed)
    width, height = (round(e / m) for e, m in zip(extent_um, mpp))
    image = np.full((height, width, 3), 245, np.uint8)
    margin = 200
    left, top = (round(margin / m) for m in mpp)
    image[top : height - top, left : width - left] = TISSUE
    boxes, classes = [], []
    for y in np.arange(margin + spacing_um, extent_um[1] - margin - spacing_um / 2, spacing_um):
        for x in np.arange(margin + spacing_um, extent_um[0] - margin - spacing_um / 2, spacing_um):
            radius = rng.uniform(50, 120)
            room = spacing_um / 2 - radius - 20
            x_um, y_um = x + rng.uniform(-room, room), y + rng.uniform(-room, room)
            x_px, y_px = round(x_um / mpp[0]), round(y_um / mpp[1])
            a, b = (round(radius / m) for m in mpp)
            kind = int(rng.integers(2))
            cv2.ellipse(image, (x_px, y_px), (a, b), 0, 0, 360, (DISK, PALE_DISK)[kind], -1)
            boxes.append([x_px - a, y_px - b, x_px + a + 1, y_px + b + 1])
            classes.append(kind)
    return write_slide(path, image, mpp if record_mpp else None), np.array(boxes, float), np.array(classes)


def detect_disks(path, out, batch_size=2, max_file_bytes=None):
    """For a process of its own, which may be killed or find the disk full."""
    torch.set_num_threads(1)
    if max_file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
    detect_slide(path, Path(out), blob_student(), DetectOptions(batch_size=batch_size), progress=False)
