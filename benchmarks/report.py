#!/usr/bin/env python
"""`make bench`: the benchmarks one after the other, as benchmarks/README.md and report.png.

What each prints is kept in OUT, so that a report that was stopped goes on with the next. The slides are those
of `make demo`, which comes first, and the student that is run on them is the one it taught.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import mhkd  # noqa: F401  (first)
from mhkd.comparison.provenance import commit, hardware
from mhkd.demo import STORIES
from mhkd.files import replacing, write_json, write_text
from mhkd.palette import RUNS

import click
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
SLIDES = ("slide_000.tiff", "slide_006.tiff", "slide_010.tiff")  # the demo's that nothing is trained on


class Part(NamedTuple):
    """A benchmark: what it is called in the report, and its command after python."""

    title: str
    command: list[str]


def parts(out: Path, demo: Path, students: tuple[str, ...], calibrate_on: tuple[str, ...]) -> dict[str, Part]:
    slides, student = demo / "slides", str(demo / STORIES["recommended"].taught / "student")
    section = str(slides / SLIDES[0])
    given = [word for named in students for word in ("--student", named)]
    given += [word for source in calibrate_on for word in ("--calibrate-on", source)]
    return {
        "training_step": Part(
            "A training step over its floor",
            ["training_step.py", "--rounds", "7", "--out", str(out / "training_step.json")],
        ),
        "students": Part(
            "An image: teacher, students, ONNX, int8",
            ["students.py", *given, "--out", str(out / "students.json")],
        ),
        "slide_detection": Part(
            "A slide, beside SAHI and a plain loop",
            [
                "slide_detection.py",
                *(str(slides / n) for n in SLIDES),
                "--columns",
                "3",
                "--student",
                student,
            ],
        ),
        "detection_memory": Part(
            "Memory against the size of a slide", ["detection_memory.py", section, "--student", student]
        ),
        "merging": Part("Joining what tiles have cut", ["merging.py"]),
        "startup": Part("Start-up", ["startup.py"]),
        "laboratory": Part("Installation", ["../.ci/laboratory.py", "--max-seconds", "600"]),
    }


def measure(name: str, part: Part, out: Path) -> dict[str, Any]:
    """What the part printed, with commit and machine; what was kept is not measured again."""
    kept = out / f"{name}.kept.json"
    if not kept.exists():
        click.echo(f"{part.title} ...", err=True)
        run = subprocess.run([sys.executable, *part.command], cwd=HERE, stdout=subprocess.PIPE, text=True)
        if run.returncode:
            raise click.ClickException(
                f"benchmarks/{part.command[0]}: ended with status {run.returncode}, see above"
            )
        write_json({"printed": run.stdout.strip(), "commit": commit(), "machine": hardware()}, kept)
    return json.loads(kept.read_text())


def section(part: Part, measured: dict[str, Any]) -> str:
    """A heading, the command, and the table or the lines that it printed."""
    printed, script = measured["printed"], Path(part.command[0])
    is_table = any(line.startswith("|") for line in printed.splitlines())
    body = printed if is_table else f"```\n{printed}\n```"
    source = f"`{script.name}`, commit {measured['commit']}, {measured['machine']}."
    return f"## {part.title}\n\n{source}\n\n{body}\n"


def draw(students: list[dict[str, Any]], steps: list[dict[str, Any]], path: Path) -> None:
    """How many times as fast each student is, and each training step over its floor."""
    figure = Figure((10, 4.5), layout="constrained", dpi=130)
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    (ratio,) = (key for key in students[0] if key.startswith("times as fast"))
    bars = left.barh([row["network"] for row in students], [row[ratio] for row in students], color=RUNS[0])
    left.bar_label(bars, [f"{row[ratio]:g}  ({row['GFLOPs']:g} GFLOPs)" for row in students], padding=3)
    left.set_xlim(right=1.5 * max(row[ratio] for row in students))
    left.invert_yaxis()
    left.set_xlabel(f"{ratio}, one CPU thread")
    names = list(dict.fromkeys(row["step"] for row in steps))
    for k, kind in enumerate(dict.fromkeys(row["input"] for row in steps)):
        of_kind = [row["time_ratio"] for row in steps if row["input"] == kind]
        places = [n + 0.4 * k for n in range(len(of_kind))]
        bars = right.bar(places, of_kind, 0.36, color=RUNS[k], label=f"{kind} student")
        right.bar_label(bars, fmt="%.2f")
    right.axhline(1, color="black", lw=0.8)
    right.set_xticks([n + 0.2 for n in range(len(names))], names)
    right.set_ylabel("CPU seconds of a step over its floor")
    right.legend(frameon=False)
    for panel in (left, right):
        panel.spines[["top", "right"]].set_visible(False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


@click.command(help=__doc__)
@click.option("--demo", type=click.Path(path_type=Path), default="output/demo", show_default=True)
@click.option("--student", "students", metavar="NAME=FOLDER", multiple=True,
              help="Trained, for the images; the first is compared with.")  # fmt: skip
@click.option(
    "--calibrate-on", multiple=True, metavar="DATASET|SLIDE", help="Their int8; default: a drawn slide."
)
@click.option("--out", type=click.Path(path_type=Path), default="output/bench", show_default=True)
@click.option(
    "--report", type=click.Path(path_type=Path), default=HERE, help="Folder of README.md and report.png."
)
def main(
    demo: Path, students: tuple[str, ...], calibrate_on: tuple[str, ...], out: Path, report: Path
) -> None:
    torch.set_num_threads(1)
    demo, out = demo.resolve(), out.resolve()
    if not (demo / "results.json").exists():
        raise click.UsageError(f"--demo {demo}: has no finished demo: run `make demo` first")
    out.mkdir(parents=True, exist_ok=True)
    listed = parts(out, demo, students, calibrate_on)
    done = {name: (part, measure(name, part, out)) for name, part in listed.items()}
    rows = [json.loads((out / f"{name}.json").read_text())["rows"] for name in ("students", "training_step")]
    draw(*rows, report / "report.png")
    sections = [section(part, measured) for part, measured in done.values()]
    write_text("\n".join([INTRODUCTION, *sections]), report / "README.md")
    click.echo(f"{report / 'README.md'}, {report / 'report.png'}")


INTRODUCTION = """# Benchmarks

Written by `make bench` after `make demo`. Times are of one thread, and ratios are measured in one run, in
which both sides take turns; each figure is the median of its rounds. What a script measures, and how, is in
its first lines.

![How many times as fast as the upsampled student, and each training step over its floor](report.png)
"""


if __name__ == "__main__":
    main()
