"""``mhkd table``: plan, train what is missing, score, compare, write."""

import importlib.util
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from ..data.mapper import PairedResolutionMapper
from ..engine.evaluation import prepare_datasets
from ..engine.exported import load_exported
from ..engine.run import run_training
from ..errors import InputError
from ..evaluation.bootstrap import bootstrap_ap, groups_of
from ..evaluation.evaluator import coco_dict
from ..evaluation.pooled import Pooled, pooled_of_coco
from ..files import locked
from .configs import row_cfg
from .measure import count_flops, count_parameters, time_images
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
from .results import Results
from .rows import FASTER_RCNN, Method, Table, methods_of, with_own_rows
from .scores import lr_detections, lr_view, network_cfg, score

MAX_TIMED_IMAGES = 10


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
) -> list[Path]:
    """Fill the tables.

    Args:
        table: "I" to "VI" or "all".
        dataset, size, options: see :func:`mhkd.comparison.configs.row_cfg`.
        seeds: every row is trained once with each.
        out: ``out/<dataset>_<size>/seed<k>/<method>/`` are the trainings, beside them the tables.
        only: keys of the methods to keep; a schedule that no row has, a name or a .yaml file, becomes one.
        dry_run: print the plan and stop.
        samples: of the bootstrap over the test set's patients, slides or images.
        command: to be recorded.

    Returns:
        The files written.

    Raises:
        InputError: unknown table or row, dataset without the needed splits, a missing package, a row
            that was trained with other settings.
    """
    tables, only = with_own_rows(get_tables(table), only)
    methods = methods_of(tables, only)
    root = Path(out) / f"{dataset}_{size}"
    check_packages(methods)
    trainings = plan(methods, dataset, size, seeds, root, options)
    print_plan(trainings, root, echo)
    if dry_run:
        return []
    for training in trainings:
        train(training, num_gpus, echo)
    from .report import write_table  # draws, which planning need not wait for

    results = compare(trainings, samples, echo)
    facts = {"dataset": dataset, "size": size, "seeds": list(seeds), "command": command, "samples": samples}
    chosen = [chosen_rows(t, only) for t in tables]
    return [path for t in chosen if t.rows for path in write_table(t, results, facts, root)]


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
    methods: list[Method], dataset: str, size: str, seeds: Sequence[int], root: Path, options: Sequence[str]
) -> list[Training]:
    """Every training of the tables, seed by seed, and where it stands."""
    trainings: list[Training] = []
    for seed in seeds:
        for method in methods:
            folder = root / f"seed{seed}" / method.key
            cfg = row_cfg(method, dataset, size, seed, folder, options)
            if not trainings:
                prepare_datasets(cfg)
            trainings.append(plan_training(method, f"seed {seed}", cfg))
    return trainings


def print_plan(trainings: list[Training], root: Path, echo: Callable[[str], None]) -> None:
    """A line a row, with what is left to train and about how long it takes."""
    measured, total = seconds_per_iteration(root), 0.0
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
        if training.finished == len(training.steps):
            state = "finished"
        else:
            state = f"{left} iterations, about {seconds / 60:.0f} min"
            state += f", resumes at {training.reached}" if training.reached else ""
            state += f", shares {', '.join(shared)}" if shared else ""
        total += seconds
        echo(f"{training.name:<28} {state}")
    echo(f"In all about {total / 3600:.1f} h of training.")


def train(training: Training, num_gpus: int, echo: Callable[[str], None]) -> None:
    """Train what is missing of one row, after taking over what other rows have finished."""
    if training.finished == len(training.steps):
        return
    training.shared = find_shared(training, training.folder.parent)
    with locked(training.folder):  # it may be another run's by now
        take_over(training)
    echo(f"Training {training.name} in {training.folder}")
    run_training(training.cfg, num_gpus)


def compare(trainings: list[Training], samples: int, echo: Callable[[str], None]) -> Results:
    """Score, resample and time the trained rows.

    Args:
        trainings: of all rows and seeds, on one test set.
        samples: of the bootstrap.
        echo: takes a line of progress.
    """
    cfg = trainings[0].cfg
    (test_set,) = cfg.DATASETS.TEST
    entries = DatasetCatalog.get(test_set)
    truth = coco_dict(entries, MetadataCatalog.get(test_set))
    results = Results(
        images=len(entries),
        training_images=sum(len(DatasetCatalog.get(n)) for n in cfg.DATASETS.TRAIN),
        detections_per_image=cfg.TEST.DETECTIONS_PER_IMAGE,
        groups=groups_of(entries),
    )
    matches: dict[str, list[list[Pooled]]] = defaultdict(list)
    for training in trainings:
        key = training.method.key
        echo(f"Scoring {training.name}")
        results.trainings[key].append(training)
        results.scores[key].append(score(training))
        found = pooled_of_coco(truth, lr_detections(training), results.detections_per_image)
        matches[key].append(found)
    results.samples = bootstrap_ap(matches, results.groups.of, samples)
    echo("Timing")
    results.costs = measure_costs([seeds[0] for seeds in results.trainings.values()])
    return results


def measure_costs(trainings: list[Training]) -> dict[str, dict[str, Any]]:
    """Parameters, FLOPs of the first test image, seconds of some; on LR, all rows in turns."""
    (test_set,) = trainings[0].cfg.DATASETS.TEST
    entries, networks, images = DatasetCatalog.get(test_set), {}, {}
    for training in trainings:
        key, cfg = training.method.key, network_cfg(training)
        networks[key], mapper = load_exported(cfg), PairedResolutionMapper(cfg, False, view=lr_view(training))
        images[key] = [mapper(entries[k]) for k in range(min(len(entries), MAX_TIMED_IMAGES))]
    seconds = time_images(networks, images)
    return {
        key: {
            "parameters": count_parameters(network),
            "flops": count_flops(network, images[key][0]),
            "seconds": seconds[key],
            "reference_seconds": seconds[FASTER_RCNN.key],
        }
        for key, network in networks.items()
    }


def chosen_rows(table: Table, only: tuple[str, ...]) -> Table:
    """The table with the chosen rows; compared with its first one where its reference is left out."""
    rows = tuple(r for r in table.rows if not only or r.method.key in only)
    keys = [r.method.key for r in rows]
    reference = table.reference if table.reference in keys else next(iter(keys), "")
    return Table(table.number, table.title, table.paper_dataset, reference, rows)
