#!/usr/bin/env python
"""Time of merging against the number of boxes, beside torchvision's NMS of the same boxes.

The boxes are glomeruli that touch, cut by a grid of tiles that overlap by one glomerulus, with a pixel of
noise. NMS, which neither joins pieces nor knows whole boxes from cut ones, is quadratic on a CPU: it is
measured up to ``--nms-limit`` boxes and the ratio is given there. Seconds are the process's own.
"""

import time
from collections.abc import Callable
from typing import Any

from mhkd.commands.numbers import FROM_1
from mhkd.slide_detection import Detections, merge_tiles

import click
import numpy as np
import torch
from torchvision.ops import nms

SIZE_PX, TILE_PX, OVERLAP_PX = 100, 512, 128


def make_boxes(n: int) -> tuple[Detections, np.ndarray]:
    """About n boxes."""
    rng = np.random.default_rng(0)
    side = int(np.sqrt(n / 1.9))
    x, y = (v.ravel() * float(SIZE_PX) for v in np.meshgrid(np.arange(side), np.arange(side)))
    objects = np.stack([x, y, x + SIZE_PX, y + SIZE_PX], axis=1)
    step, end = TILE_PX - OVERLAP_PX, side * SIZE_PX
    boxes, cuts = [], []
    first = np.floor((objects[:, :2] - TILE_PX) / step).astype(int) + 1
    for kx in range(2):
        for ky in range(2):
            k = np.maximum(first, 0) + (kx, ky)
            low = k * step
            seen = np.hstack(
                [np.maximum(objects[:, :2], low), np.minimum(objects[:, 2:], np.minimum(low + TILE_PX, end))]
            )
            fits = (seen[:, 2:] - seen[:, :2] > 8).all(axis=1)
            cut = np.hstack([(seen[:, :2] == low) & (low > 0), seen[:, 2:] == low + TILE_PX])
            boxes.append((seen + np.where(cut, 0, rng.normal(0, 1, seen.shape)))[fits])
            cuts.append(cut[fits])
    boxes, cut = np.concatenate(boxes), np.concatenate(cuts)
    return Detections(boxes, rng.random(len(boxes)), np.zeros(len(boxes)), ("glomerulus",)), cut


@click.command(help=__doc__)
@click.option(
    "--boxes", type=FROM_1, multiple=True, default=(10_000, 30_000, 100_000, 1_000_000), show_default=True
)
@click.option("--nms-limit", type=FROM_1, default=30_000, show_default=True)
def main(boxes: tuple[int, ...], nms_limit: int) -> None:
    torch.set_num_threads(1)
    click.echo("| boxes | of them cut | objects | merging s | us a box | NMS s | NMS / merging |")
    click.echo("|---:|---:|---:|---:|---:|---:|---:|")
    for n in boxes:
        detections, cut = make_boxes(n)
        seconds, merged = timed(
            lambda d, c: merge_tiles(d, c, margin_px=2, overlap_px=OVERLAP_PX), detections, cut
        )
        row = [len(detections), int(cut.any(axis=1).sum()), len(merged), f"{seconds:.2f}"]
        row.append(f"{seconds / len(detections) * 1e6:.1f}")
        if n <= nms_limit:
            tensors = torch.from_numpy(detections.boxes_px).float(), torch.from_numpy(detections.scores)
            nms_seconds, _ = timed(nms, *tensors, 0.5)
            row += [f"{nms_seconds:.2f}", f"{nms_seconds / seconds:.1f}"]
        else:
            row += ["", ""]
        click.echo("| " + " | ".join(map(str, row)) + " |")


def timed(function: Callable[..., Any], *args: Any) -> tuple[float, Any]:
    """Seconds of the process, and the result."""
    start = time.process_time()
    result = function(*args)
    return time.process_time() - start, result


if __name__ == "__main__":
    main()
