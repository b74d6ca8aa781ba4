"""One slide through a student, and its results in a folder; killed, it goes on where it was."""

import importlib.metadata
import logging
import os
import platform
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..evaluation.detections import Detections, SlideInfo
from ..evaluation.threshold_file import COUNTING
from ..files import write_json
from ..slides.quality import FOCUS_MPP, Quality, slide_quality
from ..slides.slide import Slide, slide_with_mpp
from ..slides.slide_table import mpp_of
from ..slides.tissue import little_tissue
from ..version import __version__
from .checksum import checksum
from .clock import Clock
from .exports import slide_image_id, write_outputs
from .finished import warnings_of
from .grid import Grid
from .journal import Journal
from .likeness import is_likeness, unlike_scores, unlike_training
from .options import DetectOptions
from .search import find_tissue, grid_over, merge_batches, run_batches, sound_records
from .slide_folder import (
    JOURNAL,
    RESULTS,
    RUN,
    WORK,
    FileState,
    file_state,
    find_stored,
    publish,
    reading,
    remove_work,
    result_key,
    writing,
)
from .student import Student

if TYPE_CHECKING:  # torch, which a student may do without
    from .grade import Grader

logger = logging.getLogger(__name__)
COARSE = 1.1  # a slide coarser than the student's resolution by more than this gets a warning


def detect_slide(
    path: str,
    out: str | os.PathLike[str],
    student: Student,
    options: DetectOptions,
    *,
    readers: int = 2,
    progress: bool = True,
    command: list[str] | None = None,
    grader: "Grader | None" = None,
) -> dict[str, Any]:
    """Find the glomeruli of one slide and write the results into ``out / <slide's file name>``.

    Args:
        path: slide.
        out: folder of all results.
        student: see :func:`mhkd.slide_detection.student.load_student`.
        options: how.
        readers: threads that read tiles while the network is at work.
        progress: show a bar.
        command: what run.json says was called; default: this process's arguments.
        grader: tells the class of each glomerulus that is kept, beside the student's.

    Returns:
        The content of summary.json. A slide that is finished with the same student and options is left as it
        is; where only the score threshold is another, it is counted anew from what is stored, and where the
        student records other training data than it did, its likeness to them is measured anew.

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
    of_tiles = result_key(path, state, student, options)
    key = result_key(path, state, student, options, grader.decides) if grader else of_tiles
    stored = find_stored(folder, key)
    if (
        stored
        and stored.whole
        and stored.slide.counts_like(options)
        and _is_measured(stored.slide.run, student)
    ):
        remove_work(folder)  # of a run that was killed right at the end
        return stored.slide.summary
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        journal = Journal(folder / WORK / JOURNAL, of_tiles)
    with journal:
        if stored:
            run, detections = stored.slide.run, stored.detections
        else:
            ungraded = find_stored(folder, of_tiles) if grader else None
            if ungraded:
                run, detections = ungraded.slide.run, ungraded.detections
            else:
                run, detections = _look(slide, state, student, options, journal, clock, readers, progress)
                run["warnings"] = warnings + run["warnings"]
            if grader:
                with clock("grade"), reading(path, state):
                    detections = grader.grade(slide, detections, progress)
                run["grade"] = grader.record
            run["key"] = key
        if not _is_measured(run, student):
            with clock("colour"), reading(path, state):
                _measure_anew(run, slide, detections, student, options)
        run["parameters"] |= {name: getattr(options, name) for name in COUNTING}
        run["command"] = command or sys.argv
        info = SlideInfo(os.path.abspath(path), slide.size_px, slide.mpp_xy, run["tissue_area_um2"])
        with clock("write"), reading(path, state), writing(folder):
            summary = write_outputs(
                folder / WORK / RESULTS,
                detections,
                info,
                run["image_id"],
                slide,
                options.score_threshold,
                run.get("quality"),
                warnings_of(run),
            )
        if not stored:
            run["timings"] |= clock.seconds()
        write_json(run, folder / WORK / RESULTS / RUN)
        with writing(folder):
            publish(folder, counted_anew=bool(stored))
    remove_work(folder)
    return summary


def _look(
    slide: Slide,
    state: FileState | None,
    student: Student,
    options: DetectOptions,
    journal: Journal,
    clock: Clock,
    readers: int,
    progress: bool,
) -> tuple[dict[str, Any], Detections]:
    """Content of run.json, as far as it is known, and all detections that are kept."""
    path = slide.path
    with clock("tissue"), reading(path, state):
        mask, mpp = find_tissue(slide, student, options)
    if not mask.any():
        raise InputError(
            f"{path}: there is no tissue on it: is it the right slide? To search all of it all the same: "
            "--glass-too"
        )
    remark = little_tissue(mask, mpp)
    if remark:
        logger.warning(f"{path}: {remark}")
    area_um2, quality, remarks = _area_um2(mask, mpp), None, [remark] if remark else []
    if options.tissue_only:
        with clock("quality"), reading(path, state):
            quality = slide_quality(slide, mask, mpp)
        if options.qc:
            mask = quality.without(mask, mpp)
            remarks += _left_out(path, quality, mask)
            area_um2 = _area_um2(mask, mpp)
    grid = grid_over(mask, mpp, slide, student, options)
    journal.records = sound_records(journal.records, grid, student, options)
    before = len(journal.records)
    with clock("colour"), reading(path, state):
        remarks += unlike_training(slide, grid, student)
    with reading(path, state):
        slide_file = checksum(path)
        run_batches(slide, grid, student, options, journal, clock, readers=readers, progress=progress)
    with clock("merge"):
        detections = merge_batches(slide, grid, journal.records, student, options)
        if quality and options.qc:  # tiles reach beyond what is searched
            middles = (detections.boxes_px[:, :2] + detections.boxes_px[:, 2:]) / 2
            detections = detections.select(~quality.is_wrong_at(middles * slide.mpp_xy))
    remarks += unlike_scores(slide, detections.scores, options.keep_from_score, student)
    batches = {"batches": len(journal.records), "batches_of_earlier_runs": before}
    run = _record(slide, slide_file, student, options, grid, area_um2, batches)
    if quality:
        run["quality"] = {**quality.record(), "left_out": options.qc}
    if student.training:
        run["training_data"] = student.training.dump()
    return {**run, "warnings": remarks}, detections


def _is_measured(run: dict[str, Any], student: Student) -> bool:
    """Whether the slide was compared with all that the student records of its training data."""
    return student.training is None or run.get("training_data") == student.training.dump()


def _measure_anew(
    run: dict[str, Any], slide: Slide, detections: Detections, student: Student, options: DetectOptions
) -> None:
    """Compare a slide that was finished before the student had its record; its colour on all tissue."""
    grid = grid_over(*find_tissue(slide, student, options), slide, student, options)
    remarks = [remark for remark in warnings_of(run) if not is_likeness(remark)]
    remarks += unlike_training(slide, grid, student)
    remarks += unlike_scores(slide, detections.scores, options.keep_from_score, student)
    run |= {"warnings": remarks, "training_data": student.training and student.training.dump()}


def _left_out(path: str, quality: Quality, mask: np.ndarray) -> list[str]:
    """What is to be said of it, which is logged too."""
    if not mask.any():
        raise InputError(
            f"{path}: all of its tissue is out of focus, under pen or black: to search it all the same leave "
            "out --qc"
        )
    record = quality.record()
    of_reasons = [f"{r} {mm2:g} mm²" for r, mm2 in record["tissue_mm2"].items() if mm2]
    remarks = []
    if of_reasons:
        share = f"{100 * record['share']:.3g} % of its tissue is left out by --qc"
        remarks.append(f"{share}: {', '.join(of_reasons)}")
    if not quality.focus_known:
        remarks.append(f"is coarser than {FOCUS_MPP:g} um per pixel, so --qc does not know its focus")
    for remark in remarks:
        logger.warning(f"{path}: {remark}")
    return remarks


def _area_um2(mask: np.ndarray, mpp: float) -> float:
    return float(mask.sum() * mpp**2)


def _check_resolution(slide: Slide, student: Student, remark: str | None) -> list[str]:
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


def _record(
    slide: Slide,
    slide_checksum: dict[str, Any],
    student: Student,
    options: DetectOptions,
    grid: Grid,
    tissue_area_um2: float,
    timings: dict[str, Any],
) -> dict[str, Any]:
    """Content of run.json."""
    packages = (*student.packages, "numpy", "shapely", "large-image")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {
        "slide_file": os.path.abspath(slide.path),
        "slide_checksum": slide_checksum,
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
            "flips": student.flips,
        },
        "parameters": {**asdict(options), "tile_px": list(grid.tile_px), "device": student.device},
        "tiles": len(grid.corners),
        "versions": {"mhkd": __version__, "python": platform.python_version(), **versions},
        "timings": timings,
    }
