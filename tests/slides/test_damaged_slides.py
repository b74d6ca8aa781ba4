"""Some of what `make soak` tries on slides."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "soak"))
import damaged_slides

CASES = damaged_slides.cases(full=True)
DAMAGED = [c for c in CASES if c.startswith("damaged") and "dicom" not in c and "real" not in c][::700]
ODD = [c for c in CASES if c.startswith("odd")][::1000]


@pytest.mark.slow
@pytest.mark.parametrize("case", DAMAGED + ODD)
def test_a_case(case, tmp_path):
    assert damaged_slides.run(case, tmp_path)
