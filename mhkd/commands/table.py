"""``mhkd table``."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from ..terminal import say
from .numbers import FROM_1, FROM_2, whole_numbers

EPOCHS = 25  # of a row of classification


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
    "--seeds",
    default="0",
    show_default=True,
    metavar="0,1,...",
    help="Of detection: each row is trained with each.",
)
@click.option(
    "--factors",
    default="2,4,8,16",
    show_default=True,
    metavar="2,4,...",
    help="Of classification: HR pixels per LR pixel, a student each.",
)
@click.option(
    "--folds",
    type=FROM_2,
    metavar="N",
    help="Train and val are divided into so many, and what each finds in images it has not seen is pooled.  "
    "[default: of classification 5; of detection none, val is scored]",
)
@click.option("--fold", type=FROM_1, metavar="K", help="Only this fold, 1 to --folds.  [default: all]")
@click.option(
    "--folds-by",
    type=click.Choice(["patient", "slide", "image"]),
    help="What stays together; slide where there are fewer patients than folds.  "
    "[default: patient of classification, slide of detection]",
)
@click.option(
    "--epochs",
    type=FROM_1,
    default=EPOCHS,
    show_default=True,
    help="Of classification: of every row, none is chosen on what is scored.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default="output/tables",
    show_default=True,
    help="Trainings: OUT/DATASET_SIZE/seed<k>/<row>/, of folds OUT/DATASET_SIZE/slidefold<k>of<n>_seed<k>/"
    "<row>/ or, of classification, OUT/DATASET/fold<k>of<n>/<row>_x<factor>/.",
)
@click.option(
    "--rows",
    default="",
    metavar="A,B,...",
    help="Train only these, e.g. faster_rcnn,none,mhkd; any schedule or its .yaml file is a row too.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan, a line a row, with an estimate of time.")
@click.option(
    "--num-gpus", type=FROM_1, default=1, show_default=True, help="Processes (without a GPU: on the CPU)."
)
@click.option(
    "--samples",
    type=FROM_1,
    help="Of the bootstrap over the test set's patients (of detection and of folds by slide, where there are "
    "ten or more), else slides, else images.  "
    "[default: 1000; of classification 10000]",
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
    table: str, dataset: str, size: str, seeds: str, factors: str, folds: int | None, fold: int | None,
    folds_by: str | None, epochs: int, out: Path, rows: str, dry_run: bool, num_gpus: int,
    samples: int | None, opts: str, extensions: Sequence[str],
) -> None:  # fmt: skip
    """Fill a TABLE: train what is missing, score, compare, write.

    I to VI or all are the paper's, of detection; so are all_labels, label_free, few_labels, few_labels_hr,
    native, bfa, peers, peers_half, options, masks, x8 and scanner. resolution, resizing and attention are of
    classification: each row at each of --factors, on folds of DATASET. Tables are written anew whenever a row
    is finished, and name those that are not run.

    With --folds of detection each fold trains rows and teacher of its own on the other folds, for the
    config's iterations; nothing is chosen on what is scored. Folds by slide are even in objects and in
    people (an image's patient, else its individual).

    What rows share (the teacher, equal first steps) is trained once. Stopped, it goes on where it was.
    Rows trained with other settings than asked for are refused, never mixed.
    """
    from ..comparison.class_rows import get_class_table
    from ..comparison.class_run import Asked, run_class_table
    from ..comparison.folds import Folds
    from ..comparison.run import run_tables
    from ..extensions import load_extensions

    load_extensions(extensions)
    chosen = whole_numbers(seeds, "--seeds")
    try:
        options = shlex.split(opts)
    except ValueError as e:
        raise click.BadParameter(f"--opts {opts!r}: {e}") from e
    only = tuple(filter(None, rows.split(",")))
    of_classes = get_class_table(table)
    count, by = folds or (5 if of_classes else 0), "patient" if of_classes else "slide"
    if fold and not count:
        raise click.BadParameter(f"--fold {fold}: say of how many, with --folds")
    divided = Folds(count, fold, folds_by or by) if count else None
    words = [f"make table TABLE={table} DATASET={dataset}"]
    if of_classes:
        words += [f"FACTORS={factors}"]
    else:
        words += [f"SIZE={size} SEEDS={seeds}"]
    words += [f"FOLDS={count}"] if count else []
    words += [f"FOLD={fold}"] if fold else []
    args = [f"--rows {rows}"] if rows else []
    args += [f"--folds-by {folds_by}"] if folds_by not in (None, by) else []
    args += [f"--epochs {epochs}"] if of_classes and epochs != EPOCHS else []
    words += [f'OPTS="{opts}"'] if opts else []
    words += [f"GPUS={num_gpus}"] if num_gpus > 1 else []
    words += [f'ARGS="{" ".join(args)}"'] if args else []
    command = " ".join(words)
    if of_classes:
        asked = Asked(
            dataset=dataset,
            factors=tuple(whole_numbers(factors, "--factors", 2)),
            folds=divided or Folds(),
            epochs=epochs,
            samples=samples or 10_000,
            options=tuple(options),
            command=command,
        )
        paths = run_class_table(of_classes, asked, out, only, num_gpus, dry_run, say)
    else:
        paths = run_tables(
            table, dataset, size, chosen, out, options, only, num_gpus, dry_run, samples or 1000, command,
            say, divided,
        )  # fmt: skip
    for path in paths:
        if path.suffix == ".md":
            say("\n" + path.read_text(encoding="utf-8"))
    for path in paths:
        say(path)
