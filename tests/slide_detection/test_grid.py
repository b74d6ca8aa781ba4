import itertools

import mhkd  # noqa: F401  (first)
from mhkd.slide_detection.grid import lay_grid

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def grid_of(mask, mask_px=1, tile_px=10, overlap_px=4, shift_px=0):
    size = tuple(int(n * mask_px) for n in mask.shape[::-1])
    return lay_grid(mask, mask_px, size, tile_px, overlap_px, shift_px)


def test_tissue_everywhere_is_a_lattice_whose_last_tile_is_flush():
    grid = grid_of(np.ones((1, 25), bool))
    # cores: 0-8, then 6 a tile: 8-14, 14-20, 20-25
    assert grid.corners == ((0, 0), (6, 0), (12, 0), (15, 0))
    assert grid.tile_px == (10, 1)
    assert grid.inner_sides(0) == (False, False, True, False)
    assert grid.inner_sides(1) == (True, False, True, False)
    assert grid.inner_sides(3) == (True, False, False, False)


def test_tiles_begin_where_tissue_does():
    mask = np.zeros((40, 60), bool)
    mask[20:26, 30:36] = True
    assert grid_of(mask).corners == ((28, 18),)  # its core is the 6 x 6 of tissue
    mask[26, 35] = True
    # the second band holds one pixel of tissue, and begins with it
    assert grid_of(mask).corners == ((28, 18), (33, 24))


def test_glass_has_no_tiles():
    assert grid_of(np.zeros((40, 60), bool)).corners == ()


def test_slide_smaller_than_a_tile_is_one_tile():
    grid = grid_of(np.ones((4, 7), bool), tile_px=100, overlap_px=30)
    assert (grid.corners, grid.tile_px) == (((0, 0),), (7, 4))
    assert grid.inner_sides(0) == (False,) * 4


def test_shift_moves_the_tiles_at_the_slides_edge_too():
    mask = np.ones((1, 40), bool)
    plain, shifted = grid_of(mask), grid_of(mask, shift_px=3)
    assert [x for x, _ in plain.corners] == [0, 6, 12, 18, 24, 30]
    assert [x for x, _ in shifted.corners] == [0, 3, 9, 15, 21, 27, 30]


def test_a_shifted_tile_is_not_laid_twice():
    assert grid_of(np.ones((10, 10), bool), shift_px=5).corners == ((0, 0),)


@settings(max_examples=60, deadline=None)
@given(
    rects=st.lists(st.tuples(*[st.integers(0, 50)] * 4), min_size=1, max_size=4),
    mask_px=st.sampled_from([0.7, 1.0, 2.9]),
    tile_px=st.integers(8, 40),
    overlap_share=st.floats(0, 0.5),
    shift_px=st.integers(0, 30),
)
def test_an_object_in_tissue_as_large_as_the_overlap_lies_whole_in_a_tile(
    rects, mask_px, tile_px, overlap_share, shift_px
):
    mask = np.zeros((51, 63), bool)
    for x0, x1, y0, y1 in rects:
        mask[min(y0, y1) : max(y0, y1) + 1, min(x0, x1) : max(x0, x1) + 1] = True
    width, height = (int(np.ceil(n * mask_px)) for n in mask.shape[::-1])
    overlap = overlap_share * tile_px
    grid = lay_grid(mask, mask_px, (width, height), tile_px, overlap, shift_px)
    assert len(set(grid.corners)) == len(grid.corners)
    (tile_w, tile_h), half = grid.tile_px, overlap / 2
    corners = np.array(grid.corners)
    assert (corners >= 0).all() and (corners + grid.tile_px <= (width, height)).all()
    rows, columns = np.nonzero(mask)
    for i, j in itertools.islice(zip(rows, columns), 0, None, 7):  # middles of objects
        for x, y in ((j * mask_px, i * mask_px), ((j + 0.99) * mask_px, (i + 0.99) * mask_px)):
            low = np.maximum([x - half, y - half], 0)
            high = np.minimum([x + half, y + half], (width, height))
            inside = (corners <= low + 1e-9) & (corners + (tile_w, tile_h) >= high - 1e-9)
            assert inside.all(axis=1).any(), (x, y)


def test_few_tiles_for_scattered_tissue():
    mask = np.zeros((100, 100), bool)
    mask[10:14, 5:9] = mask[50:54, 70:74] = mask[80:84, 31:35] = True
    assert len(grid_of(mask).corners) == 3


@pytest.mark.parametrize("overlap_px", [3, 4])
def test_overlap_is_at_least_what_was_asked_for(overlap_px):
    xs = [x for x, _ in grid_of(np.ones((1, 101), bool), overlap_px=overlap_px).corners]
    assert min(10 - np.diff(xs)) >= overlap_px
