"""The trainer: one loop over all steps of a schedule, resumable at any iteration."""

import contextlib
import functools
import logging
import math
import time
from pathlib import Path
from typing import Any, cast

import torch
from detectron2.config import CfgNode
from detectron2.engine import SimpleTrainer, TrainerBase, create_ddp_model, hooks
from detectron2.utils import comm
from torch import nn

from ..data.loader import build_train_loader, training_entries
from ..data.registrar import datasets_held
from ..data.semi_supervised import check_train_names
from ..data.training_colour import training_data_of
from ..data.workers import speaking_of_workers
from ..errors import InputError
from ..modeling.build import build_network
from ..modeling.pair import Pair
from ..schedules import Step, check_stage, check_unlabeled, get_schedule
from ..tasks import get_task
from ..training_data import TrainingData
from .batches import Batches
from .checkpoint import save_atomically
from .divergence import EXPLODED, Diverged, diverged, loss_with, replay_file
from .finite import not_finite
from .hooks import MetricsWriter, PeriodicCheckpoint, PeriodicEval, StageTransition
from .optimizer import step_cfg
from .record import sources
from .resume import Start, find_start, previous_file, within_step_files
from .settings import steps_of
from .settled import settled
from .skipped import SkippedImages
from .start import load_start
from .storage import ShortStorage
from .updates import Updates

logger = logging.getLogger(__name__)


class DistillationTrainer(TrainerBase):
    """Trains the teacher and then the student through its schedule up to MHKD.STAGE.

    Iterations count through all steps. What a step changes (trainable parts, optimizer, learning rates,
    DDP wrapper) is applied by :class:`StageTransition` through :meth:`enter_step`. Every iteration is
    seeded by its number, so that a resumed run equals an uninterrupted one.
    """

    resumed_state: dict[str, Any] | None
    first_loss: float | None
    updates: Updates

    def __init__(self, cfg: CfgNode) -> None:
        """Raises InputError for an unknown schedule or stage."""
        super().__init__()
        self.cfg = cfg = settled(cfg)
        self.task = get_task(cfg)
        self.output_dir = Path(cfg.OUTPUT_DIR)
        self.schedule = get_schedule(cfg.MHKD.SCHEDULE, cfg.MHKD.STUDENT_START)
        last = check_stage(self.schedule, cfg.MHKD.STAGE)
        check_train_names(cfg)
        if cfg.MHKD.UNLABELED_RATIO:
            check_unlabeled(self.schedule)
        self.all_steps = steps_of(cfg)
        self.steps = [s for s in self.all_steps if s.position <= last]
        if not self.steps:
            raise InputError(
                f"STAGE {last} of schedule {self.schedule.name} has nothing to train: its teacher is "
                "given (MODEL.TEACHER.WEIGHTS) or not used"
            )
        self.max_iter = self.steps[-1].end
        self.seconds = 0.0  # spent in the current step's iterations
        self.distilled = cast(Pair, build_network(cfg))  # see check_settings
        self.model: nn.Module = self.distilled  # wrapped by DDP in enter_step, where there are more processes
        self.skipped = SkippedImages(self.output_dir, cfg.DATALOADER.MAX_SKIPPED_IMAGES)
        self.stage_transition = StageTransition()
        self.register_hooks(
            [
                hooks.IterationTimer(),
                self.stage_transition,
                PeriodicEval(cfg.TEST.EVAL_PERIOD),
                PeriodicCheckpoint(cfg.SOLVER.CHECKPOINT_PERIOD),
                MetricsWriter() if comm.is_main_process() else None,
            ]
        )

    # --- Where to start ------------------------------------------------------------------------
    def train(self, resume: bool = False) -> None:
        """Train what is missing up to MHKD.STAGE.

        Raises:
            InputError: see :func:`mhkd.engine.resume.find_start`; or given weights do not fit; or the
                training diverges.
        """
        self.train_from(self.load(resume))

    def load(self, resume: bool) -> Start:
        """Load what training goes on from, writing nothing. Raises InputError as :meth:`train` does."""
        start = find_start(self.cfg, self.all_steps, resume, comm.get_world_size(), until=self.max_iter)
        load_start(self.cfg, self.distilled, start)
        return start

    def train_from(self, start: Start) -> None:
        """Train what is missing after :meth:`load`."""
        with datasets_held():
            self._train_from(start)

    def _train_from(self, start: Start) -> None:
        state = start.state or {}
        self.sources = state.get("sources", {}) | sources(self.cfg)
        if state:
            self._put_aside(start)
            logger.info(f"Resuming at iteration {start.iteration} from {start.path}")
        if start.unscored:  # killed between its last iteration and its export and evaluation
            self.seconds = state["seconds"]
            self.stage_transition.finish(start.unscored)
        self.resumed_state = start.state if start.within_step else None
        self.skipped.begin(resumed=start.path is not None)
        if start.iteration < self.max_iter:
            self._iterate(start.iteration)
        elif not start.unscored:
            self.stage_transition.choose_late(self.steps[-1])
        last, out = self.steps[-1], self.output_dir
        network = "student" if last.stage.student else "teacher"
        newest = last is self.all_steps[-1] and (out / network).is_dir()
        folder = out / network if newest else out / last.folder / network
        logger.info(f"{out}: every step up to {last.folder} is finished; the {network} is {folder}")

    def _put_aside(self, start: Start) -> None:
        """Damaged checkpoints get out of the way of the next ones, and are kept to be looked at."""
        comm.synchronize()  # the others have looked for what to start from
        for path, reason in start.damaged.items():
            kept = path
            if path in within_step_files(self.cfg) and comm.is_main_process():
                kept = path.rename(path.with_name(path.name + ".damaged"))
            logger.warning(
                f"{reason}; going on from {start.path}, iteration {start.iteration}; it is kept as {kept}"
            )

    def _iterate(self, start: int) -> None:
        """As ``TrainerBase.train``, which would print a traceback for bad input."""
        self.iter = self.start_iter = start
        with ShortStorage(start) as self.storage:
            try:
                self.before_train()
                while self.iter < self.max_iter:
                    with speaking_of_workers():
                        self.before_step()
                        self.run_step()
                        self.after_step()
                    self.iter += 1
            finally:
                self.after_train()

    # --- Steps ---------------------------------------------------------------------------------
    def enter_step(self, step: Step, state: dict[str, Any] | None = None) -> None:
        """Apply ``step``; ``state`` is a checkpoint from within it."""
        if step.student_start == "teacher" and state is None:
            self.distilled.start_student_from_teacher()
        self.step = step
        self.seconds = state["seconds"] if state else 0.0
        self.first_loss = state.get("first_loss") if state else None
        self.distilled.apply_stage(step.stage)
        images = len(training_entries(self.cfg)) if self.cfg.MHKD.LR_DECAY_EPOCHS else 0
        cfg = step_cfg(self.cfg, step, self.all_steps, images)
        self.updates = Updates(cfg, self.distilled, step, self.all_steps)
        if state:
            self.updates.load(state)
        # Built anew because other parameters train now: find_unused_parameters is never needed.
        ddp: dict[str, Any] = {} if self.distilled.device.type == "cuda" else {"device_ids": None}
        self.model = create_ddp_model(self.distilled, broadcast_buffers=False, **ddp)
        self.model.train()
        mapper, for_student = self.task.mapper(self.cfg), bool(step.stage.student)
        skips = self.skipped.of_draws()
        batches = build_train_loader(cfg, mapper, self.iter, step.end, for_student, skips)
        self._batches = Batches(batches, self.skipped)

    def run_step(self) -> None:
        start = time.perf_counter()
        rank_iter = self.iter * comm.get_world_size() + comm.get_rank()
        torch.manual_seed(self.cfg.SEED * 1_000_003 + rank_iter)
        self._batches.begin(self.iter)
        losses, data_time = self._backward()
        for found in self._batches.exchange({k: v.item() for k, v in losses.items()}):
            if not all(map(math.isfinite, found.values())):
                raise self._diverged("losses", found)
        SimpleTrainer.write_metrics(losses, data_time)
        if self.first_loss is None:
            self.first_loss = float(sum(losses.values()))
        if bad := self.updates.not_finite():
            raise self._diverged(f"gradients (e.g. of {bad[0]})")
        self.storage.put_scalar("lr", self.updates.learning_rate, smoothing_hint=False)
        self.storage.put_scalar("stage", self.step.position, smoothing_hint=False)
        self.updates.apply()
        self.seconds += time.perf_counter() - start

    def _backward(self) -> tuple[dict[str, torch.Tensor], float]:
        """Gradients of SOLVER.ACCUMULATE_BATCHES batches; their mean losses, and seconds waited for data."""
        num_batches, data_time = self.cfg.SOLVER.ACCUMULATE_BATCHES, 0.0
        means: dict[str, torch.Tensor] = {}
        for batch in range(num_batches):
            fetch = time.perf_counter()
            data = self._last_batch = next(self._batches)
            data_time += time.perf_counter() - fetch
            last = batch == num_batches - 1
            no_sync = contextlib.nullcontext if last else getattr(self.model, "no_sync", None)
            with (no_sync or contextlib.nullcontext)():
                losses = self._forward(data)
                self.updates.backward(sum(losses.values()) / num_batches)
            for name, value in losses.items():
                part = value.detach() / num_batches
                means[name] = means[name] + part if name in means else part
        return means, data_time

    def _forward(self, data: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        try:
            with self.updates.autocast():
                return self.model(data)
        except Exception as e:  # some networks raise at what is not finite before there is a loss
            bad = not_finite(self.distilled.state_dict())
            if bad or isinstance(e, FloatingPointError):
                raise self._diverged(f"weights (e.g. {bad[0]})" if bad else "proposals") from e
            raise

    def is_diverging(self) -> bool:
        """Whether the last images' losses, with the weights as they are now, are beyond all measure."""
        with self.updates.autocast():
            loss = loss_with(self.distilled, lambda: self.distilled(self._last_batch))
        first = self.first_loss or 0.0
        if loss <= EXPLODED * max(1.0, first):
            return False
        logger.warning(
            f"iteration {self.iter}: no checkpoint is written, since losses are {loss:.4g}, at this step's "
            f"beginning {first:.4g}: the training seems to diverge"
        )
        return True

    def _diverged(self, what: str, losses: dict[str, float] | None = None) -> Diverged:
        """``what`` is no longer finite; without ``losses`` those of the last iteration that had any."""
        if losses is None:
            losses = {k: v for k, (v, _) in self.storage.latest().items() if "loss" in k}
        state = replay_file(self.cfg, ".pth")
        if not_finite(self.distilled.state_dict()):
            state.unlink(missing_ok=True)
        else:
            save_atomically(self._state(self.iter, within_step=True), state)
        return diverged(self.cfg, self.all_steps, self.step, self.iter, what, losses, self._batches.images)

    # --- State ---------------------------------------------------------------------------------
    def save(self, path: Path, within_step: bool) -> None:
        """A training checkpoint after the current iteration; ``within_step`` adds what resuming the
        step needs, which the next step would not use."""
        if not comm.is_main_process():
            return
        bad = not_finite(self.distilled.state_dict())
        if bad:
            raise self._diverged(f"weights (e.g. {bad[0]})")
        previous = previous_file(self.cfg) if within_step else None
        save_atomically(self._state(self.iter + 1, within_step), path, previous)

    @functools.cached_property
    def training_data(self) -> TrainingData | None:
        """What a student that detects records of its training data."""
        if not self.task.counts:
            return None
        inputs = self.cfg.INPUT
        return training_data_of(training_entries(self.cfg), inputs.LR_FACTOR, inputs.LR_FILTER)

    def _state(self, iteration: int, within_step: bool) -> dict[str, Any]:
        """What a training goes on from at ``iteration``."""
        data = {
            "model": self.distilled.state_dict(),
            "iteration": iteration,
            "seconds": self.seconds,
            "plan": [s.describe() for s in self.all_steps],
            "stage": self.step.position,
            "bfa": self.step.stage.bfa,
            "cfg": self.cfg.dump(),
            "classes": self.task.classes(self.cfg),
            "lr_mpp": self.task.lr_mpp(self.cfg),
            "training_data": self.training_data.dump() if self.training_data else None,
            **self.task.conventions,
            "sources": self.sources,
            "processes": comm.get_world_size(),
        }
        if within_step:
            data["first_loss"] = self.first_loss
            data |= self.updates.state()
        return data
