"""``mhkd table``."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from .numbers import FROM_1, whole_numbers


@click.command()
@click.argument("table")
@click.option(
    "--dataset",
    default="kidney_roi",
    show_default=True,
    help="One with configs of its own, or any NAME with NAME_train, NAME_val.",
)
@click.option(
    "--size",
    default="cpu",
    show_default=True,
    help="cpu (R18) or full (R50); "
    "paper_cpu or paper: with the paper's own settings, where the dataset has such a config.",
)
@click.option(
    "--seeds", default="0", show_default=True, metavar="0,1,...", help="Each row is trained with each."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default="output/tables",
    show_default=True,
    help="Trainings: OUT/DATASET_SIZE/seed<k>/<row>/, tables beside them.",
)
@click.option(
    "--rows",
    default="",
    metavar="A,B,...",
    help="Only these, e.g. faster_rcnn,none,mhkd; any schedule or its .yaml file is a row too.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan, a line a row, with an estimate of time.")
@click.option(
    "--num-gpus", type=FROM_1, default=1, show_default=True, help="Processes (without a GPU: on the CPU)."
)
@click.option(
    "--samples",
    type=FROM_1,
    default=1000,
    show_default=True,
    help="Of the bootstrap over the test set's patients, else slides, else images.",
)
@click.option("--opts", default="", metavar="'KEY VALUE ...'", help="Config overrides, for all rows.")
@click.option(
    "--with",
    "extensions",
    multiple=True,
    type=click.Path(),
    metavar="FILE.py",
    help="Python file that registers losses or schedules of your own.",
)
def table(
    table: str, dataset: str, size: str, seeds: str, out: Path, rows: str, dry_run: bool,
    num_gpus: int, samples: int, opts: str, extensions: Sequence[str],
) -> None:  # fmt: skip
    """Fill a TABLE of the paper, I to VI or all: train what is missing, score, compare, write.

    What rows share (the teacher, equal first steps) is trained once. Stopped, it goes on where it was.
    Rows trained with other settings than asked for are refused, never mixed.
    """
    from ..comparison.run import run_tables
    from ..extensions import load_extensions

    load_extensions(extensions)
    chosen = whole_numbers(seeds, "--seeds")
    try:
        options = shlex.split(opts)
    except ValueError as e:
        raise click.BadParameter(f"--opts {opts!r}: {e}") from e
    words = [f"make table TABLE={table} DATASET={dataset} SIZE={size} SEEDS={seeds}"]
    words += [f'OPTS="{opts}"'] if opts else []
    words += [f"GPUS={num_gpus}"] if num_gpus > 1 else []
    words += [f'ARGS="--rows {rows}"'] if rows else []
    paths = run_tables(
        table,
        dataset,
        size,
        chosen,
        out,
        options,
        tuple(filter(None, rows.split(","))),
        num_gpus,
        dry_run,
        samples,
        " ".join(words),
        click.echo,
    )
    for path in paths:
        if path.suffix == ".md":
            click.echo("\n" + path.read_text())
    for path in paths:
        click.echo(path)
