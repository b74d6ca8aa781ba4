"""Scores and detections of a trained row, kept beside it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import Metadata, MetadataCatalog

from ..data.registrar import annotation_files
from ..engine.evaluation import evaluate
from ..engine.exported import exported_cfg, load_exported
from ..evaluation.evaluator import coco_scores
from ..evaluation.mask_scores import MASK_METRICS
from ..files import read_json, write_json
from ..tasks import VIEWS
from .plan import Training

METRICS = ("AP", "AP50", "AP75", "AR")
AGAIN = "remove it, and the network is scored anew"


def views_of(training: Training) -> tuple[str, ...]:
    """How it is scored, LR first: a student on LR, a direct detector on upsampled LR and on HR."""
    return ("direct", "teacher") if training.method.is_direct else ("student",)


def detect(training: Training) -> dict[str, list[dict]]:
    """View -> what the row finds in its test set, in COCO's result format.

    It is run anew only where the weights or the annotations have changed.
    """
    path, stamp = training.folder / "table_scores.json", _stamp(training)
    known = read_json(path, dict, AGAIN).get("of") if path.is_file() else {}
    # What is kept of before it depended on these is of 100 detections an image, COCO's, without flips.
    unchanged = isinstance(known, dict) and {"max_dets": 100, "flips": False} | known == stamp
    views = views_of(training)
    if not unchanged or not all(detections_file(training, v).is_file() for v in views):
        cfg = training.cfg
        classes = MetadataCatalog.get(cfg.DATASETS.TEST[0]).thing_classes
        network = load_exported(network_cfg(training), classes)
        scores = {which: _kept(evaluate(cfg, network, which)) for which in views}
        write_json({"of": stamp, "scores": scores}, path)
    return {which: read_json(detections_file(training, which), list, AGAIN) for which in views}


def score(
    entries: Sequence[dict[str, Any]],
    metadata: Metadata,
    detections: Sequence[dict[str, Any]],
    max_dets: int,
    masks: bool = False,
) -> dict[str, float | None]:
    """AP, AP50, AP75, AR, AP-<class> in percent, None where there is no object of the class; of a row with
    masks also segm_AP, ... segm_Dice. See :func:`mhkd.evaluation.evaluator.coco_scores`."""
    found = coco_scores(entries, metadata, detections, max_dets, masks)
    named = {kind: "" if kind == "bbox" else f"{kind}_" for kind in found}
    return _kept({named[kind] + k: v for kind, of_kind in found.items() for k, v in of_kind.items()})


def detections_file(training: Training, which: str) -> Path:
    """COCO results of a view, written by :func:`mhkd.engine.evaluate`."""
    (name,) = training.cfg.DATASETS.TEST
    return training.folder / "inference" / which / name / "coco_instances_results.json"


def lr_detections(training: Training) -> list[dict]:
    """What the row found on LR, in COCO's result format."""
    return read_json(detections_file(training, views_of(training)[0]), list, AGAIN)


def network_cfg(training: Training) -> CfgNode:
    """Of the exported network, on the device that the row asks for."""
    return exported_cfg(training.network_folder, training.cfg.MODEL.DEVICE)


def lr_view(training: Training) -> str:
    return VIEWS[views_of(training)[0]]


def _kept(scores: dict[str, float]) -> dict[str, float | None]:
    kept = {*METRICS, *MASK_METRICS}
    return {k: None if math.isnan(v) else v for k, v in scores.items() if k in kept or k.startswith("AP-")}


def _stamp(training: Training) -> dict:
    """What the scores depend on, cheap to look at."""
    weights = (training.network_folder / "model_final.pth").stat()
    (name,) = training.cfg.DATASETS.TEST
    annotations = [Path(file).stat() for file in annotation_files(name)]
    files = {"weights": weights, **dict(zip(("annotations", "annotations of val"), annotations))}
    stamp = {k: [s.st_size, s.st_mtime_ns] for k, s in files.items()} | {"test_set": name}
    test = training.cfg.TEST
    return stamp | {"max_dets": test.DETECTIONS_PER_IMAGE, "flips": test.AUG.ENABLED}
