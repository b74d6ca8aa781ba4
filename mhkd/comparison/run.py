"""``mhkd table``: plan, train what is missing, score, compare, write."""

import importlib.util
import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from ..data.mapper import PairedResolutionMapper
from ..data.registrar import values_of
from ..engine.evaluation import prepare_datasets
from ..engine.exported import load_exported
from ..engine.run import run_training
from ..errors import InputError
from ..evaluation.bootstrap import FEW, bootstrap_ap, groups_of
from ..evaluation.evaluator import coco_dict
from ..evaluation.pooled import Pooled, pooled_of_coco
from ..files import locked
from .configs import config_file, row_cfg
from .folds import Folds
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
from .scores import detect, lr_view, network_cfg, score, views_of

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


def compare(trainings: list[Training], samples: int, echo: Callable[[str], None]) -> Results:
    """Score, resample and time the trained rows.

    Args:
        trainings: of all rows and seeds, on one test set, or on each of the folds of one dataset.
        samples: of the bootstrap.
        echo: takes a line of progress.
    """
    cfg = trainings[0].cfg
    sets = dict.fromkeys((t.cfg.DATASETS.TRAIN, t.cfg.DATASETS.TEST) for t in trainings)
    trained, tested = ([_entries(names) for names in side] for side in zip(*sets))
    entries = list(itertools.chain(*tested))  # numbered together, where there are folds
    metadata = MetadataCatalog.get(cfg.DATASETS.TEST[0])
    truth = coco_dict(entries, metadata)
    people, known = _people(trained, tested)
    results = Results(
        images=len(entries),
        training_images=round(sum(map(len, trained)) / len(trained)),
        detections_per_image=cfg.TEST.DETECTIONS_PER_IMAGE,
        groups=groups_of(entries, fewest_patients=FEW),
        people=len(people),
        people_known=len(known),
    )
    matches: dict[str, list[list[Pooled]]] = defaultdict(list)
    for (key, _), found in _by_seed(trainings).items():
        echo(f"Scoring {', '.join(t.name for t in found)}")
        results.trainings[key] += found
        detections = pool(map(detect, found))
        limit = results.detections_per_image
        masks = found[0].cfg.MODEL.MASK_ON
        results.scores[key].append(
            {which: score(entries, metadata, d, limit, masks) for which, d in detections.items()}
        )
        matches[key].append(pooled_of_coco(truth, detections[views_of(found[0])[0]], limit))
    results.samples = bootstrap_ap(matches, results.groups.of, samples)
    echo("Timing")
    results.costs = measure_costs([found[0] for found in results.trainings.values()])
    return results


def pool(detections: Iterable[dict[str, list[dict]]]) -> dict[str, list[dict]]:
    """Detections of folds, of each view those of all."""
    pooled: dict[str, list[dict]] = defaultdict(list)
    for views in detections:
        for which, found in views.items():
            pooled[which] += found
    return pooled


def _by_seed(trainings: list[Training]) -> dict[tuple[str, int], list[Training]]:
    """Of a row with a seed the trainings on all folds."""
    found: dict[tuple[str, int], list[Training]] = defaultdict(list)
    for training in trainings:
        found[training.method.key, training.cfg.SEED].append(training)
    return found


def _entries(names: Sequence[str]) -> list[dict[str, Any]]:
    return [entry for name in names for entry in DatasetCatalog.get(name)]


def _people(trained: Sequence[list[dict]], tested: Sequence[list[dict]]) -> tuple[set[str], set[str]]:
    """Of all test images, and those who were in the training images of the same fold."""
    sides = [[values_of(entries, "patient") - {None} for entries in side] for side in (trained, tested)]
    return set().union(*sides[1]), set().union(*(a & b for a, b in zip(*sides)))


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
