"""Hooks of the trainer: stage transitions, checkpoints, evaluation while training."""

import logging
import math
import threading
from typing import Any

from detectron2.engine import HookBase, default_writers, hooks
from detectron2.utils import comm

from ..evaluation.threshold_file import WEIGHTS, chosen_on
from ..files import sha256, write_json
from ..schedules import Step
from ..training_data import record_scores
from .best import keep_best
from .evaluation import evaluate
from .exported import export_cfg, export_network
from .resume import checkpoint_file, done_file, final_file, within_step_files
from .working_threshold import choose_threshold

logger = logging.getLogger(__name__)


class StageTransition(HookBase):
    """Enters each step at its first iteration and finishes it after its last.

    A finished step leaves ``OUTPUT_DIR/<k>_<stage>/`` with ``model_final.pth`` (both networks),
    ``student/`` (or ``teacher/`` for step 0), scores, the teacher's among them where it trained, and, last,
    ``stage.json``.
    """

    trainer: Any

    def __init__(self) -> None:
        self._entered: Step | None = None

    def before_step(self) -> None:
        trainer = self.trainer
        step = next(s for s in trainer.steps if s.start <= trainer.iter < s.end)
        if step is self._entered:
            return
        logger.info(f"Step {step.folder}: iterations {step.start} to {step.end}, {step.describe()}")
        trainer.enter_step(step, trainer.resumed_state)
        trainer.resumed_state = None
        self._entered = step

    def after_step(self) -> None:
        trainer, step = self.trainer, self._entered
        if step and trainer.iter + 1 == step.end:
            trainer.updates.take_averages()
            trainer.save(final_file(trainer.cfg, step), within_step=False)
            self.finish(step)

    def finish(self, step: Step) -> None:
        """Export and evaluate what ``step`` trained; say that it is finished."""
        trainer, cfg = self.trainer, self.trainer.cfg
        folder = trainer.output_dir / step.folder
        trainer.distilled.apply_stage(step.stage)  # a resumed run may not have entered it
        network = "student" if step.stage.student else "teacher"
        if comm.is_main_process():
            out = export_cfg(cfg, network, step.stage.bfa)
            out.MHKD.LR_MPP = trainer.task.lr_mpp(cfg)
            weights = getattr(trainer.distilled, network).state_dict()
            training = trainer.training_data if network == "student" else None
            export_network(weights, out, folder / network, training)
            if network == "student":
                export_network(weights, out, trainer.output_dir / "student", training)
        scores = {}
        views = ["student"] if network == "student" else ["teacher", "direct"]
        if network == "student" and step.stage.teacher:
            views.append("teacher")
        for which in views:
            scored = trainer.distilled.student if which == "student" else trainer.distilled.teacher
            scores[which] = evaluate(cfg, scored, which)
            _store(trainer, step, which, scores[which])
        if network == "student":
            exported = [folder / network, trainer.output_dir / network]
            if comm.is_main_process() and cfg.DATASETS.TEST:
                found = trainer.task.found_scores(
                    trainer.output_dir / "inference" / "student" / cfg.DATASETS.TEST[0]
                )
                for student in exported:
                    record_scores(found, student)
            choose_threshold(cfg, trainer.distilled.student, exported)
            keep_best(trainer, step, step.end, trainer.distilled.student)
        trainer.distilled.train()
        if comm.is_main_process():
            report = {
                **step.describe(),
                **trainer.task.conventions,
                **trainer.distilled.measured(),
                "schedule": trainer.schedule.name,
                "sources": trainer.sources,
                "seconds": round(trainer.seconds, 3),
                # A class that the test set lacks has no score: null, since JSON knows no NaN.
                "results": {
                    which: {k: None if math.isnan(v) else v for k, v in found.items()}
                    for which, found in scores.items()
                },
            }
            for path in within_step_files(cfg):  # older than the step's own
                path.unlink()
            write_json(report, done_file(cfg, step))  # the last: nobody looks at a finished step again
        comm.synchronize()

    def choose_late(self, step: Step) -> None:
        """Choose for a finished step, whose weights are loaded, what MHKD.CHOOSE_ON asks for since."""
        trainer, wanted = self.trainer, self.trainer.cfg.MHKD.CHOOSE_ON
        if not (step.stage.student and wanted):
            return
        folders = [trainer.output_dir / step.folder / "student", trainer.output_dir / "student"]
        weights = [sha256(f / WEIGHTS) if (f / WEIGHTS).is_file() else None for f in folders]
        folders = [f for f, w in zip(folders, weights) if w == weights[0] is not None]  # or of a later step
        if any(chosen_on(f) != wanted for f in folders):
            trainer.distilled.apply_stage(step.stage)
            choose_threshold(trainer.cfg, trainer.distilled.student, folders)


class MetricsWriter(hooks.PeriodicWriter):
    """Detectron2's writers; their files are opened when training begins, not for a run that is refused."""

    def __init__(self, period: int = 20) -> None:
        super().__init__([], period)
        self._said_of_threads = threading.excepthook

    def before_train(self) -> None:
        self._writers = default_writers(str(self.trainer.output_dir), self.trainer.max_iter)
        threading.excepthook = self._say_of_thread

    def after_train(self) -> None:
        try:
            super().after_train()
        finally:
            threading.excepthook = self._said_of_threads

    def _say_of_thread(self, args: threading.ExceptHookArgs) -> None:
        """TensorBoard's thread keeps its error, which whoever writes next raises: it is said once, there."""
        if args.exc_value is None or getattr(args.thread, "exception", None) is not args.exc_value:
            self._said_of_threads(args)


class WithinStep(HookBase):
    """Every ``period`` iterations, but not at a step's end, which :class:`StageTransition` sees to."""

    def __init__(self, period: int) -> None:
        """0: never."""
        self._period = period

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if self._period > 0 and done % self._period == 0 and done != self.trainer.step.end:
            self.run()


class PeriodicCheckpoint(WithinStep):
    """Writes ``OUTPUT_DIR/checkpoint.pth``, unless the training is diverging; the one before is kept as
    ``checkpoint_previous.pth``."""

    def run(self) -> None:
        if not self.trainer.is_diverging():  # asked of every process: norms may be synchronized
            self.trainer.save(checkpoint_file(self.trainer.cfg), within_step=True)


class PeriodicEval(WithinStep):
    """Scores the network in training, and keeps the student that is the best so far."""

    def run(self) -> None:
        trainer = self.trainer
        which = "student" if trainer.step.stage.student else "teacher"
        scores = evaluate(trainer.cfg, getattr(trainer.updates.scored, which), which)
        _store(trainer, trainer.step, which, scores)
        keep_best(trainer, trainer.step, trainer.iter + 1, trainer.updates.scored.student)
        trainer.distilled.train()


def _store(trainer: Any, step: Step, which: str, scores: dict[str, float]) -> None:
    """To the event storage: of detection "bbox/AP" for the network in training, "direct/AP" or, of a teacher
    that trains beside a student, "teacher/AP"."""
    in_training = which == ("student" if step.stage.student else "teacher")
    prefix = trainer.task.scores if in_training else which
    storage = getattr(trainer, "storage", None)  # none yet when a resumed run finishes a step
    if storage is not None and comm.is_main_process():
        storage.put_scalars(**{f"{prefix}/{k}": v for k, v in scores.items()}, smoothing_hint=False)
