#!/usr/bin/env python
"""CPU seconds and memory of `mhkd --help`, and the seconds over those of a Python that imports click."""

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

FLOOR = ("-c", "import click")
COMMANDS = {
    "mhkd --help": ("-m", "mhkd", "--help"),
    "mhkd tile --help": ("-m", "mhkd", "tile", "--help"),
    "import mhkd": ("-c", "import mhkd"),
}
ROOT = Path(__file__).parents[1]


def measure(arguments: Sequence[str], runs: int) -> tuple[float, float]:
    """Medians over fresh processes.

    Returns:
        User and system CPU seconds; the most resident memory in MB.
    """
    seconds, memory = [], []
    for _ in range(runs):
        with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, cwd=ROOT) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(arguments)}: exit status {process.returncode}")
        seconds.append(usage.ru_utime + usage.ru_stime)
        memory.append(usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3))
    return statistics.median(seconds), statistics.median(memory)


@click.command()
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True, help="Of each.")
def main(runs: int) -> None:
    measure(FLOOR, 1)  # so that its files are in memory
    floor_s, floor_mb = measure(FLOOR, runs)
    click.echo("| command | CPU s | times the floor | MB |\n|---|---:|---:|---:|")
    click.echo(f"| python -c 'import click' (floor) | {floor_s:.2f} | 1 | {floor_mb:.0f} |")
    for name, arguments in COMMANDS.items():
        seconds, memory = measure(arguments, runs)
        click.echo(f"| {name} | {seconds:.2f} | {seconds / floor_s:.1f} | {memory:.0f} |")


if __name__ == "__main__":
    main()
