"""COCO JSON with whole slides, or their overviews, as images."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..coco import schema as coco_schema
from ..coco.rle import counts_to_runs
from ..errors import InputError
from .collect import Collector
from .files import AnnotationFile
from .formats import AnnotationFormat
from .frames import scale_to_slide
from .names import class_name, is_called

COCO = "COCO JSON"


def recognise(file: AnnotationFile) -> dict[str, Any] | None:
    """The content."""
    return file.json if coco_schema.is_coco(file.json) else None


def read(content: dict[str, Any], collector: Collector) -> None:
    """Fill the collector with the objects of one slide, whose image may be smaller.

    The records are checked as for training, see :mod:`mhkd.coco.schema`; of annotations of other images only
    whose they are.
    """
    path = collector.path
    coco_schema.check_records(path, content["images"], ("id", "file_name"), "image")
    coco_schema.check_records(path, content["annotations"], ("image_id", "category_id"), "annotation")
    image = _image(content["images"], path, collector.slide_name)
    image_px = coco_schema.size_px(image, f"{path}: image {image['id']}")
    if collector.size_px is not None:
        collector.scale = scale_to_slide(path, image_px, collector.size_px)
    names = _names(content.get("categories"), collector)
    image_ids = {i["id"] for i in content["images"]}
    for number, annotation in enumerate(content["annotations"], 1):
        where = f"annotation {annotation['id']}" if "id" in annotation else f"annotation number {number}"
        coco_schema.check_reference(annotation, image_ids, names, f"{path}: {where}")
        if annotation["image_id"] == image["id"]:
            _object(annotation, names[annotation["category_id"]], image_px, collector, where)


def _image(images: Sequence[dict[str, Any]], path: str, slide_name: str | None) -> dict[str, Any]:
    for image in images:
        coco_schema.text(image, "file_name", f"{path}: image {image['id']}")
    if slide_name is not None:
        images = [i for i in images if is_called(i["file_name"], slide_name)]
        if not images:
            raise InputError(f"{path}: has no image {slide_name}: correct its file_name")
    if len(images) != 1:
        raise InputError(
            f"{path}: has {len(images)} images"
            + (f" named {slide_name}" if slide_name else ": say which is wanted by the slide")
        )
    return images[0]


def _names(categories: Any, collector: Collector) -> dict[int, str | None]:
    categories = categories if isinstance(categories, list) else []
    coco_schema.check_records(collector.path, categories, ("id",), "category")
    return {c["id"]: class_name(c.get("name"), collector, f"category {c['id']}") for c in categories}


def _object(
    annotation: Mapping[str, Any],
    name: str | None,
    image_px: tuple[int, int],
    collector: Collector,
    where: str,
) -> None:
    """The outline, else the box."""
    iscrowd = coco_schema.is_ignored(annotation, f"{collector.path}: {where}")
    try:
        outline, note = coco_schema.outline(annotation.get("segmentation"), image_px)
    except ValueError as e:
        raise collector.error(where, str(e)) from e
    if note:
        collector.counts[f"objects whose outline {note}"] += 1
    if outline is None:
        x, y, width, height = coco_schema.bbox(annotation, f"{collector.path}: {where}")
        collector.box(x, y, width, height, name, where, iscrowd)
    elif isinstance(outline, list):
        collector.polygons([[ring] for ring in outline], name, where, iscrowd)
    else:
        start, length = counts_to_runs(outline)
        collector.mask(start, length, image_px, name, where, as_one=True, iscrowd=iscrowd)


FORMAT = AnnotationFormat(COCO, recognise, read, of_many_slides=True)
