"""Loaded by each Dask worker: the first that comes to call MHKD_END_AT that changes a file is killed."""

import os
import signal
from pathlib import Path

from _killed import DIED, Calls


def dask_setup(worker):
    Calls("out", int(os.environ["MHKD_END_AT"]), die)


def die():
    if not os.path.exists(DIED):
        Path(DIED).touch()
        os.kill(os.getpid(), signal.SIGKILL)
