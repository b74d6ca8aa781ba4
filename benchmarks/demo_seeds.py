#!/usr/bin/env python
"""What the teacher adds to LR alone in `mhkd demo`, in several seeds of slides and training, and its spread.

Stopped, it goes on where it was. OUT/demo_seeds.json has the figures.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from mhkd.demo import STORIES, gain
from mhkd.files import write_json

import click
import torch

ROOT = Path(__file__).parents[1]


@click.command(help=__doc__)
@click.option("--seeds", default="0,1,2", show_default=True)
@click.option("--steps", type=click.Choice(list(STORIES)), default="recommended", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="output/demo_seeds", show_default=True)
def main(seeds: str, steps: str, out: Path) -> None:
    rows = {}
    for seed in map(int, seeds.split(",")):
        folder = out / f"seed{seed}"
        words = [
            sys.executable,
            "-m",
            "mhkd",
            "demo",
            "--out",
            str(folder),
            "--seed",
            str(seed),
            "--steps",
            steps,
        ]
        subprocess.run(words, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
        results = json.loads(
            (folder / ("" if steps == "recommended" else steps) / "results.json").read_text()
        )
        rows[seed] = {
            "teacher": results["teacher_hr"]["AP"],
            "direct": results["direct_lr"]["AP"],
            "lr_only": results["lr_only"]["AP"],
            "gain": round(gain(results), 2),
        }
    gains = [row["gain"] for row in rows.values()]
    report = {
        "steps": steps, "torch": torch.__version__, "machine": platform.processor() or platform.machine(),
        "threads": os.environ.get("OMP_NUM_THREADS", "default"), "seeds": rows,
        "gain": {"mean": round(statistics.mean(gains), 2), "least": min(gains), "greatest": max(gains)},
    }  # fmt: skip
    write_json(report, out / "demo_seeds.json")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
