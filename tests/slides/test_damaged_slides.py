"""Some of what `make soak` tries on slides."""

import damaged_slides
import pytest

CASES = damaged_slides.cases(full=True)
DAMAGED = [c for c in CASES if c.startswith("damaged") and "dicom" not in c and "real" not in c][::700]
ODD = [c for c in CASES if c.startswith("odd")][::1000]


@pytest.mark.slow
@pytest.mark.parametrize("case", DAMAGED + ODD)
def test_a_case(case, tmp_path):
    assert damaged_slides.run(case, tmp_path)
