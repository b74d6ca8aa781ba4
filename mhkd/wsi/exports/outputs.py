"""All results of a slide, in its folder."""

import logging
import os
from pathlib import Path

from mhkd.files import replacing, write_json, write_text
from mhkd.wsi.detection.detections import Detections
from mhkd.wsi.exports.coco import coco_results
from mhkd.wsi.exports.dsa import dsa_annotation
from mhkd.wsi.exports.geojson import qupath_geojson
from mhkd.wsi.exports.overview import draw_overview
from mhkd.wsi.exports.summary import summarize
from mhkd.wsi.exports.table import glomeruli_csv

import numpy as np

logger = logging.getLogger(__name__)

COCO, GEOJSON, DSA = "coco_instances_results.json", "detections.geojson", "detections_dsa.json"
TABLE, OVERVIEW, SUMMARY = "glomeruli.csv", "overview.png", "summary.json"


def write_outputs(folder, detections, info, image_id, slide):
    """Write every format, each file whole or not at all; the same input gives the same bytes.

    Args:
        folder (Path): of this slide; made if need be.
        detections (Detections): in base pixels. They are rounded to 0.01 px and clipped to the slide, so
            that all files agree; boxes that are not finite or have no size are left out, with a warning.
        info (SlideInfo): the slide's file, size, resolution and tissue.
        image_id (int): of the slide in the COCO results.
        slide (Slide): the slide, for its overview.

    Returns:
        dict: see :func:`mhkd.wsi.exports.summary.summarize`.

    Raises:
        InputError: the slide cannot be read, or a file cannot be written. Files written so far stay.
    """
    folder, name = Path(folder), os.path.basename(info.slide_file)
    detections = _rounded(detections, info)
    summary = summarize(detections, info)
    overview = draw_overview(slide, detections, name)  # before anything is written: the slide may be damaged
    write_json(coco_results(detections, image_id), folder / COCO, indent=None)
    write_json(qupath_geojson(detections, info.mpp_xy, name), folder / GEOJSON, indent=None)
    described = ", ".join(f"{n} {c}" for c, n in summary["counts"].items())
    write_json(dsa_annotation(detections, "Glomeruli", f"{name}: {described}"), folder / DSA, indent=None)
    write_text(glomeruli_csv(detections, info.mpp_xy), folder / TABLE)
    with replacing(folder / OVERVIEW) as temporary:
        overview.save(temporary, format="PNG", compress_level=1)  # 1: half the time, 5 % larger
    write_json(summary, folder / SUMMARY)
    return summary


def _rounded(detections, info):
    boxes = np.round(np.clip(detections.boxes_px, 0, np.array(info.size_px * 2)), 2)
    boxes = Detections(boxes, detections.scores, detections.classes, detections.class_names)
    sound = boxes.is_sound()
    if not sound.all():
        logger.warning(
            f"{info.slide_file}: left out {(~sound).sum()} boxes that are not finite, have no size or are "
            "not on the slide"
        )
    return boxes.select(sound)
