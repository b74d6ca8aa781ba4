"""The two codings of COCO's run-length masks.

Decoded by hand because pycocotools reads past the end of a text that is cut short, and makes the whole mask.
"""

from typing import Any

import numpy as np
import pycocotools.mask as mask_util


def coco_counts(counts: Any) -> np.ndarray:
    """The alternating lengths (out, in, out, ...) of a COCO mask.

    Args:
        counts: plain numbers, or COCO's compressed text.

    Returns:
        int64, shape (n,).

    Raises:
        ValueError: neither.
    """
    if not isinstance(counts, str):
        plain = np.asarray(counts)
        if plain.ndim != 1 or plain.dtype.kind not in "iuf" or not (np.abs(plain) <= 2**40).all():
            raise ValueError("counts")
        if (plain % 1).any():
            raise ValueError("counts")
        return plain.astype(np.int64)
    codes = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    if len(codes) and (codes.min() < 0 or codes.max() > 63 or codes[-1] & 32):
        raise ValueError("counts")
    values: list[int] = []
    value = shift = 0
    for code in codes.tolist():  # 5 bits each, bit 6: more follow, bit 5 of the last: negative
        value |= (code & 31) << shift
        shift += 5
        if shift > 60:
            raise ValueError("counts")
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            values.append(value + (values[-2] if len(values) > 2 else 0))  # to the last but one
            value = shift = 0
    return np.array(values, np.int64)


def counts_to_runs(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """0-based start and length of what is in the mask."""
    stops = np.cumsum(counts)
    return (stops - counts)[1::2], counts[1::2]


def rectangle_rle(bbox: tuple[int, int, int, int], size: tuple[int, int]) -> dict[str, Any]:
    """A rectangle as COCO's compressed mask.

    Args:
        bbox: XYWH, whole pixels in the image.
        size: height and width of the image.
    """
    x, y, width, height = bbox
    counts = [x * size[0] + y, *[height, size[0] - height] * width]
    counts[-1] += size[0] * size[1] - sum(counts)
    if height == size[0]:
        counts = [counts[0], width * height, size[0] * size[1] - counts[0] - width * height]
    packed = mask_util.frPyObjects({"size": list(size), "counts": counts}, *size)
    return {"size": list(size), "counts": packed["counts"].decode()}
