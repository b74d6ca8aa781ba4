"""All results of a slide, in its folder."""

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from ...evaluation.detections import Detections, SlideInfo
from ...files import replacing, write_json, write_text
from ...slides.slide import Slide
from .coco_results import coco_results
from .dsa import dsa_annotation
from .geojson import qupath_geojson
from .overview import draw_overview
from .summary import summarize
from .table import glomeruli_csv

logger = logging.getLogger(__name__)

COCO, GEOJSON, DSA = "coco_instances_results.json", "detections.geojson", "detections_dsa.json"
TABLE, OVERVIEW, SUMMARY = "glomeruli.csv", "overview.png", "summary.json"
FILES = (COCO, GEOJSON, DSA, TABLE, OVERVIEW, SUMMARY)


def write_outputs(
    folder: str | os.PathLike[str],
    detections: Detections,
    info: SlideInfo,
    image_id: int,
    slide: Slide,
    score_threshold: float = 0.0,
    quality: dict[str, Any] | None = None,
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """Write every format, each file whole or not at all; the same input gives the same bytes.

    The COCO results hold all detections, every other file those that count.

    Args:
        folder: of this slide; made if need be.
        detections: in base pixels. They are rounded to 0.01 px and clipped to the slide, so
            that all files agree; boxes that are not finite or have no size are left out, with a warning.
        info: the slide's file, size, resolution and tissue.
        image_id: of the slide in the COCO results.
        slide: the slide, for its overview.
        score_threshold: detections count from this score on.
        quality: of :meth:`mhkd.slides.quality.Quality.record`, for summary.json.
        warnings: what is to be said of the slide, for summary.json too.

    Returns:
        The content of summary.json, see :func:`mhkd.slide_detection.exports.summary.summarize`.

    Raises:
        InputError: the slide cannot be read, or a file cannot be written. Files written so far stay.
    """
    folder, name = Path(folder), os.path.basename(info.slide_file)
    kept = _rounded(detections, info)
    counted = kept.select(kept.scores >= np.float32(score_threshold))
    summary = summarize(counted, info, score_threshold)
    if quality:
        summary["quality"] = quality
    if warnings:
        summary["warnings"] = list(warnings)
    # Before anything is written: the slide may be damaged.
    overview = draw_overview(slide, counted, f"{name}, score {score_threshold:g} or more")
    write_json(coco_results(kept, image_id), folder / COCO, indent=None)
    write_json(qupath_geojson(counted, info.mpp_xy, name), folder / GEOJSON, indent=None)
    described = ", ".join(f"{n} {c}" for c, n in summary["counts"].items())
    described = f"{name}: {described} (score {score_threshold:g} or more)"
    write_json(dsa_annotation(counted, "Glomeruli", described), folder / DSA, indent=None)
    write_text(glomeruli_csv(counted, info.mpp_xy, score_threshold), folder / TABLE)
    with replacing(folder / OVERVIEW) as temporary:
        overview.save(temporary, format="PNG", compress_level=1)  # 1: half the time, 5 % larger
    write_json(summary, folder / SUMMARY)
    return summary


def _rounded(detections: Detections, info: SlideInfo) -> Detections:
    """As they are written, without those that cannot be."""
    boxes = np.round(np.clip(detections.boxes_px, 0, np.array(info.size_px * 2)), 2)
    outlines = detections.outlines
    if outlines is not None:
        corners = np.round(np.clip(shapely.get_coordinates(outlines), 0, info.size_px), 2)
        outlines = shapely.set_coordinates(outlines.copy(), corners)
    scores = np.round(detections.scores.astype(np.float64), 6)  # as written, so that what is read is equal
    boxes = replace(detections, boxes_px=boxes, scores=scores, outlines=outlines)
    sound = boxes.is_sound()
    if not sound.all():
        logger.warning(
            f"{info.slide_file}: left out {(~sound).sum()} boxes that are not finite, have no size or are "
            "not on the slide"
        )
    return boxes.select(sound)
