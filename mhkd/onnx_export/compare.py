"""Two runs of one student side by side: do they find the same?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
import torch
from torchvision.ops import box_iou

# Boxes (n, 4) XYXY in LR pixels, scores (n,), classes (n,); of a student with masks outlines (n,), as WKT.
Found = Sequence[np.ndarray]
Run = Callable[[np.ndarray], Found]  # of a uint8 RGB tile (h, w, 3): all detections, whatever their score
MAX_SHIFT_HR_PX, MAX_SCORE_DIFFERENCE, LEAST_OUTLINE_IOU = 1.0, 1e-3, 0.99
FEW = 100  # boxes: then those of any score are compared
SAME_OBJECT = 0.5  # IoU


@dataclass(frozen=True)
class Comparison:
    """Detections of both runs from a score on, and how many have a partner in the other: of the same class,
    no side of the box further away than MAX_SHIFT_HR_PX, the score no further than MAX_SCORE_DIFFERENCE, and,
    where there are outlines, these with an IoU of LEAST_OUTLINE_IOU or more, or nowhere further apart than
    MAX_SHIFT_HR_PX, which is more of a small one's area.

    Attributes:
        tiles, boxes, from_score: what was compared.
        matched: of the boxes.
        largest_shift_hr_px, largest_score_difference: of those that are matched.
        least_outline_iou: of those too; None: there are no outlines.
    """

    tiles: int
    boxes: int
    from_score: float
    matched: int
    largest_shift_hr_px: float
    largest_score_difference: float
    least_outline_iou: float | None = None

    @property
    def share(self) -> float:
        return self.matched / max(1, self.boxes)


def look(run: Run, tiles: Sequence[np.ndarray]) -> list[Found]:
    return [run(tile) for tile in tiles]


def compare(one: Sequence[Found], other: Sequence[Found], factor: int, from_score: float) -> Comparison:
    """
    Args:
        one, other: detections of the same tiles.
        factor: HR pixels per LR pixel.
        from_score: weaker ones are compared too where there are few others.
    """
    if sum(int((f[1] > from_score).sum()) for f in (*one, *other)) < FEW:
        from_score = 0.0
    boxes = matched = 0
    shifts, differences, gaps = [0.0], [0.0], [0.0]
    for a, b in zip((_from(f, from_score) for f in one), (_from(f, from_score) for f in other)):
        shift = np.abs(a[0][:, None] - b[0]).max(-1, initial=0) * factor
        difference = np.abs(a[1][:, None] - b[1])
        same = (shift <= MAX_SHIFT_HR_PX) & (difference <= MAX_SCORE_DIFFERENCE)
        same &= a[2][:, None] == b[2]
        iou, distance = _outlines(a, b, same)
        same &= (iou >= LEAST_OUTLINE_IOU) | (distance * factor <= MAX_SHIFT_HR_PX)
        boxes += sum(same.shape)
        matched += int(same.any(0).sum() + same.any(1).sum())
        for values, found in ((shift, shifts), (difference, differences), (1 - iou, gaps)):
            nearest = np.where(same, values, np.inf).min(1, initial=np.inf)
            found += nearest[np.isfinite(nearest)].tolist()
    least_iou = 1 - max(gaps) if any(len(f) > 3 for f in one) else None
    return Comparison(len(one), boxes, from_score, matched, max(shifts), max(differences), least_iou)


def found_again(
    one: Sequence[Found], other: Sequence[Found], from_score: float
) -> tuple[int, int, float | None]:
    """Detections of ``one`` from a score on, and how many of them ``other`` has too, of the same class, with
    an IoU of SAME_OBJECT and whatever score; and where there are outlines the mean IoU of those."""
    boxes = found = 0
    ious: list[float] = []
    for a, b in zip((_from(f, from_score) for f in one), other):
        iou = box_iou(*(torch.from_numpy(boxes) for boxes in (a[0], b[0]))).numpy()
        same = (iou >= SAME_OBJECT) & (a[2][:, None] == b[2])
        boxes, found = boxes + len(same), found + int(same.any(1).sum())
        ious += _outlines(a, b, same)[0].max(1, initial=0)[same.any(1)].tolist()
    return boxes, found, float(np.mean(ious)) if ious and len(one[0]) > 3 else None


def _outlines(a: Found, b: Found, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of pairs, a bool matrix (n, m), the outlines' IoU and their largest distance in LR pixels; 1 and 0 of
    what has none."""
    iou, distance = pairs.astype(float), np.zeros(pairs.shape)
    if len(a) > 3 and pairs.any():
        i, j = np.nonzero(pairs)
        ours, theirs = (shapely.make_valid(shapely.from_wkt(f[3][k])) for f, k in ((a, i), (b, j)))
        both = shapely.area(shapely.intersection(ours, theirs))
        either = shapely.area(ours) + shapely.area(theirs) - both
        iou[i, j] = np.where(either > 0, both / np.maximum(either, 1e-9), 1)
        distance[i, j] = np.nan_to_num(shapely.hausdorff_distance(ours, theirs), nan=np.inf)  # one is empty
    return iou, distance


def _from(found: Found, score: float) -> Found:
    return [column[found[1] > score] for column in found]
