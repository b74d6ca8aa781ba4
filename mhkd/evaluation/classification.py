"""Scores a classifier while Detectron2 runs it over a dataset."""

import itertools
import logging
import math
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from detectron2.utils.logger import create_small_table

from ..errors import InputError
from ..files import write_json
from .bootstrap import LEVEL, interval
from .class_scores import bootstrap_class_scores, class_scores, confusion
from .predictions import Predictions, vote, write_predictions

logger = logging.getLogger(__name__)
SCORES_FILE = "scores.json"
SAMPLES = 10_000  # DiPalma et al., section 4.4
LABEL = "label"  # of a dataset dict: index into the metadata's thing_classes


class ClassificationEvaluator(DatasetEvaluator):
    """Accuracy, AUROC, F1, ... in percent, of the predictions for a registered dataset.

    See :func:`mhkd.evaluation.class_scores.class_scores`; where patients or slides have several images,
    ``vote_<score>`` is of one vote each, see :func:`mhkd.evaluation.predictions.vote`.
    """

    def __init__(
        self,
        dataset_name: str,
        output_dir: str | None = None,
        *,
        ordered: bool = False,
        samples: int = SAMPLES,
    ) -> None:
        """Begin with no predictions.

        Args:
            dataset_name: a dataset registered with its ``thing_classes``; its dicts have ``label``.
            output_dir: where to write ``predictions.json``, ``predictions.csv`` and ``scores.json``, which
                has intervals and the confusion matrix too; None writes nothing.
            ordered: whether the classes are grades, in their order: kappa is then one of the scores.
            samples: of the bootstrap by patient, else slide, else image.
        """
        self._dataset_name, self._output_dir = dataset_name, output_dir
        self._ordered, self._samples = ordered, samples
        self.reset()

    def reset(self) -> None:
        self._found: list[tuple[Any, list[float]]] = []

    def process(self, inputs: Iterable[dict[str, Any]], outputs: Iterable[dict[str, Any]]) -> None:
        """Keep what is said of some images.

        Args:
            inputs: dataset dicts as mapped, with "image_id".
            outputs: of each "probabilities", a tensor of shape (C,).
        """
        for entry, output in zip(inputs, outputs):
            self._found.append((entry["image_id"], output["probabilities"].double().cpu().tolist()))

    def evaluate(self) -> OrderedDict[str, dict[str, float]]:
        """Returns {"classification": {score: percent}}, empty on processes other than the main one.

        Raises:
            InputError: the network has other classes than the dataset, or no image was looked at.
        """
        comm.synchronize()
        gathered = comm.gather(self._found, dst=0)
        if not comm.is_main_process():
            return OrderedDict()
        predictions = self._predictions(dict(itertools.chain(*gathered)))
        results = all_scores(predictions)
        if self._output_dir:
            write_predictions(predictions, Path(self._output_dir))
            write_json(report(predictions, self._samples), Path(self._output_dir) / SCORES_FILE)
        shown = {k: v for k, v in results.items() if "-" not in k}
        logger.info("Classes in '%s':\n%s", self._dataset_name, create_small_table(shown))
        return OrderedDict(classification=results)

    def _predictions(self, found: dict[Any, list[float]]) -> Predictions:
        classes = MetadataCatalog.get(self._dataset_name).thing_classes
        entries = [e for e in DatasetCatalog.get(self._dataset_name) if e["image_id"] in found]
        if not entries:
            raise InputError(f"{self._dataset_name}: no image of it was looked at")
        said = np.array([found[e["image_id"]] for e in entries])
        if said.shape[1] != len(classes):
            raise InputError(
                f"The network tells {said.shape[1]} classes, but dataset '{self._dataset_name}' has "
                f"{len(classes)}: {', '.join(classes)}. Score it on a dataset with the classes that it was "
                "trained on"
            )
        labels = np.array([e[LABEL] for e in entries])
        return Predictions(said, labels, tuple(classes), entries, self._ordered)


def all_scores(predictions: Predictions) -> dict[str, float]:
    """:func:`class_scores`, and with ``vote_`` before their names those of a vote each patient or slide."""
    found, voted = class_scores(predictions), vote(predictions)
    if voted:
        found |= {f"vote_{k}": v for k, v in class_scores(voted).items() if "-" not in k}
    return found


def report(predictions: Predictions, samples: int = SAMPLES) -> dict[str, Any]:
    """All scores with their intervals, and the confusion matrix; JSON-ready, None for what does not exist."""
    groups, scores = predictions.groups, all_scores(predictions)
    drawn = bootstrap_class_scores(predictions, groups.of, samples)
    return {
        "classes": list(predictions.class_names),
        "images": len(predictions),
        "scores": {k: None if math.isnan(v) else v for k, v in scores.items()},
        "intervals": {k: interval(v) for k, v in drawn.items()},
        "interval_percent": LEVEL,
        "interval_by": groups.by,
        "interval_groups": len(groups),
        "interval_remark": groups.remark(),
        "samples": samples,
        "confusion": confusion(predictions).tolist(),
    }
