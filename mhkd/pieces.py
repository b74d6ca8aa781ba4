"""Connected pieces: of a graph, and of a mask, as runs of its pixels.

Written by hand: SciPy and OpenCV, which have the same, would be half of an installation that needs nothing
else of them.
"""

import numpy as np


def connected_components(n: int, i: np.ndarray, j: np.ndarray) -> tuple[int, np.ndarray]:
    """Components of an undirected graph.

    Args:
        n: nodes.
        i: int64, shape (m,), one end of each edge.
        j: the other.

    Returns:
        How many there are, and that of each node, int64, shape (n,), numbered by their first nodes.
    """
    root = np.arange(n)  # of each node: the first node that is known to be in its component
    while len(i):
        i, j = np.minimum(root[i], root[j]), np.maximum(root[i], root[j])
        apart = i < j
        i, j = i[apart], j[apart]
        np.minimum.at(
            root, j, i
        )  # each goes below its first neighbour: two rounds at least halve their number
        while (root != root[root]).any():
            root = root[root]
    first, label = np.unique(root, return_inverse=True)
    return len(first), label


def pieces_of_runs(line: np.ndarray, begin: np.ndarray, end: np.ndarray) -> tuple[int, np.ndarray]:
    """Pieces of a mask: pixels that touch, at corners too, are one.

    Args:
        line: int64, shape (n,), of each run of pixels; sorted by line and begin, with gaps between runs of
            one line.
        begin: int64, of each run on its line.
        end: int64, exclusive.

    Returns:
        How many there are, and that of each run, int64, shape (n,).
    """
    if not len(line):
        return 0, line
    span = int(end.max()) + 1
    lo = np.searchsorted(line * span + end, (line + 1) * span + begin, side="left")
    hi = np.searchsorted(line * span + begin, (line + 1) * span + end, side="right")
    touching = np.maximum(hi - lo, 0)  # runs of the next line
    a = np.repeat(np.arange(len(line)), touching)
    b = np.arange(len(a)) + np.repeat(lo - (np.cumsum(touching) - touching), touching)
    return connected_components(len(line), a, b)


def runs_of_mask(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, begins and ends of the runs of a mask, bool, shape (h, w), for :func:`pieces_of_runs`."""
    change = np.diff(np.pad(mask, ((0, 0), (1, 1))).view(np.int8), axis=1)
    line, begin = np.nonzero(change == 1)
    return line, begin, np.nonzero(change == -1)[1]
