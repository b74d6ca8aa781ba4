from mhkd.pieces import connected_components, pieces_of_runs, runs_of_mask

import cv2
import numpy as np
import pytest


def test_components_are_numbered_by_their_first_nodes():
    n, of = connected_components(6, np.array([5, 1, 1]), np.array([3, 4, 1]))
    assert (n, of.tolist()) == (4, [0, 1, 2, 3, 1, 3])
    assert connected_components(0, np.empty(0, int), np.empty(0, int))[0] == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_long_chain_in_any_order_is_one(seed):
    chain = np.random.default_rng(seed).permutation(20_000)
    n, of = connected_components(len(chain), chain[:-1], chain[1:])
    assert n == 1 and not of.any()
    n, of = connected_components(len(chain), chain[:-1:2], chain[1::2])
    assert n == len(chain) // 2 and (of[chain[::2]] == of[chain[1::2]]).all()


@pytest.mark.parametrize("density", [0.1, 0.4, 0.7])
def test_pieces_of_a_mask_are_those_of_opencv(density):
    mask = np.random.default_rng(1).random((90, 70)) < density
    line, begin, end = runs_of_mask(mask)
    n, piece = pieces_of_runs(line, begin, end)
    expected, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    assert n == expected - 1
    pairs = set(zip(np.repeat(piece, end - begin).tolist(), labels[mask].tolist()))
    assert len(pairs) == n
