"""Two of `make soak`'s kills: of a training before a call that changes a file, of a slide at a byte."""

import kills
import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("case", ["classification call 6 of 8", "slide byte 3 of 8"])
def test_what_was_killed_ends_as_what_was_not(case, tmp_path):
    assert case in kills.cases(full=True)
    assert kills.run(case, tmp_path) == "identical"
