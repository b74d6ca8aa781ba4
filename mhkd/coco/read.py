"""Reads and checks COCO files: every fault is one error that names the file and the remedy."""

import functools
import json
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import pycocotools.mask as mask_util

from ..errors import InputError
from ..files import refuse_pipe
from ..slides.file_names import check_slide_file, path_below
from ..slides.images import check_whole, image_size
from . import schema as coco_schema
from .schema import ANNOTATION_KEYS, CATEGORY_KEYS, IMAGE_KEYS

logger = logging.getLogger(__name__)

XYWH_ABS = 1  # detectron2.structures.BoxMode.XYWH_ABS, whose import takes seconds


def read_coco(json_file: str) -> dict[str, Any]:
    """Read a COCO annotation file and check its structure; no image is opened.

    Args:
        json_file: COCO file with ``images``, ``annotations`` and ``categories``; only without annotations may
            it be without categories.

    Returns:
        The file's content.

    Raises:
        InputError: the file is missing, empty, cut short, or not COCO.
    """
    content = load_coco(json_file)
    coco_schema.check_records(json_file, content["images"], IMAGE_KEYS, "image")
    coco_schema.check_records(json_file, content["annotations"], ANNOTATION_KEYS, "annotation")
    coco_schema.check_records(json_file, content["categories"], CATEGORY_KEYS, "category")
    names = [category_name(c, json_file) for c in content["categories"]]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise InputError(f"{json_file}: category name {twice!r} is there more than once: make it unique")
    return content


def load_coco(json_file: str) -> dict[str, Any]:
    """As :func:`read_coco`, but the records themselves may have any fault."""
    try:
        refuse_pipe(json_file)
        with open(json_file, encoding="utf-8-sig") as f:  # some tools begin files with UTF-8's mark
            content = json.load(f)
    except FileNotFoundError as e:
        raise InputError(
            f"{json_file}: there is no such annotation file: put it there, or point the environment "
            "variable DETECTRON2_DATASETS at the folder that holds the datasets"
        ) from e
    except InputError:
        raise
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
            raise InputError(f"{json_file}: its list {key!r} is empty: export the annotations again")
    return content


def category_name(category: Mapping[str, Any], json_file: str) -> str:
    """A category's name, given as a text or as a whole number.

    Raises:
        InputError: it has none.
    """
    where = f"{json_file}: category {category['id']}"
    name = coco_schema.label(category, "name", where)
    if name is None:
        raise InputError(f"{where} has no name: give it one")
    return name


def sorted_categories(content: Mapping[str, Any], json_file: str) -> tuple[tuple[int, str], ...]:
    """Categories of a file's content as ((id, name), ...), in the order of the ids."""
    return tuple(sorted((c["id"], category_name(c, json_file)) for c in content["categories"]))


def coco_to_dicts(
    content: Mapping[str, Iterable[Any]],
    json_file: str,
    image_root: str,
    id_map: Mapping[int, int],
    check_images: bool = True,
) -> list[dict[str, Any]]:
    """COCO content to Detectron2 dataset dicts, in the order of the image ids.

    Outlines are kept where they can be read. Boxes do without: what is odd about outlines is one warning.

    Args:
        content: from :func:`read_coco`.
        json_file: where it came from, for the messages.
        image_root: folder that ``file_name``, ``lr_file_name`` and ``region.slide_file`` are relative to.
        id_map: category id in the file -> contiguous class id.
        check_images: read the header of every image, compare its size, and see that it is whole.

    Returns:
        Detectron2 dataset dicts with this project's optional keys.

    Raises:
        InputError: a fault in an image entry or an annotation.
    """
    dicts: dict[int, dict[str, Any]] = {}
    for image in content["images"]:
        dicts[image["id"]] = image_to_dict(image, json_file, image_root, check_images)
    odd: dict[str, list[int]] = {}
    for annotation in content["annotations"]:
        where = f"{json_file}: annotation {annotation['id']}"
        coco_schema.check_reference(annotation, dicts, id_map, where)
        entry = dicts[annotation["image_id"]]
        obj = {
            "bbox": coco_schema.bbox(annotation, where, entry),
            "bbox_mode": XYWH_ABS,
            "category_id": id_map[annotation["category_id"]],
            # COCO's own "ignore" and crowd regions are the same thing to the evaluator.
            "iscrowd": int(coco_schema.is_ignored(annotation, where)),
        }
        outline, note = read_outline(annotation, entry)
        if outline:
            obj["segmentation"] = outline
        if note:
            odd.setdefault(note, []).append(annotation["id"])
        entry["annotations"].append(obj)
    for note, ids in odd.items():
        _warn_once(
            f"{json_file}: {len(ids)} objects whose outline {note}, the first annotation {ids[0]}: their "
            "boxes are used"
        )
    return [dicts[k] for k in sorted(dicts)]


@functools.lru_cache(maxsize=256)
def _warn_once(message: str) -> None:
    """A dataset is loaded for every step."""
    logger.warning(message)


def read_outline(
    annotation: Mapping[str, Any], entry: Mapping[str, Any]
) -> tuple[list[list[float]] | dict[str, Any] | None, str | None]:
    """An annotation's outline in Detectron2's forms: polygons, or a compressed mask.

    Args:
        annotation: COCO's.
        entry: its image, with ``width`` and ``height``.

    Returns:
        None where there is none that can be read; and what is odd about it, in words.
    """
    segmentation = annotation.get("segmentation")
    try:
        outline, note = coco_schema.outline(segmentation, (entry["width"], entry["height"]))
    except ValueError as e:
        return None, str(e)
    if outline is None:
        return None, note
    if isinstance(outline, list):
        return ([ring.ravel().tolist() for ring in outline] if note else segmentation), note  # memory
    size = [entry["height"], entry["width"]]
    packed = mask_util.frPyObjects({"size": size, "counts": outline.tolist()}, *size)
    return {"size": size, "counts": packed["counts"].decode()}, note


def image_to_dict(
    image: Mapping[str, Any], json_file: str, image_root: str, check_images: bool = True
) -> dict[str, Any]:
    """One image entry, without annotations; see :func:`coco_to_dicts`."""
    where = f"{json_file}: image {image['id']}"
    file_name = coco_schema.text(image, "file_name", where)
    named = f"{where} ({file_name})"
    width, height = coco_schema.size_px(image, named)
    region = coco_schema.region(image, where)
    # A slide may be anywhere, an image is the dataset's own.
    path = os.path.join(image_root, file_name) if region else path_below(image_root, file_name, where)
    entry: dict[str, Any] = {
        "file_name": path,
        "image_id": image["id"],
        "width": width,
        "height": height,
        "annotations": [],
    }
    optional: dict[str, Any] = {"mpp": coco_schema.mpp(image, named)}
    optional["slide"] = coco_schema.label(image, "slide", named)
    optional["patient"] = coco_schema.patient(image, named)
    entry.update({k: v for k, v in optional.items() if v is not None})
    if image.get("lr_file_name") not in (None, ""):
        entry["lr_file_name"] = path_below(image_root, coco_schema.text(image, "lr_file_name", named), where)
    if region:
        entry["region"] = {**region, "slide_file": os.path.join(image_root, region["slide_file"])}
    if check_images:
        _check_files(entry, where)
    return entry


def _check_files(entry: Mapping[str, Any], where: str) -> None:
    if "region" in entry:
        check_slide_file(entry["region"]["slide_file"], where)
    else:
        width, height = image_size(entry["file_name"])
        if (width, height) != (entry["width"], entry["height"]):
            raise InputError(
                f"{entry['file_name']}: is {width}x{height} px, but {where} says "
                f"{entry['width']}x{entry['height']}: correct one of them"
            )
        check_whole(entry["file_name"])
    if "lr_file_name" in entry:
        width, height = image_size(entry["lr_file_name"])
        if width > entry["width"] or height > entry["height"]:
            raise InputError(
                f"{entry['lr_file_name']}: is {width}x{height} px, larger than its HR image "
                f"({entry['width']}x{entry['height']}): are the two swapped?"
            )
        check_whole(entry["lr_file_name"])


def slide_of(entry: Mapping[str, Any]) -> str:
    """The slide of a dataset dict; its file where it does not say."""
    return str(entry.get("slide") or os.path.realpath(entry["file_name"]))


def source_file(entry: Mapping[str, Any]) -> str:
    """The file that an HR image is read from: its own, or the slide's that it is a part of."""
    return str(entry["region"]["slide_file"] if entry.get("region") else entry["file_name"])


def slides_of_several_patients(dicts: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Such slides, and their patients; images without a patient say nothing."""
    patients: dict[str, set[str]] = defaultdict(set)
    for entry in dicts:
        if entry.get("patient"):
            patients[slide_of(entry)].add(str(entry["patient"]))
    return [(slide, sorted(found)) for slide, found in sorted(patients.items()) if len(found) > 1]
