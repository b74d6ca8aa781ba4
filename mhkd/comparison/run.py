"""``mhkd table``: plan, train what is missing, score, compare, write."""

import importlib.util
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..engine.evaluation import prepare_datasets
from ..engine.run import run_training
from ..errors import InputError
from ..files import locked
from .compare import compare
from .configs import config_file, row_cfg
from .folds import Folds
from .plan import (
    Training,
    estimate_seconds,
    find_planned,
    find_shared,
    plan_training,
    seconds_per_iteration,
    take_over,
)
from .regimes import get_tables
from .rows import Method, Table, methods_of, with_own_rows


def run_tables(
    table: str,
    dataset: str,
    size: str,
    seeds: Sequence[int],
    out: Path,
    options: Sequence[str] = (),
    only: tuple[str, ...] = (),
    num_gpus: int = 1,
    dry_run: bool = False,
    samples: int = 1000,
    command: str = "",
    echo: Callable[[str], None] = print,
    folds: Folds | None = None,
) -> list[Path]:
    """Fill the tables, writing them anew whenever a row is finished.

    Args:
        table: "I" to "VI" or "all".
        dataset, size, options: see :func:`mhkd.comparison.configs.row_cfg`.
        seeds: every row is trained once with each.
        out: ``out/<dataset>_<size>/seed<k>/<method>/`` are the trainings, of folds
            ``slidefold<k>of<n>_seed<k>/<method>/``, beside them the tables.
        only: keys of the rows to train; a schedule that no row has, a name or a .yaml file, becomes one.
            Rows that were trained before are in the table all the same.
        dry_run: print the plan and stop.
        samples: of the bootstrap over the test set's patients, slides or images.
        command: to be recorded.
        folds: None: the dataset's own split.

    Returns:
        The files written.

    Raises:
        InputError: unknown table or row, dataset without the needed splits or that cannot be divided so, a
            missing package, a row that was trained with other settings.
    """
    tables, only = with_own_rows(get_tables(table), only)
    methods = methods_of(tables, only)
    root = Path(out) / f"{dataset}_{size}"
    check_packages(methods)
    asked = dataset, size, seeds, root, options, folds
    trainings = plan(methods, *asked)
    print_plan(trainings, root, echo)
    if dry_run:
        return []
    others = [m for m in methods_of(tables) if m not in methods and any(root.glob(f"*/{m.key}"))]
    trainings += finished_before(others, *asked)
    facts = {"dataset": dataset, "size": size, "seeds": list(seeds), "command": command, "samples": samples}
    facts |= {"config": "/".join(config_file(dataset, size).parts[-2:])}
    facts |= {"folds": folds and folds.count, "fold": folds and folds.only, "folds_by": folds and folds.by}
    paths: list[Path] = []
    for method in methods:
        left = [t for t in trainings if t.method == method and not t.is_finished]
        for training in left:
            train(training, num_gpus, echo)
        if left or method is methods[-1]:
            whole = [t for t in trainings if _is_whole(t, trainings)]
            paths = _write(whole, tables, facts, folds, root, echo)
    return paths


def _is_whole(training: Training, trainings: list[Training]) -> bool:
    """Whether its row is finished with every seed, on every fold."""
    return all(t.is_finished for t in trainings if t.method == training.method)


def _write(
    trainings: list[Training],
    tables: list[Table],
    facts: dict[str, Any],
    folds: Folds | None,
    root: Path,
    echo: Callable[[str], None],
) -> list[Path]:
    """The tables of the rows that are finished; none where that is not one row."""
    from .report import write_table  # draws, which planning need not wait for

    keys = tuple({t.method.key: t for t in trainings})
    chosen = [chosen_rows(t, keys) for t in tables]
    if not any(t.rows for t in chosen):
        return []
    results, suffix = compare(trainings, facts["samples"], echo), f"_{folds.name}" if folds else ""
    missing = [[r for r in t.rows if r.method.key not in keys] for t in tables]
    return [
        path
        for table, rows in zip(chosen, missing)
        if table.rows
        for path in write_table(table, results, facts, root / f"table_{table.number}{suffix}", rows)
    ]


def check_packages(methods: list[Method]) -> None:
    """Raises InputError, with pip's command, where a method lacks a package."""
    missing = {m.key: f"'{p}'" for m in methods for p in m.packages if not _is_installed(p)}
    if missing:
        rows = list(missing)
        raise InputError(
            f"rows {', '.join(rows)} need what is not installed: pip install "
            f"{' '.join(sorted(set(missing.values())))}, or choose other rows with --rows"
        )


def _is_installed(requirement: str) -> bool:
    return importlib.util.find_spec(re.split(r"\W", requirement)[0]) is not None


def plan(
    methods: list[Method],
    dataset: str,
    size: str,
    seeds: Sequence[int],
    root: Path,
    options: Sequence[str],
    folds: Folds | None = None,
    *,
    check_datasets: bool = True,
) -> list[Training]:
    """Every training of the tables, row by row, and where it stands.

    Args:
        check_datasets: False where they were checked for another plan.
    """
    trainings: list[Training] = []
    for method in methods:
        for seed in seeds:
            for fold in map(folds.folder, folds.numbers) if folds else ("",):
                folder = root / "_".join(filter(None, (fold, f"seed{seed}"))) / method.key
                cfg = row_cfg(method, dataset, size, seed, folder, options, fold)
                if check_datasets and cfg.DATASETS.TEST not in [t.cfg.DATASETS.TEST for t in trainings]:
                    prepare_datasets(cfg)
                group = ", ".join(filter(None, (fold, f"seed {seed}")))
                trainings.append(plan_training(method, group, cfg))
    return trainings


def finished_before(methods: list[Method], *asked: Any) -> list[Training]:
    """The trainings of rows that are not asked for, but finished with the same settings.

    Args:
        asked: as for :func:`plan`.
    """
    found: list[Training] = []
    for method in methods:
        try:
            trainings = plan([method], *asked, check_datasets=False)
        except InputError:  # other settings: in this table they are not run
            continue
        found += trainings if all(t.is_finished for t in trainings) else []
    return found


def print_plan(trainings: list[Training], root: Path, echo: Callable[[str], None]) -> None:
    """A line a row, with what is left to train and about how long it takes."""
    measured, total = seconds_per_iteration(root), 0.0
    width = max((len(t.name) for t in trainings), default=0)
    for k, training in enumerate(trainings):
        training.shared = find_shared(training, training.folder.parent)
        waits_for = find_planned(training, trainings[:k])
        shared = max(([p.name for p in training.shared], waits_for), key=len)
        seconds = estimate_seconds(training, measured, shared)
        left = sum(
            s.end - max(s.start, training.reached)
            for s in training.steps
            if s.end > training.reached and s.folder not in shared
        )
        if training.is_finished:
            state = "finished"
        else:
            state = f"{left} iterations, about {seconds / 60:.0f} min"
            state += f", resumes at {training.reached}" if training.reached else ""
            state += f", shares {', '.join(shared)}" if shared else ""
        total += seconds
        echo(f"{training.name:<{width}} {state}")
    echo(f"In all about {total / 3600:.1f} h of training.")


def train(training: Training, num_gpus: int, echo: Callable[[str], None]) -> None:
    """Train what is missing of one row, after taking over what other rows have finished."""
    if training.is_finished:
        return
    training.shared = find_shared(training, training.folder.parent)
    with locked(training.folder):  # it may be another run's by now
        take_over(training)
    echo(f"Training {training.name} in {training.folder}")
    run_training(training.cfg, num_gpus)
    training.finished = len(training.steps)


def chosen_rows(table: Table, only: tuple[str, ...]) -> Table:
    """The table with the chosen rows; compared with its first one where its reference is left out."""
    rows = tuple(r for r in table.rows if not only or r.method.key in only)
    keys = [r.method.key for r in rows]
    reference = table.reference if table.reference in keys else next(iter(keys), "")
    return Table(table.number, table.title, table.paper_dataset, reference, rows)
