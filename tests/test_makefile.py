import os
import shlex
import shutil
import subprocess

import pytest
from support import REPO


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
@pytest.mark.parametrize("target", ["train", "eval"])
def test_overrides_get_past_the_shell(target):
    opts = "DATASETS.TRAIN ('mine_train',) SOLVER.STEPS (10,20) MHKD.SCHEDULE none"
    command = ["make", "-n", target, "PY=python", f"OPTS={opts}"]
    outside = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}  # of `make test` itself
    run = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True, env=outside)
    printed = run.stdout
    assert shlex.split(printed)[-6:] == opts.split()
