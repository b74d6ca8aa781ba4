"""The pixels of one slide through a student: tissue, tiles over it, batches of them, one box an object."""

import collections
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import shapely
from tqdm import tqdm

from ..evaluation.detections import Detections
from ..slides.slide import Slide
from ..slides.tissue import mask_mpp, tissue_mask
from ..terminal import legible
from .clock import Clock
from .grid import Grid, lay_grid
from .journal import Journal
from .merge import merge_tiles
from .options import DetectOptions
from .slide_folder import writing
from .student import Student

MASK_PX_PER_TILE = 64  # resolution of the tissue mask
COARSEST_MASK_UM = 50.0  # per pixel: in a coarser one a biopsy's core is gone
MIN_TISSUE_UM2 = 10_000.0  # smaller pieces are dust; a glomerulus has 30 000
MAX_HOLE_UM2 = 100_000.0  # a pale glomerulus is no hole in the tissue
CUT_LR_PX = 1.0  # a box that ends so near to a tile's side is cut by it
NEAR_SHARE = 0.25  # of a box's width or height: one that ends so near to it may be
FARTHEST_PX = 1e6  # that a box of a tile may reach
_POLYGON = 3  # shapely's number of the type
AHEAD = 2  # batches that are read while one is in the network


def find_tissue(slide: Slide, student: Student, options: DetectOptions) -> tuple[np.ndarray, float]:
    """What is to be searched.

    Returns:
        A mask, bool of shape (h, w), from the slide's top left corner; and micrometres per pixel of it.
    """
    mpp = mask_mpp(slide, min(student.tile_px * student.lr_mpp / MASK_PX_PER_TILE, COARSEST_MASK_UM))
    if options.tissue_only:
        return tissue_mask(slide, mpp, MIN_TISSUE_UM2, MAX_HOLE_UM2), mpp
    width, height = (max(1, round(n * m / mpp)) for n, m in zip(slide.size_px, slide.mpp_xy))
    return np.ones((height, width), bool), mpp


def grid_over(mask: np.ndarray, mpp: float, slide: Slide, student: Student, options: DetectOptions) -> Grid:
    """Tiles over the mask of :func:`find_tissue`."""
    extent = [n * m / student.lr_mpp for n, m in zip(slide.size_px, slide.mpp_xy)]
    width, height = (max(1, int(np.ceil(n - 1e-6))) for n in extent)
    overlap, shift = (um / student.lr_mpp for um in (options.overlap_um, options.grid_shift_um))
    return lay_grid(mask, mpp / student.lr_mpp, (width, height), student.tile_px, overlap, round(shift))


def read_tile(slide: Slide, grid: Grid, student: Student, index: int) -> np.ndarray:
    """One tile of the grid, uint8 RGB of shape (h, w, 3), in LR pixels."""
    x, y = grid.corners[index]
    scale = _base_px(slide, student)
    return slide.read_region(x * scale[0], y * scale[1], *grid.tile_px, student.lr_mpp, from_base=False)


def run_batches(
    slide: Slide,
    grid: Grid,
    student: Student,
    options: DetectOptions,
    journal: Journal,
    clock: Clock,
    *,
    readers: int,
    progress: bool,
) -> None:
    """Fill the journal. Which tiles share a forward is fixed by the grid, since it may show in last bits.

    Args:
        slide, grid, student, options: what is searched, where, by whom and how.
        journal: gets for each batch a list with boxes (XYXY in LR pixels of the tile), scores, classes and
            perhaps outlines of each tile; batches that it has are not run again.
        clock: of "read", "wait", "forward" and "journal".
        readers: threads that read tiles while the network is at work.
        progress: show a bar.

    Raises:
        InputError: the slide is damaged, or the journal cannot be written. What was finished is in it.
    """

    def read(index: int) -> Any:
        with clock("read"):
            return student.prepare(read_tile(slide, grid, student, index))

    n, size = len(grid.corners), options.batch_size
    batches = [(k, range(k * size, min((k + 1) * size, n))) for k in range(-(-n // size))]
    waiting = collections.deque((k, tiles) for k, tiles in batches if k not in journal.records)
    finished = n - sum(len(tiles) for _, tiles in waiting)
    name = legible(os.path.basename(slide.path))
    bar = tqdm(total=n, initial=finished, unit="tile", disable=not progress, desc=name)
    with bar, ThreadPoolExecutor(readers, thread_name_prefix="read") as pool:
        coming: collections.deque[tuple[int, list[Future]]] = collections.deque()
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


def sound_records(
    records: dict[int, Any], grid: Grid, student: Student, options: DetectOptions
) -> dict[int, Any]:
    """Those of the journal's records that a run of this search may have written; the rest is done anew."""
    size, n = options.batch_size, len(grid.corners)
    tiles = {k: min(size, n - k * size) for k in range(-(-n // size))}
    return {
        k: record
        for k, record in records.items()
        if k in tiles and _is_sound(record, tiles[k], len(student.class_names))
    }


def _is_sound(record: Any, num_tiles: int, num_classes: int) -> bool:
    """Whether it has boxes, scores, classes and perhaps outlines of so many tiles."""
    try:
        for boxes, scores, classes, *outlines in record:
            boxes, scores = np.array(boxes, np.float64).reshape(-1, 4), np.array(scores, np.float64)
            classes, n = np.array(classes), len(boxes)
            sound = scores.shape == classes.shape == (n,) and len(outlines) <= 1
            sound = sound and bool(
                (np.abs(boxes) < FARTHEST_PX).all() and (boxes[:, :2] <= boxes[:, 2:]).all()
            )
            sound = sound and bool(((scores >= 0) & (scores <= 1)).all())
            sound = sound and (n == 0 or classes.dtype.kind == "i")
            sound = sound and bool(((classes >= 0) & (classes < num_classes)).all())
            for polygons in outlines:
                found = shapely.from_wkt(np.array(polygons, object))
                sound = sound and found.shape == (n,) and bool((shapely.get_type_id(found) == _POLYGON).all())
                sound = sound and bool(np.isfinite(shapely.get_coordinates(found)).all())
            if not sound:
                return False
        return len(record) == num_tiles
    except (TypeError, ValueError, OverflowError, shapely.GEOSException):
        return False


def merge_batches(
    slide: Slide, grid: Grid, records: dict[int, Any], student: Student, options: DetectOptions
) -> Detections:
    """One detection for each object, in base pixels, of the records of all batches in the journal."""
    scale = np.array(_base_px(slide, student) * 2)
    parts = [Detections.empty(student.class_names)]
    cuts, nears = [np.empty((0, 4), bool)], [np.empty((0, 4), bool)]
    for k in sorted(records):
        for i, (boxes, scores, classes, *outlines) in enumerate(records[k], k * options.batch_size):
            boxes = np.array(boxes, np.float32).astype(np.float64).reshape(-1, 4)
            distance = np.hstack([boxes[:, :2], np.array(grid.tile_px) - boxes[:, 2:]])
            extent = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
            cuts.append((distance <= CUT_LR_PX) & grid.inner_sides(i))
            nears.append((distance <= NEAR_SHARE * extent) & grid.inner_sides(i))
            boxes = (boxes + grid.corners[i] * 2) * scale
            polygons = None
            if outlines:
                polygons = np.array(shapely.from_wkt(outlines[0]), object)
                corners = (shapely.get_coordinates(polygons) + grid.corners[i]) * scale[:2]
                polygons = shapely.set_coordinates(polygons, corners)
            parts.append(Detections(boxes, scores, classes, student.class_names, outlines=polygons))
    merged = merge_tiles(
        Detections.concatenate(parts),
        np.concatenate(cuts),
        margin_px=CUT_LR_PX * scale.max(),
        overlap_px=grid.overlap_px * scale.min(),
        near=np.concatenate(nears),
    )
    return merged.select(merged.scores >= np.float32(options.keep_from_score))


def _base_px(slide: Slide, student: Student) -> list[float]:
    """Base pixels per LR pixel along x and y."""
    return [student.lr_mpp / m for m in slide.mpp_xy]
