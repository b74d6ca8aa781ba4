"""One slide through a student: tissue, tiles, batches, merging, results; killed, it goes on where it was."""

import collections
import contextlib
import importlib.metadata
import logging
import os
import platform
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..errors import InputError
from ..evaluation.detections import Detections, SlideInfo
from ..evaluation.threshold_file import COUNTING, DEFAULT
from ..files import write_json
from ..slides.slide import slide_with_mpp
from ..slides.slide_table import mpp_of
from ..slides.tissue import little_tissue, mask_mpp, tissue_mask
from ..version import __version__
from .checksum import checksum
from .exports import slide_image_id, write_outputs
from .grid import lay_grid
from .journal import Journal
from .merge import merge_tiles
from .slide_folder import (
    JOURNAL,
    RESULTS,
    RUN,
    WORK,
    file_state,
    find_stored,
    publish,
    reading,
    remove_work,
    result_key,
    writing,
)

logger = logging.getLogger(__name__)
MASK_PX_PER_TILE = 64  # resolution of the tissue mask
COARSEST_MASK_UM = 50.0  # per pixel: in a coarser one a biopsy's core is gone
MIN_TISSUE_UM2 = 10_000.0  # smaller pieces are dust; a glomerulus has 30 000
MAX_HOLE_UM2 = 100_000.0  # a pale glomerulus is no hole in the tissue
COARSE = 1.1  # a slide coarser than the student's resolution by more than this gets a warning
KEEP_FROM_SCORE = 0.05  # Detectron2's default, which average precision is used to
CUT_LR_PX = 1.0  # a box that ends so near to a tile's side is cut by it
NEAR_SHARE = 0.25  # of a box's width or height: one that ends so near to it may be
AHEAD = 2  # batches that are read while one is in the network


@dataclass(frozen=True)
class DetectOptions:
    """What decides about the result of a slide, besides the student.

    Attributes:
        score_threshold (float): detections count from this score on, in every output but the COCO results.
        score_threshold_from (str): who says so.
        keep_from_score (float): the COCO results have detections from this score on, so that others can be
            counted, and average precision be scored, without the network.
        overlap_um (float): the largest glomerulus: each lies whole in some tile.
        batch_size (int): tiles in one forward.
        tissue_only (bool): leave out glass.
        slide_mpp (float or dict[str, float], optional): micrometres per base pixel of slides that do not
            record it, of all or by file name.
        override_slide_mpp (float or dict[str, float], optional): the same, instead of what slides record.
        grid_shift_um (float): moves all tiles, to see that the result does not hang on where they lie.
    """

    score_threshold: float = DEFAULT
    score_threshold_from: str = "default"
    keep_from_score: float = KEEP_FROM_SCORE
    overlap_um: float = 300.0
    batch_size: int = 4
    tissue_only: bool = True
    slide_mpp: float | dict | None = None
    override_slide_mpp: float | dict | None = None
    grid_shift_um: float = 0.0

    def __post_init__(self):
        if not 0 <= self.score_threshold <= 1:
            raise InputError(f"--score-threshold {self.score_threshold}: must be between 0 and 1")
        if not 0 <= self.keep_from_score <= 1:
            raise InputError(f"--keep-from-score {self.keep_from_score}: must be between 0 and 1")
        if self.score_threshold < self.keep_from_score:
            raise InputError(
                f"--score-threshold {self.score_threshold:g} ({self.score_threshold_from}): nothing below "
                f"--keep-from-score {self.keep_from_score:g} is kept that could be counted: lower that too"
            )
        if self.batch_size < 1:
            raise InputError(f"--batch-size {self.batch_size}: must be at least 1")


def detect_slide(path, out, student, options, *, readers=2, progress=True, command=None):
    """Find the glomeruli of one slide and write the results into ``out / <slide's file name>``.

    Args:
        path (str): slide.
        out (Path): folder of all results.
        student (Student): see :func:`mhkd.slide_detection.student.load_student`.
        options (DetectOptions): how.
        readers (int): threads that read tiles while the network is at work.
        progress (bool): show a bar.
        command (list[str], optional): what run.json says was called; default: this process's arguments.

    Returns:
        dict: the content of summary.json. A slide that is finished with the same student and options is
        left as it is; where only the score threshold is another, it is counted anew from what is stored.

    Raises:
        InputError: the slide cannot be used, or the results cannot be written. Finished tiles are kept.
    """
    clock = Clock()
    folder = Path(out) / os.path.basename(path)
    given = [mpp_of(mpp, path) for mpp in (options.slide_mpp, options.override_slide_mpp)]
    slide, remark = slide_with_mpp(path, *given)
    options = replace(options, slide_mpp=slide.slide_mpp, override_slide_mpp=None)  # what it has come to
    warnings = _check_resolution(slide, student, remark)
    state = file_state(path)
    key = result_key(path, state, student, options)
    stored = find_stored(folder, key)
    if stored and stored[2] and stored[0].counts_like(options):
        remove_work(folder)  # of a run that was killed right at the end
        return stored[0].summary
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        journal = Journal(folder / WORK / JOURNAL, key)
    with journal:
        if stored:
            run, detections = stored[0].run, stored[1]
        else:
            run, detections = _look(slide, state, student, options, journal, clock, readers, progress)
            run = {**run, "warnings": warnings + run["warnings"], "key": key}
        run["parameters"] |= {name: getattr(options, name) for name in COUNTING}
        run["command"] = command or sys.argv
        info = SlideInfo(
            os.path.abspath(path), slide.size_px, slide.mpp_xy, run["tissue_area_um2"]
        )
        with clock("write"), reading(path, state), writing(folder):
            summary = write_outputs(
                folder / WORK / RESULTS, detections, info, run["image_id"], slide, options.score_threshold
            )
        if not stored:
            run["timings"] |= clock.seconds()
        write_json(run, folder / WORK / RESULTS / RUN)
        with writing(folder):
            publish(folder, counted_anew=bool(stored))
    remove_work(folder)
    return summary


def _look(slide, state, student, options, journal, clock, readers, progress):
    """Content of run.json, as far as it is known, and all detections that are kept."""
    path = slide.path
    with clock("tissue"), reading(path, state):
        mask, mpp = _tissue(slide, student, options)
    if not mask.any():
        raise InputError(
            f"{path}: there is no tissue on it: is it the right slide? To search all of it all the same: "
            "--glass-too"
        )
    remark = little_tissue(mask, mpp)
    if remark:
        logger.warning(f"{path}: {remark}")
    grid = _grid(slide, mask, mpp, student, options)
    before = len(journal.records)
    with reading(path, state):
        slide_file = checksum(path)
        _run_batches(slide, grid, student, options, journal, clock, readers, progress)
    with clock("merge"):
        detections = _merge(slide, grid, journal.records, student, options)
    batches = {"batches": len(journal.records), "batches_of_earlier_runs": before}
    run = _run(slide, slide_file, student, options, grid, float(mask.sum() * mpp**2), batches)
    return {**run, "warnings": [remark] if remark else []}, detections


class Clock:
    """Seconds by name, of any thread."""

    def __init__(self):
        self._began = time.perf_counter()
        self._seconds = collections.Counter()

    @contextlib.contextmanager
    def __call__(self, name):
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - began

    def seconds(self):
        """dict: ``<name>_s``; ``read_s`` is the sum over threads, of which ``wait_s`` was waited for."""
        found = {**self._seconds, "total": time.perf_counter() - self._began}
        return {f"{name}_s": round(s, 3) for name, s in sorted(found.items())}


def _check_resolution(slide, student, remark):
    """Warnings, which are logged too."""
    warnings = [remark] if remark else []
    if slide.mpp > COARSE * student.lr_mpp:
        warnings.append(
            f"has {slide.mpp:.4g} um per pixel, coarser than the {student.lr_mpp:g} that the student was "
            "trained at: it will miss glomeruli and confuse classes"
        )
    for warning in warnings:
        logger.warning(f"{slide.path}: {warning}")
    return warnings


def _tissue(slide, student, options):
    """Mask and its resolution."""
    mpp = mask_mpp(slide, min(student.tile_px * student.lr_mpp / MASK_PX_PER_TILE, COARSEST_MASK_UM))
    if options.tissue_only:
        return tissue_mask(slide, mpp, MIN_TISSUE_UM2, MAX_HOLE_UM2), mpp
    width, height = (max(1, round(n * m / mpp)) for n, m in zip(slide.size_px, slide.mpp_xy))
    return np.ones((height, width), bool), mpp


def _grid(slide, mask, mpp, student, options):
    size = tuple(max(1, int(np.ceil(n - 1e-6))) for n in _lr_size(slide, student))
    overlap, shift = (um / student.lr_mpp for um in (options.overlap_um, options.grid_shift_um))
    return lay_grid(mask, mpp / student.lr_mpp, size, student.tile_px, overlap, round(shift))


def _lr_size(slide, student):
    return [n * m / student.lr_mpp for n, m in zip(slide.size_px, slide.mpp_xy)]


def _base_px(slide, student):
    """Base pixels per LR pixel along x and y."""
    return [student.lr_mpp / m for m in slide.mpp_xy]


def _run_batches(slide, grid, student, options, journal, clock, readers, progress):
    """Fill the journal. Which tiles share a forward is fixed by the grid, since it may show in last bits."""
    scale = _base_px(slide, student)

    def read(index):
        x, y = grid.corners[index]
        with clock("read"):
            tile = slide.read_region(
                x * scale[0], y * scale[1], *grid.tile_px, student.lr_mpp, from_base=False
            )
            return student.prepare(tile)

    n, size = len(grid.corners), options.batch_size
    batches = [(k, range(k * size, min((k + 1) * size, n))) for k in range(-(-n // size))]
    waiting = collections.deque((k, tiles) for k, tiles in batches if k not in journal.records)
    finished = n - sum(len(tiles) for _, tiles in waiting)
    name = os.path.basename(slide.path)
    bar = tqdm(total=n, initial=finished, unit="tile", disable=not progress, desc=name)
    with bar, ThreadPoolExecutor(readers, thread_name_prefix="read") as pool:
        coming = collections.deque()
        try:
            while waiting or coming:
                while waiting and len(coming) <= AHEAD:
                    k, tiles = waiting.popleft()
                    coming.append((k, [pool.submit(read, i) for i in tiles]))
                k, futures = coming.popleft()
                with clock("wait"):
                    inputs = [f.result() for f in futures]
                with clock("forward"):
                    found = student.detect(inputs)
                with clock("journal"), writing(journal.path.parent):
                    journal.append(k, [[column.tolist() for column in tile] for tile in found])
                bar.update(len(futures))
        finally:
            pool.shutdown(cancel_futures=True)


def _merge(slide, grid, records, student, options):
    """Detections in base pixels, one for each object."""
    scale = np.array(_base_px(slide, student) * 2)
    parts = [Detections.empty(student.class_names)]
    cuts, nears = [np.empty((0, 4), bool)], [np.empty((0, 4), bool)]
    for k in sorted(records):
        for i, (boxes, scores, classes) in enumerate(records[k], k * options.batch_size):
            boxes = np.array(boxes, np.float32).astype(np.float64).reshape(-1, 4)
            distance = np.hstack([boxes[:, :2], np.array(grid.tile_px) - boxes[:, 2:]])
            extent = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
            cuts.append((distance <= CUT_LR_PX) & grid.inner_sides(i))
            nears.append((distance <= NEAR_SHARE * extent) & grid.inner_sides(i))
            boxes = (boxes + grid.corners[i] * 2) * scale
            parts.append(Detections(boxes, scores, classes, student.class_names))
    merged = merge_tiles(
        Detections.concatenate(parts),
        np.concatenate(cuts),
        margin_px=CUT_LR_PX * scale.max(),
        overlap_px=grid.overlap_px * scale.min(),
        near=np.concatenate(nears),
    )
    return merged.select(merged.scores >= np.float32(options.keep_from_score))


def _run(slide, slide_file, student, options, grid, tissue_area_um2, timings):
    """Content of run.json."""
    packages = ("torch", "torchvision", "numpy", "shapely", "large-image")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {
        "slide_file": os.path.abspath(slide.path),
        "slide_checksum": slide_file,
        "size_px": list(slide.size_px),
        "mpp_xy": list(slide.mpp_xy),
        "tissue_area_um2": tissue_area_um2,
        "image_id": slide_image_id(slide.path),
        "classes": list(student.class_names),
        "student": {
            "folder": student.folder,
            "sha256": student.sha256,
            "lr_mpp": student.lr_mpp,
            "lr_factor": student.lr_factor,
            "tile_px": student.tile_px,
        },
        "parameters": {**asdict(options), "tile_px": list(grid.tile_px), "device": student.device},
        "tiles": len(grid.corners),
        "versions": {"mhkd": __version__, "python": platform.python_version(), **versions},
        "timings": timings,
    }
