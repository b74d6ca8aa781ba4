"""Reads an annotation file of any of the known formats, found from what is in it."""

import logging
import os

import shapely

from ..coco import rle
from ..errors import InputError
from . import dsa, geojson, label_mask
from . import from_coco as coco
from .annotation import Annotation, AnnotationSet
from .asap import ASAP, AsapHandler
from .collect import Collector
from .files import load_json, parse_xml, read_annotation_head
from .frames import tool_offset_px
from .layers import APERIO, HALO, LayersHandler

logger = logging.getLogger(__name__)

GEOJSON, DSA, COCO = "QuPath GeoJSON", "Digital Slide Archive JSON", "COCO JSON"
RLE, MASK = "HuBMAP RLE CSV", "label mask"
FORMATS = (GEOJSON, APERIO, HALO, ASAP, DSA, COCO, RLE, MASK)
_XML = {"Annotations": LayersHandler, "ASAP_Annotations": AsapHandler}
_IMAGES = (b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_annotations(
    path, slide=None, *, slide_name=None, size_px=None, offset_px=None, point_diameter_px=None
):
    """Read the annotations of one slide.

    Args:
        path (str): file of one of :data:`FORMATS`, whatever its name.
        slide (mhkd.slides.slide.Slide, optional): where the next three come from if not given.
        slide_name (str, optional): picks the slide from a file of many (COCO, RLE): the id, or the
            file name with or without its ending.
        size_px (tuple[int, int], optional): width and height of the slide in base pixels. Masks
            and images of it are scaled to it, what lies off the slide is left out; RLE needs it.
        offset_px (tuple[float, float], optional): the base pixel from which the file counts, see
            :mod:`mhkd.annotations.frames`.
        point_diameter_px (float, optional): points become circles of this size; without it they
            are left out.

    Returns:
        AnnotationSet: in base pixels of the slide; what was repaired or left out is counted in it,
        and logged in one warning.

    Raises:
        InputError: no known format, damaged, absurd coordinates, of another slide, or none of its outlines
            can be read.
    """
    path = os.fspath(path)
    if slide is not None:
        if slide_name is None:
            slide_name = os.path.splitext(os.path.basename(slide.path))[0]
        size_px = slide.size_px if size_px is None else size_px
    collector = Collector(path, point_diameter_px)
    file_format = _read(path, collector, slide_name, size_px)
    if collector.unreadable and not collector.annotations:
        raise InputError(
            f"{path}: none of its {collector.unreadable} objects has an outline that can be read "
            f"({file_format}): export the annotations again"
        )
    if offset_px is None:
        offset_px = (0.0, 0.0) if slide is None else tool_offset_px(file_format, slide)
    annotations = _placed(collector, offset_px, size_px)
    result = AnnotationSet(path, file_format, annotations, +collector.counts)
    if result.counts:
        logger.warning("%s: %s", path, result.summary())
    return result


def _read(path, collector, slide_name, size_px):
    """Fill the collector; returns the format."""
    head = read_annotation_head(path)
    if head.startswith(_IMAGES):
        label_mask.read(path, collector, size_px)
        return MASK
    begin = head.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n")[:1]  # marks of UTF-8, -16, -32; blanks
    if begin == b"<":
        handler = parse_xml(path, _XML, collector)
        if handler is not None:
            return handler.format
    elif begin in (b"{", b"["):
        content = load_json(path)
        if (features := geojson.features_of(content)) is not None:
            return DSA if geojson.read(features, collector) else GEOJSON
        if (annotations := dsa.annotations_of(content)) is not None:
            dsa.read(annotations, collector)
            return DSA
        if coco.is_coco(content):
            coco.read(content, collector, slide_name, size_px)
            return COCO
    elif (columns := rle.csv_columns(head)) is not None:
        rle.read_csv(path, columns, collector, slide_name, size_px)
        return RLE
    raise InputError(f"{path}: holds annotations of no known format; these are read: {', '.join(FORMATS)}")


def _placed(collector, offset_px, size_px):
    """Moved to base pixels; what lies off the slide is left out."""
    found = collector.annotations
    if tuple(offset_px) != (0.0, 0.0):
        found = [
            Annotation(shapely.transform(a.geometry, lambda xy: xy + offset_px), a.name, a.iscrowd)
            for a in found
        ]
    if size_px is None or not found:
        return found
    boxes = shapely.bounds([a.geometry for a in found])
    inside = (boxes[:, 2:] > 0).all(axis=1) & (boxes[:, :2] < size_px).all(axis=1)
    if not inside.any():
        raise InputError(
            f"{collector.path}: none of its {len(found)} objects lies on the slide of "
            f"{size_px[0]}x{size_px[1]} px: are these the annotations of another slide?"
        )
    collector.counts["objects off the slide left out"] += int((~inside).sum())
    return [a for a, is_in in zip(found, inside) if is_in]
