"""What a trained row of classification says of images that it has not seen, and its cost, kept beside it."""

import hashlib
import json
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from ..engine.evaluation import evaluate
from ..engine.exported import load_exported
from ..evaluation.predictions import JSON_FILE, Predictions, read_predictions
from ..files import read_json, write_json
from ..tasks import VIEWS, get_task
from .measure import count_flops, count_parameters
from .plan import Training
from .scores import AGAIN, network_cfg

KEPT = "table_scores.json"


def view_of(training: Training) -> str:
    """A student is scored on LR, a teacher on HR."""
    return "student" if training.steps[-1].stage.student else "teacher"


def score_classes(training: Training) -> tuple[Predictions, dict[str, Any]]:
    """Predictions for DATASETS.TEST, and the network's "parameters", "flops" of the first image (None: cannot
    be counted) and "input_px", its width and height.

    Scores anew only where the weights or the test set have changed.
    """
    path, stamp = training.folder / KEPT, _stamp(training)
    (name,) = training.cfg.DATASETS.TEST
    folder = training.folder / "inference" / view_of(training) / name
    if path.is_file() and (folder / JSON_FILE).is_file():
        known = read_json(path, dict, AGAIN)
        if known.get("of") == stamp and isinstance(known.get("cost"), dict):
            return read_predictions(folder), known["cost"]
    classes = MetadataCatalog.get(name).thing_classes
    network = load_exported(network_cfg(training), classes)
    evaluate(training.cfg, network, view_of(training))
    image = get_task(training.cfg).mapper(training.cfg, VIEWS[view_of(training)])(DatasetCatalog.get(name)[0])
    cost = {
        "parameters": count_parameters(network),
        "flops": count_flops(network, image),
        "input_px": [int(n) for n in image["image"].shape[:0:-1]],
    }
    write_json({"of": stamp, "cost": cost}, path)
    return read_predictions(folder), cost


def _stamp(training: Training) -> dict[str, Any]:
    """What the predictions depend on."""
    weights = (training.network_folder / "model_final.pth").stat()
    (name,) = training.cfg.DATASETS.TEST
    images = [[e["file_name"], e["image_id"], e["label"], e.get("patient")] for e in DatasetCatalog.get(name)]
    of_images = hashlib.sha256(json.dumps([name, images]).encode()).hexdigest()
    ordered = {"ordered": True} if training.cfg.MHKD.ORDERED_CLASSES else {}
    return {"weights": [weights.st_size, weights.st_mtime_ns], "test_set": of_images, **ordered}
