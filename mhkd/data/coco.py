"""Reads and checks COCO files: every fault is one error that names the file and the remedy."""

import json
import math
import os
from collections import Counter

from mhkd.errors import InputError
from mhkd.wsi.images import image_size

from detectron2.structures import BoxMode

IMAGE_KEYS = ("id", "file_name", "width", "height")
ANNOTATION_KEYS = ("id", "image_id", "category_id", "bbox")
OPTIONAL_IMAGE_KEYS = ("mpp", "slide", "patient")  # carried over as they are
REGION_KEYS = ("slide_file", "x_px", "y_px", "mpp")
# Annotators round: a box may stick out of its image by this much before it counts as outside.
OUTSIDE_TOLERANCE_PX = 2.0


def read_coco(json_file):
    """Read a COCO annotation file and check its structure; no image is opened.

    Args:
        json_file (str): COCO file with ``images``, ``annotations`` and ``categories``; only without
            annotations may it be without categories.

    Returns:
        dict: the file's content.

    Raises:
        InputError: the file is missing, empty, cut short, or not COCO.
    """
    content = load_coco(json_file)
    _check_records(json_file, content["images"], IMAGE_KEYS, "image")
    _check_records(json_file, content["annotations"], ANNOTATION_KEYS, "annotation")
    _check_records(json_file, content["categories"], ("id", "name"), "category")
    names = [c["name"] for c in content["categories"]]
    _check_unique(json_file, names, "category name")
    return content


def load_coco(json_file):
    """As :func:`read_coco`, but the records themselves may have any fault."""
    try:
        with open(json_file, encoding="utf-8") as f:
            content = json.load(f)
    except FileNotFoundError as e:
        raise InputError(
            f"{json_file}: there is no such annotation file: put it there, or point the "
            "environment "
            "variable DETECTRON2_DATASETS at the folder that holds the datasets"
        ) from e
    except (ValueError, RecursionError) as e:  # JSONDecodeError, UnicodeDecodeError
        what = "is empty" if os.path.getsize(json_file) == 0 else f"is no valid JSON ({e})"
        raise InputError(f"{json_file}: {what}: export or copy the annotations again") from e
    except OSError as e:
        raise InputError(f"{json_file}: cannot be read ({e.strerror})") from e
    if not isinstance(content, dict):
        raise InputError(f"{json_file}: is no COCO file: its top level must be a JSON object")
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            raise InputError(f"{json_file}: is no COCO file: it has no list {key!r}")
    for key in ("images", "categories") if content["annotations"] else ("images",):
        if not content[key]:
            raise InputError(
                f"{json_file}: its list {key!r} is empty: export the annotations again"
            )
    return content


def sorted_categories(content):
    """Categories of a file's content as ((id, name), ...), in the order of the ids."""
    return tuple(sorted((c["id"], c["name"]) for c in content["categories"]))


def coco_to_dicts(content, json_file, image_root, id_map, check_images=True):
    """COCO content to Detectron2 dataset dicts, in the order of the image ids.

    Args:
        content (dict): from :func:`read_coco`.
        json_file (str): where it came from, for the messages.
        image_root (str): folder that ``file_name``, ``lr_file_name`` and ``region.slide_file`` are
            relative to.
        id_map (dict[int, int]): category id in the file -> contiguous class id.
        check_images (bool): read the header of every image and compare its size.

    Returns:
        list[dict]: Detectron2 dataset dicts with this project's optional keys.

    Raises:
        InputError: a fault in an image entry or an annotation.
    """
    dicts = {}
    for image in content["images"]:
        dicts[image["id"]] = image_to_dict(image, json_file, image_root, check_images)
    for annotation in content["annotations"]:
        where = f"{json_file}: annotation {annotation['id']}"
        entry = dicts.get(annotation["image_id"])
        if entry is None:
            raise InputError(
                f"{where} belongs to image_id {annotation['image_id']}, which is not in 'images': "
                "add the image or remove the annotation"
            )
        if annotation["category_id"] not in id_map:
            raise InputError(
                f"{where} has category_id {annotation['category_id']}, which is not in "
                "'categories': "
                "add the category or correct the annotation"
            )
        obj = {
            "bbox": _checked_bbox(annotation["bbox"], entry, where),
            "bbox_mode": BoxMode.XYWH_ABS,
            "category_id": id_map[annotation["category_id"]],
            # COCO's own "ignore" and crowd regions are the same thing to the evaluator.
            "iscrowd": int(bool(annotation.get("iscrowd", 0) or annotation.get("ignore", 0))),
        }
        if annotation.get("segmentation"):
            obj["segmentation"] = annotation["segmentation"]
        entry["annotations"].append(obj)
    return [dicts[k] for k in sorted(dicts)]


def image_to_dict(image, json_file, image_root, check_images=True):
    """One image entry, without annotations; see :func:`coco_to_dicts`."""
    where = f"{json_file}: image {image['id']}"
    if not isinstance(image["file_name"], str) or not image["file_name"]:
        raise InputError(f"{where} has no file_name")
    size_px = (image["width"], image["height"])
    if not all(isinstance(v, int) and v > 0 for v in size_px):
        raise InputError(
            f"{where} ({image['file_name']}) has size {size_px}: whole pixels are needed"
        )
    entry = {
        "file_name": os.path.join(image_root, image["file_name"]),
        "image_id": image["id"],
        "width": image["width"],
        "height": image["height"],
        "annotations": [],
    }
    entry.update({k: image[k] for k in OPTIONAL_IMAGE_KEYS if image.get(k) is not None})
    if image.get("lr_file_name"):
        entry["lr_file_name"] = os.path.join(image_root, image["lr_file_name"])
    if image.get("region"):
        entry["region"] = _checked_region(image["region"], where, image_root)
    if check_images:
        _check_files(entry, where)
    return entry


def _check_files(entry, where):
    if "region" in entry:
        slide_file = entry["region"]["slide_file"]
        if not os.path.exists(slide_file):
            raise InputError(f"{where}: the slide {slide_file} does not exist: restore it")
    else:
        width, height = image_size(entry["file_name"])
        if (width, height) != (entry["width"], entry["height"]):
            raise InputError(
                f"{entry['file_name']}: is {width}x{height} px, but {where} says "
                f"{entry['width']}x{entry['height']}: correct one of them"
            )
    if "lr_file_name" in entry:
        width, height = image_size(entry["lr_file_name"])
        if width > entry["width"] or height > entry["height"]:
            raise InputError(
                f"{entry['lr_file_name']}: is {width}x{height} px, larger than its HR image "
                f"({entry['width']}x{entry['height']}): are the two swapped?"
            )


def _checked_region(region, where, image_root):
    missing = [k for k in REGION_KEYS if k not in region]
    if missing:
        raise InputError(f"{where}: its 'region' has no {', '.join(missing)}")
    if not all(_is_number(region[k]) for k in REGION_KEYS[1:]) or region["mpp"] <= 0:
        raise InputError(f"{where}: x_px, y_px and mpp of its 'region' must be finite numbers")
    return {**region, "slide_file": os.path.join(image_root, region["slide_file"])}


def bbox_fault(bbox, width, height):
    """What is wrong with a box, [x, y, width, height] in pixels of an image of that size.

    Returns:
        str or None: "no numbers", "no area", "outside" (by more than OUTSIDE_TOLERANCE_PX) or None.
    """
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(_is_number(v) for v in bbox):
        return "no numbers"
    x, y, w, h = bbox
    if w <= 0 or h <= 0:
        return "no area"
    t = OUTSIDE_TOLERANCE_PX
    outside = x < -t or y < -t or x + w > width + t or y + h > height + t
    return "outside" if outside else None


def _checked_bbox(bbox, entry, where):
    fault = bbox_fault(bbox, entry["width"], entry["height"])
    if fault == "no numbers":
        raise InputError(
            f"{where} has bbox {bbox}: it must be four finite numbers, x, y, width, height"
        )
    if fault == "no area":
        raise InputError(f"{where} has bbox {bbox}, of no area: correct or remove it")
    if fault == "outside":
        raise InputError(
            f"{where} has bbox {bbox}, outside its image of {entry['width']}x{entry['height']} px "
            f"({entry['file_name']}): boxes are [x, y, width, height] in pixels of that image"
        )
    return [float(v) for v in bbox]


def _check_records(json_file, records, keys, what):
    for i, record in enumerate(records):
        missing = keys if not isinstance(record, dict) else [k for k in keys if k not in record]
        if missing:
            raise InputError(f"{json_file}: {what} number {i + 1} has no {', '.join(missing)}")
    for key in ("id", "image_id", "category_id"):
        if key in keys and not all(type(r[key]) is int for r in records):
            raise InputError(f"{json_file}: the {key} of every {what} must be a whole number")
    _check_unique(json_file, [r["id"] for r in records], f"{what} id")


def _check_unique(json_file, values, what):
    twice = [v for v, n in Counter(values).items() if n > 1]
    if twice:
        raise InputError(
            f"{json_file}: {what} {twice[0]!r} is there more than once: make it unique"
        )


def _is_number(v):
    return isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v)
