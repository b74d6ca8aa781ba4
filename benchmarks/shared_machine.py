#!/usr/bin/env python
"""Seconds of training iterations alone and beside busy processes, with threads that spin while they wait for
each other, as OpenMP has it, and with threads that sleep, as `mhkd` asks for.

Each figure is of a process of its own that takes the first step of `mhkd demo`. Policies and neighbours take
turns in every round, so that all see the same machine; figures are medians of the rounds. The machine's load
at the beginning is in the JSON: what else runs there counts as a neighbour too.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from mhkd.commands.numbers import FROM_1
from mhkd.threads import PASSIVE

import click

ROOT = Path(__file__).parents[1]
POLICIES = {"spinning": {}, "passive": PASSIVE}
BUSY = "while True: pass"
ITERATIONS = """
import sys, time
import mhkd
from mhkd.config_files import find_config
from mhkd.schedules import get_schedule
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from training_step import make_batch

cfg = mhkd.load_cfg(find_config("Demo/mhkd_R18_FPN_cpu.yaml"))
model, batch = build_model(cfg), make_batch(192, "cpu")
model.apply_stage(get_schedule("mhkd").steps[0])
model.train()
with EventStorage():
    for i in range(int(sys.argv[1]) + 2):
        if i == 2:
            start = time.perf_counter()
        sum(model(batch).values()).backward()
        model.zero_grad(set_to_none=True)
print(time.perf_counter() - start)
"""


def measure(policy: dict[str, str], busy: int, iterations: int) -> float:
    """Seconds of so many iterations beside ``busy`` processes that do nothing but compute."""
    environment = {
        k: v for k, v in os.environ.items() if k not in (*PASSIVE, "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    }
    environment |= {"PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}"} | policy
    neighbours = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(busy)]
    try:
        out = subprocess.run(
            [sys.executable, "-c", ITERATIONS, str(iterations)],
            env=environment, check=True, stdout=subprocess.PIPE, text=True,
        ).stdout  # fmt: skip
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()
    return float(out.split()[-1])


@click.command(help=__doc__)
@click.option("--iterations", type=FROM_1, default=20, show_default=True)
@click.option("--busy", type=FROM_1, default=1, show_default=True, help="Busy processes beside it.")
@click.option("--rounds", type=FROM_1, default=3, show_default=True)
def main(iterations: int, busy: int, rounds: int) -> None:
    load, started = os.getloadavg()[0], time.strftime("%H:%M")
    seconds: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for policy, variables in POLICIES.items():
            for neighbours in (0, busy):
                found = measure(variables, neighbours, iterations)
                seconds.setdefault((policy, neighbours), []).append(found)
                click.echo(f"{policy}, {neighbours} busy: {found:.1f} s", err=True)
    report = {"iterations": iterations, "processors": os.cpu_count(), "load": load, "started": started}
    for policy in POLICIES:
        alone, beside = (round(statistics.median(seconds[policy, n]), 2) for n in (0, busy))
        report[policy] = {"alone_s": alone, f"beside_{busy}_s": beside, "ratio": round(beside / alone, 2)}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
