"""What a COCO file's records may hold: one schema for training, ``mhkd inspect``, ``tile`` and ``score``.

What is used and holds anything else is an :class:`InputError` that names file, record and key. ``where``
is always the file and the record, as messages begin. Values come from :mod:`json`, or with their lists of
numbers packed as arrays (:func:`mhkd.annotations.files.load_json`).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import as_text
from .rle import coco_counts

IMAGE_KEYS = ("id", "file_name", "width", "height")
ANNOTATION_KEYS = ("id", "image_id", "category_id", "bbox")
CATEGORY_KEYS = ("id", "name")
REGION_KEYS = ("slide_file", "x_px", "y_px", "mpp")
IDS = ("id", "image_id", "category_id")
MAX_ID = 2**53 - 1  # what a float64 holds exactly, as evaluation keeps ids
MAX_SIDE_PX = 10**7
MAX_NUMBER = 1e300
# Annotators round: a box may stick out of its image by this much before it counts as outside.
OUTSIDE_TOLERANCE_PX = 2.0


def is_coco(content: Any) -> bool:
    """Whether JSON has the lists that make it a COCO file: those of images and of annotations."""
    return isinstance(content, dict) and all(
        isinstance(content.get(k), list) for k in ("images", "annotations")
    )


def is_number(value: Any) -> bool:
    """Whether a value is a finite number that a float can hold; true and false are none."""
    return type(value) in (int, float) and abs(value) < MAX_NUMBER


def is_id(value: Any) -> bool:
    """Whether a value is a whole number of at most 53 bits; 1.0 and "1" are none."""
    return type(value) is int and abs(value) <= MAX_ID


def missing_keys(record: Any, keys: Sequence[str]) -> Sequence[str]:
    """Those of ``keys`` that the record has not; all if it is no JSON object."""
    return keys if not isinstance(record, dict) else [k for k in keys if k not in record]


def record_fault(record: Any, keys: Sequence[str], ids: set[int]) -> str | None:
    """What is wrong with a record as such.

    Args:
        record: of a COCO file.
        keys: those that are needed.
        ids: of the records before it; that of a sound one is added.

    Returns:
        "no keys", "no id" (one that is there is no whole number), "same id" (as one before) or None.
    """
    if missing_keys(record, keys):
        return "no keys"
    if not all(is_id(record[k]) for k in IDS if k in record):
        return "no id"
    if "id" in record:
        if record["id"] in ids:
            return "same id"
        ids.add(record["id"])
    return None


def check_records(path: str, records: Sequence[Any], keys: Sequence[str], what: str) -> None:
    """Every record must have the keys, and ids that are whole numbers, its own unlike any other.

    Args:
        path: the file, for messages.
        records: of a COCO file.
        keys: those that are needed.
        what: "image", "annotation" or "category".

    Raises:
        InputError: the first fault.
    """
    ids: set[int] = set()
    twice = None
    for number, record in enumerate(records, 1):
        fault = record_fault(record, keys, ids)
        if fault == "no keys":
            missing = ", ".join(missing_keys(record, keys))
            raise InputError(f"{path}: {what} number {number} has no {missing}")
        if fault == "no id":
            key = next(k for k in IDS if k in record and not is_id(record[k]))
            raise InputError(
                f"{path}: {what} number {number} has {key} {shown(record[key])}: the {key} of every "
                f"{what} must be a whole number, written without quotes and point, below 2^53"
            )
        if fault == "same id" and twice is None:
            twice = record["id"]
    if twice is not None:
        raise InputError(f"{path}: {what} id {twice} is there more than once: make it unique")


def check_reference(
    annotation: Mapping[str, Any], image_ids: Collection[int], category_ids: Collection[int], where: str
) -> None:
    """An annotation's image and category must be there.

    Raises:
        InputError: one is not.
    """
    if annotation["image_id"] not in image_ids:
        raise InputError(
            f"{where} belongs to image_id {annotation['image_id']}, which is not in 'images': "
            "add the image or remove the annotation"
        )
    if annotation["category_id"] not in category_ids:
        raise InputError(
            f"{where} has category_id {annotation['category_id']}, which is not in 'categories': "
            "add the category or correct the annotation"
        )


def text(record: Mapping[str, Any], key: str, where: str) -> str:
    """A text that must be there and not be empty."""
    value = record.get(key)
    if not isinstance(value, str) or not value:
        raise InputError(f"{where} has {key} {shown(value)}: it must be a text")
    return value


def label(record: Mapping[str, Any], key: str, where: str) -> str | None:
    """A name, given as a text or as a whole number; None where there is none, or an empty one.

    So that 3, 3.0 and "3" are the same slide, blanks around a text are left out.
    """
    value = record.get(key)
    if value is None or isinstance(value, str):
        return as_text(value or "").strip() or None
    if not is_number(value) or value != int(value):
        raise InputError(f"{where} has {key} {shown(value)}: it must be a text or a whole number")
    return str(int(value))


def patient(image: Mapping[str, Any], where: str) -> str | None:
    """The person that an image is of: its ``patient`` or, where it has none, its ``individual``."""
    return label(image, "patient", where) or label(image, "individual", where)


def size_px(image: Mapping[str, Any], where: str) -> tuple[int, int]:
    """Width and height of an image."""
    for key in ("width", "height"):
        value = image.get(key)
        if type(value) is not int or not 0 < value <= MAX_SIDE_PX:
            raise InputError(f"{where} has {key} {shown(value)}: whole pixels are needed, 1 to {MAX_SIDE_PX}")
    return image["width"], image["height"]


def mpp(record: Mapping[str, Any], where: str, key: str = "mpp") -> float | None:
    """Micrometres per pixel; None where it is not given."""
    value = record.get(key)
    if value is None:
        return None
    if not is_number(value) or value <= 0:
        raise InputError(
            f"{where} has {key} {shown(value)}: it must be a positive number, micrometres per pixel"
        )
    return value


def region(image: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    """A checked copy of an image's ``region``; None where the image is a file."""
    value = image.get("region")
    if value is None:
        return None
    missing = missing_keys(value, REGION_KEYS)
    if missing:
        raise InputError(f"{where}: its 'region' has no {', '.join(missing)}")
    of = f"{where}: its 'region'"
    text(value, "slide_file", of)
    for key in ("x_px", "y_px"):
        if not is_number(value[key]):
            raise InputError(f"{of} has {key} {shown(value[key])}: it must be a finite number, base pixels")
    if mpp(value, of) is None:
        raise InputError(f"{of} has mpp None: it must be a positive number, micrometres per pixel")
    mpp(value, of, "slide_mpp")
    return dict(value)


def is_ignored(annotation: Mapping[str, Any], where: str) -> bool:
    """Whether an object is neither learned nor counted, COCO's ``iscrowd`` or ``ignore``."""
    found = False
    for key in ("iscrowd", "ignore"):
        value = annotation.get(key)
        if value is not None and not (type(value) in (bool, int, float) and value in (0, 1)):
            raise InputError(f"{where} has {key} {shown(value)}: it must be 0 or 1")
        found = found or bool(value)
    return found


def bbox_fault(bbox: Any, width: float | None = None, height: float | None = None) -> str | None:
    """What is wrong with a box, [x, y, width, height] in pixels of an image of that size, if it is given.

    Returns:
        "no numbers", "no area", "outside" (by more than OUTSIDE_TOLERANCE_PX) or None.
    """
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(is_number(v) for v in bbox):
        return "no numbers"
    x, y, w, h = bbox
    if w <= 0 or h <= 0:
        return "no area"
    if width is None or height is None:
        return None
    t = OUTSIDE_TOLERANCE_PX
    outside = x < -t or y < -t or x + w > width + t or y + h > height + t
    return "outside" if outside else None


def bbox(annotation: Mapping[str, Any], where: str, image: Mapping[str, Any] | None = None) -> list[float]:
    """A box, [x, y, width, height] in pixels; inside its image, if that one is given."""
    value: Any = annotation.get("bbox")
    value = value.tolist() if isinstance(value, np.ndarray) else value  # of load_json
    fault = bbox_fault(value, *((image["width"], image["height"]) if image else ()))
    if fault == "no numbers":
        raise InputError(
            f"{where} has bbox {shown(value)}: it must be four finite numbers, x, y, width, height"
        )
    if fault == "no area":
        raise InputError(f"{where} has bbox {shown(value)}, of no area: correct or remove it")
    if fault == "outside" and image:
        raise InputError(
            f"{where} has bbox {shown(value)}, outside its image of {image['width']}x{image['height']} px "
            f"({image['file_name']}): boxes are [x, y, width, height] in pixels of that image"
        )
    return [float(v) for v in value]


def outline(
    segmentation: Any, image_size_px: tuple[int, int]
) -> tuple[list[np.ndarray] | np.ndarray | None, str | None]:
    """Read any form of a ``segmentation``.

    Args:
        segmentation: polygons, a mask in either of COCO's codings, or nothing.
        image_size_px: width and height of its image.

    Returns:
        Polygons, each float64 of shape (n, 2) with 3 points or more; or a mask's int64 counts, see
        :func:`mhkd.coco.rle.coco_counts`; None where there is no outline. And what is odd about it, in words.

    Raises:
        ValueError: it cannot be read; the message says why, "has ..."
    """
    if segmentation is None:
        return None, None
    if isinstance(segmentation, dict):
        counts = _counts(segmentation, image_size_px)
        return (counts, None) if counts[1::2].any() else (None, "has an empty mask")
    if not isinstance(segmentation, (list, np.ndarray)):
        raise ValueError("has a segmentation that is neither polygons nor a mask")
    if len(segmentation) == 0:
        return None, None
    flat = not any(isinstance(ring, (list, np.ndarray)) for ring in segmentation)
    rings = [_ring(ring) for ring in ([segmentation] if flat else segmentation)]
    whole = [ring for ring in rings if len(ring) >= 3]
    note = "has a flat list of numbers, not a list of polygons" if flat else None
    if len(whole) < len(rings):
        note = "has a polygon of fewer than 3 points"
    return whole or None, note


def _ring(ring: Any) -> np.ndarray:
    fault = ValueError("has a polygon that is no list of x, y, x, y, ...")
    if not isinstance(ring, (list, np.ndarray)):
        raise fault
    try:
        xy = np.asarray(ring)
    except ValueError as e:  # lists within it
        raise fault from e
    if xy.size == 0 and xy.ndim == 1:
        return np.empty((0, 2))
    if xy.dtype.kind not in "iuf" or xy.ndim != 1 or xy.size % 2 or not np.isfinite(xy).all():
        raise fault
    return xy.astype(np.float64).reshape(-1, 2)


def _counts(mask: Mapping[str, Any], image_size_px: tuple[int, int]) -> np.ndarray:
    width, height = image_size_px
    size = mask.get("size")
    size = size.tolist() if isinstance(size, np.ndarray) else size
    if not isinstance(size, (list, tuple)) or list(size) != [height, width]:
        raise ValueError("has a mask of another size than its image")
    counts = mask.get("counts")
    try:
        counts = coco_counts(counts.decode("ascii") if isinstance(counts, bytes) else counts)
    except (TypeError, ValueError, OverflowError) as e:
        raise ValueError("has a mask that is no run-length code") from e
    if len(counts) and (counts.min() < 0 or counts.sum() > width * height):
        raise ValueError("has a mask that does not fit its image")
    return counts


def shown(value: Any) -> str:
    """A value for a message, in one line and not too long."""
    found = " ".join(repr(value.tolist() if isinstance(value, np.ndarray) else value).split())
    return found if len(found) <= 60 else f"{found[:57]}..."
