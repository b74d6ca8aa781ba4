#!/usr/bin/env python
"""AP against GFLOPs over several tables and plain detectors: what each network finds for what it costs.

TABLES are JSON files that `mhkd table` wrote, scored on the same images; a line is a table's schedule. Beside
them --plain draws what benchmarks/plain_detector.py found.
"""

import json
from pathlib import Path
from typing import Any

from mhkd.palette import RUNS
from mhkd.visualization.cost import draw_line, over_gflops

import click


def points(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What :func:`mhkd.visualization.cost.draw_line` draws of rows of tables, the cheapest first."""
    rows = sorted(rows, key=lambda row: row["flops"])
    return {
        "gflops": [row["flops"] / 1e9 for row in rows],
        "values": [row["scores"]["AP"]["mean"] for row in rows],
        "intervals": [row["AP_interval"] for row in rows],
        "texts": [""] * len(rows),
    }


@click.command(help=__doc__)
@click.argument("tables", nargs=-1, required=True, metavar="NAME=TABLE.json...")
@click.option("--plain", "plain", multiple=True, metavar="NAME=RESULT.json", help="Any number of them.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="PNG.")
def main(tables: tuple[str, ...], plain: tuple[str, ...], out: Path) -> None:
    lines: dict[str, list[dict[str, Any]]] = {}
    for name, _, path in (word.partition("=") for word in tables):
        for row in json.loads(Path(path).read_text())["rows"]:
            if row["flops"] and row["schedule"] != "direct":
                lines.setdefault(f"{name}, {row['schedule']}", []).append(row)
    with over_gflops(
        out, "AP on low resolution, % (95 % by slide)", "What a student finds, and its cost"
    ) as axes:
        for number, (label, rows) in enumerate(lines.items()):
            draw_line(axes, **points(rows), fmt="o-", color=RUNS[number % len(RUNS)], label=label)
        for name, _, path in (word.partition("=") for word in plain):
            row = json.loads(Path(path).read_text())
            row["scores"] = {"AP": {"mean": row["scores"]["AP"]}}
            draw_line(axes, **points([row]) | {"texts": [name]}, fmt="x", color="black")
        axes.set_ylim(bottom=0)
    click.echo(str(out))


if __name__ == "__main__":
    main()
