"""Scores and detections of a trained row, kept beside it."""

import json
import math
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from ..engine.evaluation import evaluate
from ..engine.exported import exported_cfg, load_exported
from ..evaluation.mask_scores import MASK_METRICS
from ..files import write_json
from ..tasks import VIEWS
from .plan import Training

METRICS = ("AP", "AP50", "AP75", "AR")


def views_of(training: Training) -> tuple[str, ...]:
    """How it is scored, LR first: a student on LR, a direct detector on upsampled LR and on HR."""
    return ("direct", "teacher") if training.method.is_direct else ("student",)


def score(training: Training) -> dict[str, dict]:
    """View -> AP, AP50, AP75, AR, AP-<class> in percent, None where the test set lacks the class; of a row
    with masks also segm_AP, ... segm_Dice.

    Scores anew only where the weights or the annotations have changed.
    """
    path = training.folder / "table_scores.json"
    stamp = _stamp(training)
    if path.is_file():
        known = json.loads(path.read_text())
        # Scores kept before they depended on it are COCO's, of 100 detections an image.
        unchanged = {"max_dets": 100, "flips": False} | known["of"] == stamp
        if unchanged and all(detections_file(training, v).is_file() for v in views_of(training)):
            return known["scores"]
    cfg = training.cfg
    classes = MetadataCatalog.get(cfg.DATASETS.TEST[0]).thing_classes
    network = load_exported(network_cfg(training), classes)
    scores = {which: _kept(evaluate(cfg, network, which)) for which in views_of(training)}
    write_json({"of": stamp, "scores": scores}, path)
    return scores


def detections_file(training: Training, which: str) -> Path:
    """COCO results of a view, written by :func:`mhkd.engine.evaluate`."""
    (name,) = training.cfg.DATASETS.TEST
    return training.folder / "inference" / which / name / "coco_instances_results.json"


def lr_detections(training: Training) -> list[dict]:
    """What the row found on LR, in COCO's result format."""
    return json.loads(detections_file(training, views_of(training)[0]).read_text())


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
    annotations = Path(MetadataCatalog.get(name).annotation_file).stat()
    files = {"weights": weights, "annotations": annotations}
    stamp = {k: [s.st_size, s.st_mtime_ns] for k, s in files.items()} | {"test_set": name}
    test = training.cfg.TEST
    return stamp | {"max_dets": test.DETECTIONS_PER_IMAGE, "flips": test.AUG.ENABLED}
