"""Threads of torch that do not take a shared machine's time while they wait for each other."""

import os

# OpenMP's threads spin while they wait. Where another process has one of the processors, all spin for the one
# that does not run: forty times as slow on two processors. Asleep, they leave the processor to it.
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}  # of every OpenMP; of Intel's and LLVM's, ms


def wait_asleep() -> None:
    """Have OpenMP's threads of this process and of those that it starts sleep while they wait.

    It is read once, when torch is imported, and what a user has set stays.
    """
    for variable, value in PASSIVE.items():
        os.environ.setdefault(variable, value)
