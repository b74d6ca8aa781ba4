"""Reads an annotation file of any of the known formats, found from what is in it."""

import logging
import os

import numpy as np
import shapely

from ..errors import InputError
from ..slides.slide import Slide
from . import (
    asap,
    dsa,
    frames,
    from_coco,
    geojson,
    hubmap_csv,
    hubmap_jsonl,
    label_mask,
    labelme,
    layers,
    ndpa,
    yolo,
)
from .annotation import Annotation, AnnotationSet
from .collect import Collector
from .files import AnnotationFile
from .formats import AnnotationFormat, own_formats

logger = logging.getLogger(__name__)

# What the formats below may turn out to be.
FORMATS = (
    geojson.GEOJSON, layers.APERIO, layers.HALO, asap.ASAP, dsa.DSA, from_coco.COCO, hubmap_csv.RLE,
    label_mask.MASK, frames.NDPA, labelme.LABELME, hubmap_jsonl.JSONL, yolo.YOLO,
)  # fmt: skip
# In the order in which they are asked; formats of the user's own come before them.
_WITH_THE_PACKAGE = (
    label_mask.FORMAT, hubmap_jsonl.FORMAT, layers.FORMAT, asap.FORMAT, ndpa.FORMAT, geojson.FORMAT,
    dsa.FORMAT, from_coco.FORMAT, labelme.FORMAT, hubmap_csv.FORMAT, yolo.FORMAT,
)  # fmt: skip


def read_annotations(
    path: str | os.PathLike[str],
    slide: Slide | None = None,
    *,
    slide_name: str | None = None,
    size_px: tuple[int, int] | None = None,
    offset_px: tuple[float, float] | None = None,
    point_diameter_px: float | None = None,
) -> AnnotationSet:
    """Read the annotations of one slide.

    Args:
        path: file of one of :data:`FORMATS` or of a registered one, see :mod:`mhkd.annotations.formats`; its
            name does not matter.
        slide: where the next three come from if not given; NDPA is read with it only.
        slide_name: picks the slide from a file of many (COCO, RLE, JSONL): the id, or the file name with or
            without its ending.
        size_px: width and height of the slide in base pixels. Masks and images of it are scaled to it, what
            lies off the slide is left out; RLE and YOLO need it.
        offset_px: the base pixel from which the file counts, see :mod:`mhkd.annotations.frames`.
        point_diameter_px: points become circles of this size; without it they are left out.

    Returns:
        In base pixels of the slide. What was repaired or left out is counted in it, and logged in one line.

    Raises:
        InputError: no known format, damaged, absurd coordinates, of another slide, or none of its outlines
            can be read.
    """
    path = os.fspath(path)
    if slide is not None:
        if slide_name is None:
            slide_name = os.path.splitext(os.path.basename(slide.path))[0]
        size_px = slide.size_px if size_px is None else size_px
    collector = Collector(path, point_diameter_px, slide_name, size_px, slide)
    file_format, name = _read(path, collector)
    if collector.unreadable and not collector.annotations:
        raise InputError(
            f"{path}: none of its {collector.unreadable} objects has an outline that can be read "
            f"({name}): export the annotations again"
        )
    if offset_px is None:
        offset_px = (0.0, 0.0) if slide is None else frames.tool_offset_px(name, slide)
    annotations = _placed(collector, offset_px)
    result = AnnotationSet(path, name, annotations, +collector.counts, file_format.of_many_slides)
    if result.counts:
        logger.warning("%s: %s", path, result.summary())
    return result


def _read(path: str, collector: Collector) -> tuple[AnnotationFormat, str]:
    """Fill the collector; returns the format, and the name that the file turned out to have."""
    file = AnnotationFile(path)
    for one in (*own_formats(), *_WITH_THE_PACKAGE):
        if (found := one.recognise(file)) is not None:
            return one, one.read(found, collector) or one.name
    names = ", ".join((*FORMATS, *(f.name for f in own_formats())))
    raise InputError(f"{path}: holds annotations of no known format; these are read: {names}")


def _placed(collector: Collector, offset_px: tuple[float, float]) -> list[Annotation]:
    """Moved to base pixels; what lies off the slide is left out."""
    found, size_px = collector.annotations, collector.size_px
    if tuple(offset_px) != (0.0, 0.0):
        found = [
            Annotation(shapely.transform(a.geometry, lambda xy: xy + offset_px), a.name, a.iscrowd)
            for a in found
        ]
    if size_px is None or not found:
        return found
    boxes = shapely.bounds([a.geometry for a in found])
    inside = np.all((boxes[:, 2:] > 0) & (boxes[:, :2] < size_px), axis=1)
    if not inside.any():
        raise InputError(
            f"{collector.path}: none of its {len(found)} objects lies on the slide of "
            f"{size_px[0]}x{size_px[1]} px: are these the annotations of another slide?"
        )
    collector.counts["objects off the slide left out"] += int((~inside).sum())
    return [a for a, is_in in zip(found, inside) if is_in]
