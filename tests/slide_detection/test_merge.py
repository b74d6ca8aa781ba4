import logging

from mhkd.slide_detection import Detections, merge_tiles

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = ("normal", "sclerotic")
LEFT, TOP, RIGHT, BOTTOM = np.eye(4, dtype=bool)
WHOLE = np.zeros(4, bool)


def detections(boxes, scores=None, classes=None):
    n = len(boxes)
    return Detections(boxes, [0.9] * n if scores is None else scores, classes or [0] * n, NAMES)


def merge(boxes, cut, scores=None, classes=None, **kwargs):
    return merge_tiles(detections(boxes, scores, classes), np.array(cut), **kwargs)


def sorted_rows(boxes):
    return sorted(map(tuple, np.asarray(boxes).tolist()))


def cut_by_grid(boxes, slide_px, tile_px, overlap_px, shift_px=(0, 0)):
    """What a perfect detector sees in each tile: clipped boxes and their cut sides."""
    axes = []
    for size, tile, overlap, shift in zip(slide_px, tile_px, overlap_px, shift_px):
        starts = np.arange(-shift, size - overlap, tile - overlap)
        axes.append([(max(a, 0), min(a + tile, size)) for a in starts if a + tile > 0])
    found, cuts = [], []
    for y0, y1 in axes[1]:
        for x0, x1 in axes[0]:
            tile = np.array([x0, y0, x1, y1], float)
            seen = np.hstack([np.maximum(boxes[:, :2], tile[:2]), np.minimum(boxes[:, 2:], tile[2:])])
            seen = seen[(seen[:, 2:] > seen[:, :2]).all(axis=1)]
            inner = [x0 > 0, y0 > 0, x1 < slide_px[0], y1 < slide_px[1]]
            found.append(seen)
            cuts.append((seen == tile) & inner)
    return np.concatenate(found), np.concatenate(cuts)


@st.composite
def scenes(draw, overlap_of_box, least_overlap=4):
    """Boxes in rows and columns that touch or have gaps, none within another; and a grid."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    biggest = draw(st.integers(20, 60))
    boxes, y = [], rng.uniform(0, 10)
    while len(boxes) < 60 and y < 400:
        x, height = rng.uniform(0, 10), rng.uniform(biggest / 2, biggest)
        while x < 500:
            width = rng.uniform(biggest / 2, biggest)
            boxes.append([x, y, x + width, y + height * rng.uniform(0.5, 1)])
            x += width + rng.choice([0, 0, rng.uniform(0, 40)])
        y += height + rng.choice([0, rng.uniform(0, 40)])
    boxes = np.array(boxes)
    slide_px = tuple(boxes[:, 2:].max(axis=0) + rng.uniform(0, 30, 2))
    low, high = overlap_of_box
    overlap = [max(least_overlap, rng.uniform(low, high) * biggest) for _ in range(2)]
    tile = [o + rng.uniform(10, 150) for o in overlap]
    shift = [rng.uniform(0, t) for t in tile]
    return boxes, slide_px, tile, overlap, shift, rng


@settings(max_examples=50, deadline=None)
@given(scenes((1.0, 2.0)))
def test_every_box_comes_back_where_each_is_whole_in_some_tile(scene):
    boxes, *grid, rng = scene
    pieces, cut = cut_by_grid(boxes, *grid)
    scores = rng.uniform(0.05, 1, len(pieces))
    for overlap_px in (0, min(grid[2])):
        merged = merge(pieces, cut, scores, overlap_px=overlap_px)
        assert sorted_rows(merged.boxes_px) == sorted_rows(boxes)


@settings(max_examples=50, deadline=None)
@given(scenes((0.0, 1.0)))
def test_every_box_comes_back_where_some_are_whole_in_no_tile(scene):
    boxes, *grid, rng = scene
    pieces, cut = cut_by_grid(boxes, *grid)
    merged = merge(pieces, cut, rng.uniform(0.05, 1, len(pieces)), overlap_px=min(grid[2]))
    assert sorted_rows(merged.boxes_px) == sorted_rows(boxes)


@settings(max_examples=20, deadline=None)
@given(scenes((0.2, 1.5)))
def test_order_of_tiles_and_boxes_is_of_no_matter(scene):
    boxes, *grid, rng = scene
    pieces, cut = cut_by_grid(boxes, *grid)
    pieces = pieces + rng.normal(0, 1, pieces.shape)  # copies that differ
    scores = rng.choice([0.5, 0.7, 0.9], len(pieces))  # and tie
    classes = rng.integers(0, 2, len(pieces))
    first = merge_tiles(Detections(pieces, scores, classes, NAMES), cut)
    order = rng.permutation(len(pieces))
    second = merge_tiles(Detections(pieces, scores, classes, NAMES).select(order), cut[order])
    for column in ("boxes_px", "scores", "classes"):
        np.testing.assert_array_equal(getattr(first, column), getattr(second, column))


def test_grid_without_overlap_joins_pieces_that_only_meet():
    boxes = np.array([[10, 10, 60, 50], [70.0, 80, 130, 140]])
    pieces, cut = cut_by_grid(boxes, (200, 200), (32, 32), (0, 0))
    assert len(pieces) > 8
    assert sorted_rows(merge(pieces, cut).boxes_px) == sorted_rows(boxes)


def test_whole_box_wins_over_piece_with_higher_score():
    merged = merge([[0, 0, 60, 100], [0, 0, 100, 100]], [RIGHT, WHOLE], [0.99, 0.6], [0, 1])
    assert merged.boxes_px.tolist() == [[0, 0, 100, 100]]
    assert merged.scores.tolist() == pytest.approx([0.6])
    assert merged.classes.tolist() == [1]


def test_of_whole_copies_the_best_stays_with_its_class():
    boxes = [[0, 0, 100, 100], [2, 2, 101, 101], [0, 0, 99, 98]]
    merged = merge(boxes, [WHOLE] * 3, [0.5, 0.8, 0.7], [0, 1, 0])
    assert merged.boxes_px.tolist() == [boxes[1]] and merged.classes.tolist() == [1]


def test_joined_box_has_score_and_class_of_its_best_piece():
    merged = merge([[0, 0, 100, 50], [80, 0, 150, 50]], [RIGHT, LEFT], [0.7, 0.8], [0, 1])
    assert merged.boxes_px.tolist() == [[0, 0, 150, 50]]
    assert merged.scores.tolist() == pytest.approx([0.8]) and merged.classes.tolist() == [1]


def test_touching_neighbours_stay_two_at_a_seam():
    """Tiles end at x = 110 and begin at x = 90; the neighbours meet, or overlap by 8 px."""
    for edge in (100, 92):
        a, b = [0, 0, 100, 100], [edge, 0, 200, 100]
        boxes = [a, [edge, 0, 110, 100], [90, 0, 100, 100], b]
        merged = merge(boxes, [WHOLE, RIGHT, LEFT, WHOLE])
        assert sorted_rows(merged.boxes_px) == sorted_rows([a, b])


def test_touching_neighbours_stay_two_where_tiles_meet_that_are_not_next_to_each_other():
    """Tiles of 40 px begin every 20 px: every other one begins where one ends, at the neighbours' side."""
    boxes = np.array([[10.0, 5, 60, 35], [60, 5, 110, 35]])
    pieces, cut = cut_by_grid(boxes, (120, 40), (40, 40), (20, 20))
    assert sorted_rows(merge(pieces, cut, overlap_px=20).boxes_px) == sorted_rows(boxes)


def test_noisy_copies_are_one():
    rng = np.random.default_rng(0)
    x, y = (v.ravel() * 150.0 for v in np.meshgrid(np.arange(12), np.arange(12)))
    boxes = np.stack([x, y, x + 100, y + 90], axis=1) + 20
    pieces, cut = cut_by_grid(boxes, (1840, 1840), (500, 500), (130, 130))
    pieces = pieces + np.where(cut, 0, rng.normal(0, 4, pieces.shape))
    merged = merge(pieces, cut, rng.uniform(0.5, 1, len(pieces)), overlap_px=130)
    assert len(pieces) > 1.5 * len(boxes)
    assert len(merged) == len(boxes)


def test_a_box_mostly_within_another_of_its_class_is_one_object_with_it():
    outer, inner = [0, 0, 100, 100], [5, 40, 65, 98]  # IoU 0.35
    for scores, best in (([0.9, 0.8], outer), ([0.7, 0.8], inner)):
        assert merge([outer, inner], [WHOLE] * 2, scores).boxes_px.tolist() == [best]
    assert len(merge([outer, inner], [WHOLE] * 2, classes=[0, 1])) == 2
    assert len(merge([outer, [60, 40, 120, 98]], [WHOLE] * 2)) == 2  # two thirds of it within
    joined = merge([[-50, -50, 60, 150], [40, -50, 150, 150], inner], [RIGHT, LEFT, WHOLE])
    assert len(joined) == 1


@pytest.mark.parametrize("radius", [10, 20, 30, 50])
def test_round_neighbours_that_touch_stay_two_however_small_one_is(radius):
    """At 45 degrees, where their boxes share most."""
    middle = 50 + (50 + radius) / np.sqrt(2)
    boxes = [[0, 0, 100, 100], [*[middle - radius] * 2, *[middle + radius] * 2]]
    assert sorted_rows(merge(boxes, [WHOLE] * 2, [0.6, 0.9]).boxes_px) == sorted_rows(boxes)


def test_box_that_ends_short_of_its_tile_goes_with_the_whole():
    """Tiles end at x = 50 and begin at x = 0; the box of what the first saw ends at 45 or at 40."""
    whole = [0, 0, 100, 100]
    for end in (45, 40):
        merged = merge([[2, 3, end, 97], whole], [WHOLE] * 2, [0.9, 0.6], [1, 0], near=[RIGHT, WHOLE])
        assert merged.boxes_px.tolist() == [whole] and merged.classes.tolist() == [0]
    # A neighbour that ends there shows little of what the whole one does.
    boxes = [[-50, 0, 45, 100], [40, 0, 140, 100]]
    assert sorted_rows(merge(boxes, [WHOLE] * 2, near=[RIGHT, LEFT]).boxes_px) == sorted_rows(boxes)
    # Two that are both near a side, and neither is larger: the better one.
    boxes = [[0, 0, 95, 100], [5, 0, 100, 100]]
    assert merge(boxes, [WHOLE] * 2, [0.8, 0.7], near=[RIGHT, LEFT]).boxes_px.tolist() == boxes[:1]


def test_piece_that_a_detector_saw_badly_goes_with_the_whole():
    """A third of the whole's height is all that the tile saw, and its box is too short."""
    merged = merge([[0, 0, 100, 100], [20, 0, 60, 30]], [WHOLE, BOTTOM])
    assert merged.boxes_px.tolist() == [[0, 0, 100, 100]]


def test_piece_that_the_next_tile_saw_better_and_did_not_confirm():
    """The next tile has the 40 px at least that overlap; a larger object it would see in part only."""
    small, large = [[0, 0, 30, 100]], [[0, 0, 70, 100]]
    assert len(merge(small, [RIGHT], overlap_px=40)) == 0
    assert len(merge(small, [RIGHT])) == 1
    assert merge(large, [RIGHT], overlap_px=40).boxes_px.tolist() == large


def test_unusable_boxes_are_left_out_and_counted(caplog):
    boxes = [[0, 0, 10, 10], [np.nan, 0, 1, 1], [0, 0, np.inf, 1], [5, 5, 5, 9], [9, 9, 1, 1]]
    with caplog.at_level(logging.WARNING):
        merged = merge(boxes, [WHOLE] * 5)
    assert merged.boxes_px.tolist() == [[0, 0, 10, 10]]
    assert "left out 4 boxes" in caplog.text


def test_none():
    assert len(merge(np.empty((0, 4)), np.empty((0, 4), bool))) == 0


@pytest.mark.slow
def test_many_touching_boxes_in_little_time_and_memory():
    """10 000 boxes in four copies: all pairs would take 13 GB."""
    side = 100
    x, y = (v.ravel() * 100.0 for v in np.meshgrid(np.arange(side), np.arange(side)))
    boxes = np.stack([x, y, x + 100, y + 100], axis=1)
    copies = np.concatenate([boxes + d for d in (0, 1, 2, 3)])
    scores = np.repeat([0.9, 0.8, 0.7, 0.6], len(boxes))
    merged = merge_tiles(Detections(copies, scores, np.zeros(len(copies)), NAMES), np.zeros((len(copies), 4)))
    assert sorted_rows(merged.boxes_px) == sorted_rows(boxes)


def test_detections_refuse_columns_that_do_not_fit():
    with pytest.raises(ValueError, match="2 boxes, 1 scores"):
        Detections(np.zeros((2, 4)), [0.5], [0, 0], NAMES)
    with pytest.raises(ValueError, match="classes 0 to 2"):
        Detections(np.zeros((2, 4)), [0.5, 0.5], [0, 2], NAMES)
