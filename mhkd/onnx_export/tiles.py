"""LR tiles as a student sees them, to compare networks on and to calibrate int8."""

import math
import os
from collections.abc import Sequence

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog

from ..annotations.folders import find_slides
from ..data.registrar import ensure_registered
from ..data.scanner import Scanner
from ..errors import InputError
from ..slide_detection.options import DetectOptions
from ..slide_detection.search import find_tissue, grid_over
from ..slide_detection.student import Student
from ..slides.slide import slide_with_mpp
from ..slides.views import downsample, read_view
from ..synthetic.render import MIN_SIZE_UM, render_slide

UM_PER_GLOMERULUS = 700.0  # of a drawn slide's side
DRAWN_MPP = (0.1, 2.0)


def tiles_of(sources: Sequence[str], cfg: CfgNode, student: Student, most: int) -> list[np.ndarray]:
    """LR tiles, uint8 RGB (h, w, 3), evenly taken from all that there are.

    Args:
        sources: names of datasets, slides and folders of slides.
        cfg: of the exported student.
        student: itself.
        most: tiles.

    Raises:
        InputError: a source is missing, or cannot be read.
    """
    slides, others = find_slides([s for s in sources if os.path.exists(s)])
    names = [s for s in sources if not os.path.exists(s)]
    ensure_registered(names)
    if slides and not cfg.MHKD.LR_MPP:
        raise InputError(
            f"{student.folder}: does not record the resolution of its data, so slides do not show what it "
            "sees: give --calibrate-on a dataset"
        )
    each = math.ceil(most / max(1, len(slides) + len(names)))
    tiles = [tile for name in names for tile in _of_dataset(name, cfg, each)]
    tiles += [tile for path in slides for tile in _of_slide(path, student, each)]
    if not tiles:
        raise InputError(f"--calibrate-on {' '.join(sources)}: has no images: name a dataset or slides")
    return tiles[:most]


def drawn_tiles(cfg: CfgNode) -> list[np.ndarray]:
    """Of a drawn slide: four of the size that the student was scored on, and one of another."""
    factor, side_px = cfg.INPUT.LR_FACTOR, cfg.INPUT.TRAINED_SIZE_PX or 1024
    mpp = float(np.clip(cfg.MHKD.LR_MPP / factor or 0.5, *DRAWN_MPP))
    size_px = factor * math.ceil(max(2 * side_px, MIN_SIZE_UM / mpp) / factor)
    glomeruli = max(1, int((size_px * mpp / UM_PER_GLOMERULUS) ** 2))
    rgb, _ = render_slide(0, size_px, mpp, num_glomeruli=glomeruli)
    lr = downsample(rgb, factor)
    middle, n = len(lr) // 2, max(1, side_px // factor)
    corners = [(middle - n, middle - n), (middle - n, middle), (middle, middle - n), (middle, middle)]
    tiles = [lr[max(0, y) :, max(0, x) :][:n, :n] for y, x in corners]
    return [np.ascontiguousarray(t) for t in (*tiles, lr[: n + n // 4 + 1, : n - n // 5])]


def lr_image(entry: dict, cfg: CfgNode) -> np.ndarray:
    """The LR view of a dataset's image as ``cfg`` has it scored, uint8 RGB (h, w, 3)."""
    scanner = Scanner(**{k.lower(): v for k, v in cfg.INPUT.SCANNER.items()})
    return scanner.scan(read_view(entry, "lr", cfg.INPUT.LR_FACTOR, cfg.INPUT.LR_FILTER), entry["file_name"])


def _of_dataset(name: str, cfg: CfgNode, most: int) -> list[np.ndarray]:
    return [lr_image(entry, cfg) for entry in _evenly(DatasetCatalog.get(name), most)]


def _of_slide(path: str, student: Student, most: int) -> list[np.ndarray]:
    slide, _ = slide_with_mpp(path, None, None)
    options = DetectOptions()
    grid = grid_over(*find_tissue(slide, student, options), slide, student, options)
    x_scale, y_scale = (student.lr_mpp / m for m in slide.mpp_xy)
    return [
        slide.read_region(x * x_scale, y * y_scale, *grid.tile_px, student.lr_mpp, from_base=False)
        for x, y in _evenly(grid.corners, most)
    ]


def _evenly(items: Sequence, most: int) -> list:
    step = max(1.0, len(items) / most)
    return [items[int(k * step)] for k in range(min(len(items), most))]
