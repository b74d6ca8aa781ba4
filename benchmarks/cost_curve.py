#!/usr/bin/env python
"""AP against GFLOPs over several tables and plain detectors: what each network finds for what it costs.

TABLES are JSON files that `mhkd table` wrote, scored on the same images; a line is a table's schedule. Beside
them --plain draws what benchmarks/plain_detector.py found.
"""

import json
from pathlib import Path
from typing import Any

from mhkd.visualization.comparison import plot_cost

import click


@click.command(help=__doc__)
@click.argument("tables", nargs=-1, required=True, metavar="NAME=TABLE.json...")
@click.option("--plain", "plain", multiple=True, metavar="NAME=RESULT.json", help="Any number of them.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="PNG.")
def main(tables: tuple[str, ...], plain: tuple[str, ...], out: Path) -> None:
    rows: list[dict[str, Any]] = []
    for name, _, path in (word.partition("=") for word in tables):
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        trained = [row for row in content["rows"] if row["schedule"] != "direct"]
        rows += [row | {"schedule": f"{name}, {row['schedule']}", "title": ""} for row in trained]
    for name, _, path in (word.partition("=") for word in plain):
        row = json.loads(Path(path).read_text(encoding="utf-8"))
        rows.append(row | {"schedule": name, "title": "", "scores": {"AP": {"mean": row["scores"]["AP"]}}})
    plot_cost(content | {"rows": rows, "title": "what a student finds, and its cost"}, out)
    click.echo(str(out))


if __name__ == "__main__":
    main()
