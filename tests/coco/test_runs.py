"""Outlines of run-length codes and masks, against dense masks and pycocotools."""

from mhkd.coco.rle import coco_counts, counts_to_runs
from mhkd.coco.runs import TooManyRuns, outlines, split_runs

import numpy as np
import pycocotools.mask
import pytest
from annotations.writers import draw
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label


def runs_of(mask):
    """0-based start and length down the columns."""
    flat = np.concatenate([[0], mask.ravel(order="F"), [0]]).astype(np.int8)
    ends = np.flatnonzero(np.diff(flat))
    return ends[::2], ends[1::2] - ends[::2]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 14), st.integers(1, 14), st.floats(0.1, 0.95))
def test_random_masks_come_back_pixel_by_pixel(seed, height, width, density):
    mask = np.random.default_rng(seed).random((height, width)) < density
    areas = outlines(*split_runs(*runs_of(mask), height))
    assert len(areas) == label(mask, np.ones((3, 3)))[1]  # corners connect
    assert all(a.is_valid for a in areas)
    assert sum(a.area for a in areas) == mask.sum()
    y, x = np.nonzero(mask)
    for area in areas:
        assert area.bounds[0] >= 0 and area.bounds[2] <= width and area.bounds[3] <= height
    drawn = np.zeros_like(mask)
    for area in areas:
        for part in getattr(area, "geoms", [area]):
            drawn |= draw(part, (width, height))
    np.testing.assert_array_equal(drawn, mask)


def test_runs_in_any_order_that_overlap_are_one():
    mask = np.zeros((5, 4), bool)
    mask[1:5, 1] = mask[0:2, 2] = True  # runs 6..9 and 10..11 follow each other over the column end
    (area,) = outlines(*split_runs(np.array([9, 6, 6]), np.array([3, 4, 2]), 5))
    assert area.area == mask.sum() == 6
    assert area.bounds == (1, 0, 3, 5)


def test_a_huge_mask_is_never_made():
    """30000 x 30000 would be 900 MB: here it is one run a column, in kilobytes."""
    side = 30_000
    columns = np.arange(10_000, 10_500)
    (area,) = outlines(*split_runs(columns * side + 20_000, np.full(500, 400), side))
    assert area.bounds == (10_000, 20_000, 10_500, 20_400)
    assert len(area.exterior.coords) == 5


def test_noise_is_refused():
    with pytest.raises(TooManyRuns):
        split_runs(np.array([0]), np.array([10**9]), 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.floats(0, 1))
def test_compressed_counts_as_pycocotools_writes_them(seed, height, width, density):
    mask = np.random.default_rng(seed).random((height, width)) < density
    text = pycocotools.mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    start, length = counts_to_runs(coco_counts(text))
    expected = runs_of(mask)
    np.testing.assert_array_equal(start[length > 0], expected[0])
    np.testing.assert_array_equal(length[length > 0], expected[1])
    if text[:-1]:
        with pytest.raises(ValueError):
            coco_counts(chr(ord(text[0]) | 0x80) + text[1:])


def test_hubmap_runs_mean_what_pycocotools_makes_of_them():
    """frPyObjects of the alternating counts is the mask that the outlines are drawn from."""
    pairs = np.array([[4, 3], [9, 2], [15, 6]])  # 1-based start and length, height 6, width 5
    counts, at = [], 0
    for start, n in pairs:
        counts += [int(start) - 1 - at, int(n)]
        at = int(start) - 1 + int(n)
    counts.append(30 - at)
    code = pycocotools.mask.frPyObjects({"size": [6, 5], "counts": counts}, 6, 5)
    areas = outlines(*split_runs(pairs[:, 0] - 1, pairs[:, 1], 6))
    drawn = np.logical_or.reduce([draw(a, (5, 6)) for a in areas])
    np.testing.assert_array_equal(drawn, pycocotools.mask.decode(code).astype(bool))
