import mmap

import numpy as np
import pytest
from soak import memory


def test_slope_is_of_what_goes_on_after_the_warm_up_and_not_of_steps():
    counts = np.arange(0, 1000, 10)
    flat = [(k, 500 if k < 200 else 800) for k in counts.tolist()]  # grows once, at the beginning
    assert memory.slope(flat) == 0
    leak = [(k, 300 + 0.004 * k + (50 if k == 700 else 0)) for k in counts.tolist()]
    assert memory.slope(leak) == pytest.approx(0.004)
    assert 1000 * memory.slope(leak) > memory.MOST_MB
    assert memory.slope([(5, 1.0), (5, 2.0), (10, 2.0), (20, 12.0)]) == pytest.approx(2 / 3)


def test_memory_of_this_process_is_read():
    before = memory.resident_mb()
    with mmap.mmap(-1, 2**24) as ballast:  # not from what was freed before
        ballast.write(b"x" * 2**24)
        assert 10 < memory.resident_mb() - before < 60
