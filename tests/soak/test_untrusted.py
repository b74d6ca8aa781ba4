"""A few of the soak's damaged and hostile files of each kind."""

import pytest
import untrusted

FEW = {"structure": 8, "bytes": 4, "reformatted": 1}
SLOW = ("student", "training", "results scored", "dataset of", "annotations ndpa", "journal of detection")


@pytest.mark.parametrize("name", [name for name in untrusted.KINDS if not any(s in name for s in SLOW)])
def test_a_damaged_file_is_one_line_or_is_read(name, tmp_path):
    for way, count in FEW.items():
        together = [c for c in untrusted.cases(True) if c.startswith(f"{name}/{way}/")][:count]
        if together:
            found = untrusted.run_together(together, tmp_path / way)
            assert {word for word, _ in found} <= {untrusted.REFUSED, untrusted.SAME, untrusted.OTHER}
