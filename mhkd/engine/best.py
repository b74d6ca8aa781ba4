"""The student of a step that scores highest on the split that choices are made on (MHKD.KEEP_BEST).

Detectron2's ``BestCheckpointer`` takes scores of DATASETS.TEST, on which nothing is chosen here, and has
forgotten the best when a training is resumed; here it is recorded beside the weights.
"""

import json
import logging
import math
from typing import Any

from detectron2.utils import comm
from torch import nn

from ..evaluation.threshold_file import record_threshold
from ..files import replacing_folder, write_json
from ..schedules import Step
from ..training_data import record_scores
from .evaluation import evaluate
from .exported import export_cfg, export_network

logger = logging.getLogger(__name__)
FOLDER, RECORD = "best", "best.json"


def keep_best(trainer: Any, step: Step, iteration: int, student: nn.Module) -> None:
    """Export ``student`` to ``OUTPUT_DIR/<step>/best/`` if its AP on MHKD.CHOOSE_ON is above that of the one
    there, with the score threshold that is best there too. All processes call it.

    Args:
        iteration: that it has been trained up to.
    """
    cfg, task = trainer.cfg, trainer.task
    if not (cfg.MHKD.KEEP_BEST and step.stage.student):
        return
    name, chosen = cfg.MHKD.CHOOSE_ON, cfg.clone()
    chosen.defrost()
    chosen.DATASETS.TEST = (name,)
    scores = evaluate(chosen, student, "student")
    if not comm.is_main_process():
        return
    folder = trainer.output_dir / step.folder / FOLDER
    record = folder / RECORD
    before = json.loads(record.read_text(encoding="utf-8"))["AP"] if record.is_file() else -math.inf
    if not scores["AP"] > before:
        return
    out = export_cfg(cfg, "student", step.stage.bfa)
    out.MHKD.LR_MPP = task.lr_mpp(cfg)
    scored = trainer.output_dir / "inference" / "student" / name
    choice = task.best_threshold(name, scored, out.MODEL.ROI_HEADS.SCORE_THRESH_TEST)
    with replacing_folder(folder) as temporary:
        export_network(student.state_dict(), out, temporary, trainer.training_data)
        record_scores(task.found_scores(scored), temporary)
        if choice:
            record_threshold(temporary, choice, name)
        write_json({"iteration": iteration, "AP": scores["AP"], "chosen_on": name}, temporary / RECORD)
    logger.info(f"best on {name} so far: AP {scores['AP']:.1f} at iteration {iteration}, in {folder}")
