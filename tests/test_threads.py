"""How torch's threads wait, which OpenMP says itself when it is loaded."""

import os
import subprocess
import sys

import pytest
from support import REPO

PROGRAMS = {"mhkd": ["-m", "mhkd", "train"], "train_net.py": ["projects/MHKD/train_net.py"]}
OWN = {"OMP_WAIT_POLICY": "ACTIVE", "OMP_NUM_THREADS": "3"}


@pytest.mark.slow
@pytest.mark.parametrize("program, own", [("mhkd", {}), ("mhkd", OWN), ("train_net.py", {})])
def test_they_sleep_unless_the_user_says_otherwise(program, own):
    environment = {k: v for k, v in os.environ.items() if k not in OWN} | own | {"OMP_DISPLAY_ENV": "TRUE"}
    words = [sys.executable, *PROGRAMS[program], "--config-file", "nowhere.yaml"]
    run = subprocess.run(words, cwd=REPO, env=environment, capture_output=True, text=True)
    assert "nowhere.yaml" in run.stderr
    assert f"OMP_WAIT_POLICY = '{own.get('OMP_WAIT_POLICY', 'PASSIVE')}'" in run.stderr
    if own:
        assert "OMP_NUM_THREADS = '3'" in run.stderr
