"""Scores, resampled differences and costs of the trained rows of a table."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from ..data.mapper import PairedResolutionMapper
from ..data.registrar import values_of
from ..engine.exported import load_exported
from ..evaluation.bootstrap import FEW, bootstrap_ap, groups_of
from ..evaluation.evaluator import coco_dict
from ..evaluation.pooled import Pooled, pooled_of_coco
from .measure import count_flops, count_parameters, time_images
from .plan import Training
from .results import Results
from .rows import FASTER_RCNN
from .scores import detect, lr_view, network_cfg, score, views_of

MAX_TIMED_IMAGES = 10


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
