"""Which tiles are used, by hand."""

from types import SimpleNamespace

from mhkd.pairing.align import Aligned
from mhkd.pairing.alignment import Alignment
from mhkd.pairing.check import check_tile
from mhkd.pairing.patches import Lattice

import numpy as np
import pytest

LR, HR = SimpleNamespace(mpp=4.0), SimpleNamespace(size_px=(1024, 1024))


def check(error_px, is_tissue=None, x_px=0, shift=(0, 0), limit_um=4.0):
    """A tile of 128 LR pixels, 2 by 2 squares, of a slide of 4 by 4 whose errors are given."""
    lattice = Lattice(4.0, (64.0, 64.0), (4, 4))
    held_out = np.indices((4, 4)).sum(0) % 2 == 1
    errors = np.full((4, 4), np.nan)
    errors[held_out] = error_px
    tissue = np.ones((4, 4), bool) if is_tissue is None else is_tissue
    affine = np.array([[4.0, 0, shift[0]], [0, 4, shift[1]]])
    aligned = Aligned(Alignment(affine), lattice, tissue, errors, held_out, 1.0)
    return check_tile(HR, LR, {"x_px": x_px, "y_px": 0}, 128, aligned, limit_um)


def test_an_error_is_the_root_mean_square_of_squares_that_were_held_out():
    # (0, 1) and (1, 0) are held out, 0.3 and 0.4 LR pixels off: sqrt(0.125) pixels of 4 um
    found = check([0.3, np.nan, 0.4, *[9] * 5])
    assert found["error_um"] == pytest.approx(4 * np.sqrt(0.125), abs=1e-3)
    assert (found["squares"], found["left_out"]) == (2, "")


@pytest.mark.parametrize(
    "how, reason",
    [
        ({"error_px": [1.1] * 8}, "error above the limit"),
        ({"error_px": [1.1] * 8, "limit_um": 5.0}, ""),
        ({"error_px": [np.nan] * 8}, "cannot be checked"),
        ({"error_px": [0.1] * 8, "is_tissue": np.zeros((4, 4), bool)}, "cannot be checked"),
        # none of its own is tissue, but the one at (2, 1) is, beside them, the fifth that was held out
        ({"error_px": [*[9] * 4, 0.1, *[9] * 3], "is_tissue": np.arange(16).reshape(4, 4) == 9}, ""),
        # one of the two is enough; of a tile that touches three, at 32 px, one is not
        ({"error_px": [0.1, np.nan, np.nan, *[9] * 5]}, ""),
        ({"error_px": [0.1, *[np.nan] * 3, *[9] * 4], "x_px": 32}, "cannot be checked"),
        ({"error_px": [0.1] * 8, "shift": (-1, 0)}, "not whole on the HR slide"),
        ({"error_px": [0.1] * 8, "shift": (512, 0)}, ""),
        ({"error_px": [0.1] * 8, "shift": (513, 0)}, "not whole on the HR slide"),
    ],
)
def test_why_a_tile_is_left_out(how, reason):
    assert check(**how)["left_out"] == reason
