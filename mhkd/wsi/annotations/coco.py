"""COCO JSON with whole slides, or their overviews, as images."""

import os

from mhkd.errors import InputError
from mhkd.wsi.annotations.frames import scale_to_slide
from mhkd.wsi.annotations.names import class_name
from mhkd.wsi.annotations.rle import add_runs, coco_counts, counts_to_runs

import numpy as np


def is_coco(content):
    """bool: whether the JSON is of this format."""
    return isinstance(content, dict) and all(
        isinstance(content.get(k), list) for k in ("images", "annotations")
    )


def read(content, collector, slide_name, size_px):
    """Args:
    content (dict): the file.
    collector (Collector): to fill.
    slide_name (str or None): stem of the slide's file; None where the file has one image only.
    size_px (tuple[int, int] or None): the slide's; images of it may be smaller.
    """
    image = _image(content["images"], collector.path, slide_name)
    image_px = _size(image, collector)
    if size_px is not None:
        collector.scale = scale_to_slide(collector.path, image_px, size_px)
    names = _names(content.get("categories"), collector)
    for number, annotation in enumerate(content["annotations"], 1):
        where = f"annotation {number}"
        if not isinstance(annotation, dict):
            raise collector.error(where, "is no annotation")
        if _id(annotation, "image_id") == _id(image, "id"):
            category = _id(annotation, "category_id")
            if category not in names:
                raise collector.error(where, f"has the unknown category {str(category)[:40]}")
            iscrowd = _id(annotation, "iscrowd") == 1
            _object(annotation, names[category], iscrowd, image_px, collector, where)


def _image(images, path, slide_name):
    images = [i for i in images if isinstance(i, dict) and isinstance(i.get("file_name"), str)]
    if slide_name is not None:
        images = [i for i in images if _is_named(i["file_name"], slide_name)]
        if not images:
            raise InputError(f"{path}: has no image {slide_name}: correct its file_name")
    if len(images) != 1:
        raise InputError(
            f"{path}: has {len(images)} images"
            + (f" named {slide_name}" if slide_name else ": say which is wanted by the slide")
        )
    return images[0]


def _is_named(file_name, slide_name):
    base = os.path.basename(file_name.replace("\\", "/"))
    return slide_name in (base, os.path.splitext(base)[0])


def _size(image, collector):
    size = tuple(image.get(k) for k in ("width", "height"))
    if not all(isinstance(v, int) and 0 < v <= 10**7 for v in size):
        raise collector.error(f"image {image['file_name'][:80]}", "has no width and height")
    return size


def _id(obj, key):
    value = obj.get(key) if isinstance(obj, dict) else None
    return value if isinstance(value, (int, str)) else None


def _names(categories, collector):
    names = {}
    for category in categories if isinstance(categories, list) else []:
        number = _id(category, "id")
        if number is None:
            raise collector.error("a category", "has no id")
        names[number] = class_name(category.get("name"), collector, f"category {number}")
    return names


def _object(annotation, name, iscrowd, image_px, collector, where):
    """The segmentation, else the box."""
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        size = segmentation.get("size")
        if not isinstance(size, np.ndarray) or size.tolist() != [image_px[1], image_px[0]]:
            raise collector.error(where, "has a mask of another size than its image")
        try:
            runs = counts_to_runs(coco_counts(segmentation.get("counts")))
        except (TypeError, ValueError) as e:
            raise collector.error(where, "has a mask that is no run-length code") from e
        add_runs(*runs, image_px, name, collector, where, as_one=True, iscrowd=iscrowd)
        return
    polygons = []
    for ring in segmentation if isinstance(segmentation, (list, np.ndarray)) else []:
        ring = np.asarray(ring) if isinstance(ring, (list, np.ndarray)) else np.empty(1)
        if ring.ndim != 1 or ring.size % 2:
            raise collector.error(where, "has a polygon that is no list of x, y, x, y, ...")
        polygons.append([ring.reshape(-1, 2)])
    if any(len(rings[0]) >= 3 for rings in polygons):
        collector.polygons(polygons, name, where, iscrowd)
        return
    box = annotation.get("bbox")
    if not isinstance(box, np.ndarray) or box.shape != (4,):
        raise collector.error(where, "has neither a segmentation nor a box")
    collector.box(*box, name, where, iscrowd)
