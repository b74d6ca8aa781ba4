"""One box for each glomerulus, whatever the tile grid.

Written by hand: NMS and box fusion know nothing of tiles, so that pieces of a cut object stay beside it.

Two boxes are compared where both tiles could see: a side that a tile's edge cut says nothing of where the
object ends, so either box is clipped at the cut sides of the other, and the IoU is taken of what is left
(the *shared view*). Between two whole boxes that is the ordinary IoU. Then

1. a whole box that ends near a side of its tile goes where a larger one, seen from another tile, fits it and
   goes on beyond that side: a network's box of an object that the tile cut does not always reach the side;
2. of whole boxes that show the same object the one with the highest score stays, and so it does where one
   lies mostly within another of its class;
3. a cut box that shows the same object as a whole one goes;
4. cut boxes that show the same object, which no tile holds whole, are joined to one box, and their outlines,
   where there are any, to their union;
5. of these, what lies mostly within a better box (a poorly seen piece), or around one of its class, goes.

Neighbours that touch share little of what both tiles see, and little of either's box lies within the other's,
so they stay two.
"""

import logging
from collections.abc import Iterator

import numpy as np
import shapely

from ..evaluation.detections import Detections
from ..pieces import connected_components
from .outlines import union

logger = logging.getLogger(__name__)

COVERED = 0.5  # share of a leftover piece within a better box, from which on it is that box's
# Share of a box within a larger one of its class, from which on they are one object; not if it is smaller
# than NESTED_AREA of the other, since a small round neighbour lies in the corner of a large one's box.
NESTED, NESTED_AREA = 0.7, 1 / 16
OUTWARDS = np.array([-1.0, -1, 1, 1])  # of the sides of a box
CHUNK = 100_000  # boxes looked up at a time, which bounds the memory of the pairs


def merge_tiles(
    detections: Detections,
    cut: np.ndarray,
    iou_threshold: float = 0.5,
    margin_px: float = 1.0,
    overlap_px: float = 0.0,
    near: np.ndarray | None = None,
) -> Detections:
    """Merge the detections of overlapping tiles. Class-agnostic, but for boxes within others: the winner's
    class and score.

    Merge before low scores are left out: a whole view with a low score is better evidence than a piece
    with a high one.

    Args:
        detections: of all tiles, in any order. Boxes that are not finite or have no size are
            left out, with a warning.
        cut: bool, shape (N, 4): whether the left, top, right, bottom side of a box lies on a
            side of its tile that is inside the slide, so that the object may go on beyond it.
        iou_threshold: the least IoU, in the shared view, of two boxes of one object.
        margin_px: how far, in base pixels, a cut side may be from the tile's side.
        overlap_px: the least overlap of neighbouring tiles, in base pixels, where every tile with
            tissue was looked at; 0: not known. A piece narrower than that was seen better from the
            neighbouring tile; if nothing there fits it, it is left out. And pieces from tiles that overlap
            less, which are not next to each other, are not joined for having sides that meet.
        near: bool, shape (N, 4): which sides of a box end so near to a side of its tile inside the
            slide that the tile may have cut the object all the same; None: not known.

    Returns:
        One for each object, by descending score; the same for every order of the rows.

    Raises:
        ValueError: not as many rows of sides as detections.
    """
    cut = np.asarray(cut, bool).reshape(-1, 4)
    near = np.zeros_like(cut) if near is None else np.asarray(near, bool).reshape(-1, 4)
    if not len(cut) == len(near) == len(detections):
        raise ValueError(f"{len(detections)} detections, {len(cut)} and {len(near)} rows of sides")
    sound = detections.is_sound()
    if not sound.all():
        logger.warning(f"left out {(~sound).sum()} boxes that are not finite or have no size")
        detections, cut, near = detections.select(sound), cut[sound], near[sound]
    order = _rank(detections, cut)
    detections, cut, near = detections.select(order), cut[order], near[order]
    is_piece: np.ndarray = np.any(cut, axis=1)

    whole = detections.select(~is_piece)
    whole = whole.select(~_seen_in_part(whole.boxes_px, near[~is_piece], iou_threshold, margin_px))
    whole = whole.select(_greedy(len(whole), _pairs(whole, iou_threshold)))

    pieces, cut = detections.select(is_piece), cut[is_piece]
    seen_whole = np.zeros(len(pieces), bool)
    seen_whole[_pieces_of(pieces.boxes_px, cut, whole.boxes_px, iou_threshold, margin_px)] = True
    pieces, cut = pieces.select(~seen_whole), cut[~seen_whole]
    overlap_px = overlap_px - 2 * margin_px
    joined, extent_px = _join(pieces, cut, iou_threshold, margin_px, overlap_px)
    joined = joined.select(extent_px >= overlap_px)

    merged = Detections.concatenate([whole, joined])
    stays = _greedy(len(merged), _leftovers(merged, len(whole), iou_threshold))
    merged = merged.select(stays)
    return merged.select(_rank(merged, np.zeros((len(merged), 4), bool)))


def _rank(detections: Detections, cut: np.ndarray) -> np.ndarray:
    """A total order: descending score, area, then position, class and cut sides."""
    x0, y0, x1, y1 = detections.boxes_px.T
    area = (x1 - x0) * (y1 - y0)
    return np.lexsort((*cut.T, detections.classes, y1, x1, y0, x0, -area, -detections.scores))


def _greedy(n: int, pairs: np.ndarray) -> np.ndarray:
    """Bool (n,): what stays when, from the first on, each box that stays removes its later partners."""
    stays = bytearray(b"\1") * n
    first, second = pairs
    order = np.lexsort((second, first))
    for i, j in zip(first[order].tolist(), second[order].tolist()):
        if stays[i]:
            stays[j] = 0
    return np.frombuffer(stays, bool)


def _seen_in_part(boxes: np.ndarray, near: np.ndarray, iou_threshold: float, margin_px: float) -> np.ndarray:
    """Bool (n,): boxes that end near a side of their tile, and that a larger one fits which goes on there."""
    found = np.zeros(len(boxes), bool)
    suspects = np.flatnonzero(near.any(axis=1))
    uncut = np.zeros((len(boxes), 4), bool)
    for i, j in _touching(boxes[suspects], boxes, 0):
        i = suspects[i]
        beyond = (near[i] & ((boxes[j] - boxes[i]) * OUTWARDS > margin_px)).any(axis=1)
        i, j = i[beyond], j[beyond]
        _, area_i, area_j = _areas(boxes[i], boxes[j])
        iou = _shared_view_iou(boxes[i], near[i], boxes[j], uncut[j], margin_px)
        found[i[(area_j > area_i) & (iou >= iou_threshold)]] = True
    return found


def _pairs(detections: Detections, iou_threshold: float) -> np.ndarray:
    """Pairs i < j of the same object, shape (2, P)."""
    boxes = detections.boxes_px
    found = [np.empty((2, 0), np.int64)]
    for i, j in _touching(boxes, boxes, 0):
        i, j = (v[i < j] for v in (i, j))
        shared, area_i, area_j = _areas(boxes[i], boxes[j])
        same = shared >= iou_threshold * (area_i + area_j - shared)
        same |= _nested(detections, i, j, shared, area_i, area_j)
        found.append(np.stack([i[same], j[same]]))
    return np.concatenate(found, axis=1)


def _nested(
    detections: Detections,
    i: np.ndarray,
    j: np.ndarray,
    shared: np.ndarray,
    area_i: np.ndarray,
    area_j: np.ndarray,
) -> np.ndarray:
    """Bool, shape (P,): whether of each pair, of one class, one box lies mostly within the other."""
    small, large = np.minimum(area_i, area_j), np.maximum(area_i, area_j)
    of_one_class = detections.classes[i] == detections.classes[j]
    return of_one_class & (shared >= NESTED * small) & (small >= NESTED_AREA * large)


def _leftovers(detections: Detections, first: int, iou_threshold: float) -> np.ndarray:
    """Pairs i < j, j from ``first`` on, of the same object or with most of j within i."""
    boxes = detections.boxes_px
    found = [np.empty((2, 0), np.int64)]
    for j, i in _touching(boxes[first:], boxes, 0):
        j = j + first
        i, j = (v[i < j] for v in (i, j))
        shared, area_i, area_j = _areas(boxes[i], boxes[j])
        same = (shared >= iou_threshold * (area_i + area_j - shared)) | (shared >= COVERED * area_j)
        same |= _nested(detections, i, j, shared, area_i, area_j)
        found.append(np.stack([i[same], j[same]]))
    return np.concatenate(found, axis=1)


def _pieces_of(
    pieces: np.ndarray, cut: np.ndarray, whole: np.ndarray, iou_threshold: float, margin_px: float
) -> np.ndarray:
    """Indices of pieces that show the same object as a whole box."""
    uncut = np.zeros((len(whole), 4), bool)
    found = [np.empty(0, np.int64)]
    for i, j in _touching(pieces, whole, margin_px):
        iou = _shared_view_iou(pieces[i], cut[i], whole[j], uncut[j], margin_px)
        found.append(i[iou >= iou_threshold])
    return np.concatenate(found)


def _join(
    pieces: Detections, cut: np.ndarray, iou_threshold: float, margin_px: float, overlap_px: float
) -> tuple[Detections, np.ndarray]:
    """Connected pieces as one box each, with the score and class of the best of them.

    Returns:
        The boxes, and the least extent of each (px, shape (n,)) from a side that is cut in
        all its pieces, along that axis; infinite where the pieces make up a whole.
    """
    boxes = pieces.boxes_px
    found = [np.empty((2, 0), np.int64)]
    for i, j in _touching(boxes, boxes, 2 * margin_px):
        i, j = (v[i < j] for v in (i, j))
        same = _shared_view_iou(boxes[i], cut[i], boxes[j], cut[j], margin_px) >= iou_threshold
        same &= _tile_overlap(boxes[i], cut[i], boxes[j], cut[j]) >= overlap_px
        found.append(np.stack([i[same], j[same]]))
    i, j = np.concatenate(found, axis=1)
    n, label = connected_components(len(boxes), i, j)
    best = np.full(n, len(boxes))
    np.minimum.at(best, label, np.arange(len(boxes)))
    outer, uncut = np.full((n, 4), -np.inf), np.full((n, 4), -np.inf)  # sides, outwards
    np.maximum.at(outer, label, boxes * OUTWARDS)
    np.maximum.at(uncut, label, np.where(cut, -np.inf, boxes * OUTWARDS))
    is_open = uncut < outer - margin_px
    extent_px = np.where(is_open, np.tile(outer[:, 2:] + outer[:, :2], 2), np.inf).min(axis=1)
    order = np.argsort(best)
    best = best[order]
    outlines = None
    if pieces.outlines is not None:
        of_object = [pieces.outlines[label == k] for k in order]
        outlines = np.array([p[0] if len(p) == 1 else union(p, margin_px) for p in of_object], object)
    joined = Detections(
        outer[order] * OUTWARDS,
        pieces.scores[best],
        pieces.classes[best],
        pieces.class_names,
        outlines=outlines,
    )
    return joined, extent_px[order]


def _shared_view_iou(
    a: np.ndarray, cut_a: np.ndarray, b: np.ndarray, cut_b: np.ndarray, margin_px: float
) -> np.ndarray:
    """IoU of pairs of boxes, each clipped to what the tile of the other could see; shape (n,)."""
    view_a, a = _view(a, cut_a, margin_px)
    view_b, b = _view(b, cut_b, margin_px)
    a, b = _clipped(a, view_b), _clipped(b, view_a)
    shared, area_a, area_b = _areas(a, b)
    union = area_a + area_b - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _tile_overlap(a: np.ndarray, cut_a: np.ndarray, b: np.ndarray, cut_b: np.ndarray) -> np.ndarray:
    """How far the tiles of pairs of boxes overlap (n,), as their opposite cut sides tell; else infinite."""
    opposite = [
        np.where(cut_p[:, 2:] & cut_q[:, :2], p[:, 2:] - q[:, :2], np.inf)
        for p, cut_p, q, cut_q in ((a, cut_a, b, cut_b), (b, cut_b, a, cut_a))
    ]
    return np.hstack(opposite).min(axis=1, initial=np.inf)


def _view(boxes: np.ndarray, cut: np.ndarray, margin_px: float) -> tuple[np.ndarray, np.ndarray]:
    """What a tile could see, as far as its box tells, and the box up to there."""
    boxes = boxes + np.where(cut, OUTWARDS * margin_px, 0)
    return np.where(cut, boxes, OUTWARDS * np.inf), boxes


def _clipped(boxes: np.ndarray, views: np.ndarray) -> np.ndarray:
    return np.hstack([np.maximum(boxes[:, :2], views[:, :2]), np.minimum(boxes[:, 2:], views[:, 2:])])


def _areas(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    """Areas of what pairs of boxes share, and of either; each of shape (n,)."""
    common = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    pairs = (common, (a[:, :2], a[:, 2:]), (b[:, :2], b[:, 2:]))
    return [np.prod(np.maximum(high - low, 0), axis=1) for low, high in pairs]


def _touching(
    boxes: np.ndarray, others: np.ndarray, margin_px: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield index arrays (i, j) of boxes within a margin of others, in chunks of boxes."""
    if not len(boxes) or not len(others):
        return
    grown = _diagonals(boxes, margin_px / 2)
    tree = shapely.STRtree(grown if boxes is others else _diagonals(others, margin_px / 2))
    for start in range(0, len(boxes), CHUNK):
        i, j = tree.query(grown[start : start + CHUNK])
        yield i + start, j


def _diagonals(boxes: np.ndarray, margin_px: float) -> np.ndarray:
    """Lines with the bounds of the boxes, which is all that the tree looks at, and quicker to make."""
    return np.asarray(shapely.linestrings((boxes + OUTWARDS * margin_px).reshape(-1, 2, 2)))
