"""Whether datasets that are sound can be trained on and scored with a config: sizes, regions, objects."""

from collections.abc import Sequence
from typing import Any

from detectron2.data import MetadataCatalog

from ..coco import schema as coco_schema
from ..coco.read import slides_of_several_patients
from ..errors import InputError
from ..slides.images import image_size
from ..slides.views import checked_factor
from .on_slide import check_region, slide_facts
from .region_columns import RegionEntries

MIN_LR_PX = 2  # an image of one LR pixel shows nothing


def check_fitness(name: str, dicts: Sequence[dict[str, Any]], lr_factor: int, masks: bool = False) -> None:
    """Every image has LR pixels, every LR file their number, every region lies on its slide.

    Args:
        name: of the dataset, registered.
        dicts: its dataset dicts, from :func:`mhkd.data.register_folders` or others.
        lr_factor: HR pixels per LR pixel, along each axis.
        masks: every object that counts needs an outline.

    Raises:
        InputError: the first that does not.
    """
    lr_factor = checked_factor(lr_factor)
    source = file_of(name)
    if isinstance(dicts, RegionEntries):
        _check_size(dicts.smallest(), lr_factor, source)
        off = dicts.first_off_slide(slide_facts)
        if off is not None:
            check_region(off, source)
        if masks:
            raise InputError(f"{source}: outlines of so large a file are not read: set MODEL.MASK_ON False")
        return
    if mixed := slides_of_several_patients(dicts):
        raise InputError(
            f"{source}: the slide {mixed[0][0]} is of the patients {', '.join(map(repr, mixed[0][1]))}: "
            "correct it, or what belongs together is not kept together"
        )
    for entry in dicts:
        _check_size(entry, lr_factor, source)
        coco_schema.mpp(entry, _where(entry, source))
        if "lr_file_name" in entry:
            _check_lr_size(entry, lr_factor, source)
        if "region" in entry:
            check_region(entry, source)
        if masks:
            _check_outlines(entry, source)


def count_objects(dicts: Sequence[dict[str, Any]]) -> int:
    """Objects that are learned and counted."""
    if isinstance(dicts, RegionEntries):
        return dicts.count_objects()
    return sum(not a.get("iscrowd", 0) for d in dicts for a in d.get("annotations", ()))


def file_of(name: str) -> str:
    """The annotation file of a registered dataset; its name where it has none."""
    return MetadataCatalog.get(name).get("annotation_file") or name


def _where(entry: dict[str, Any], source: str) -> str:
    return f"{source}: image {entry.get('image_id')} ({entry['file_name']})"


def _check_size(entry: dict[str, Any], lr_factor: int, source: str) -> None:
    lr = _lr_size(entry, lr_factor)
    if min(lr) < MIN_LR_PX:
        raise InputError(
            f"{_where(entry, source)} has width and height {entry['width']}x{entry['height']} px, which at "
            f"INPUT.LR_FACTOR {lr_factor} are {lr[0]}x{lr[1]} LR pixels, fewer than "
            f"{MIN_LR_PX}x{MIN_LR_PX}: leave the image out or lower the factor"
        )


def _check_lr_size(entry: dict[str, Any], lr_factor: int, source: str) -> None:
    lr, found = _lr_size(entry, lr_factor), image_size(entry["lr_file_name"])
    if found != lr:
        raise InputError(
            f"{_where(entry, source)} has lr_file_name {entry['lr_file_name']} of {found[0]}x{found[1]} px: "
            f"{entry['width']}x{entry['height']} px are {lr[0]}x{lr[1]} at INPUT.LR_FACTOR {lr_factor}"
        )


def _lr_size(entry: dict[str, Any], lr_factor: int) -> tuple[int, int]:
    return entry["width"] // lr_factor, entry["height"] // lr_factor


def _check_outlines(entry: dict[str, Any], source: str) -> None:
    for annotation in entry.get("annotations", ()):
        if not annotation.get("iscrowd", 0) and not isinstance(annotation.get("segmentation"), (list, dict)):
            raise InputError(
                f"{_where(entry, source)} has an object at {annotation['bbox']} without the outline that "
                "MODEL.MASK_ON asks for: add its segmentation, or set MODEL.MASK_ON False"
            )
