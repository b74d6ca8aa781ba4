"""The trainer: one loop over all steps of a schedule, resumable at any iteration."""

import contextlib
import logging
import time
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.engine import SimpleTrainer, TrainerBase, create_ddp_model, default_writers, hooks
from detectron2.modeling import build_model
from detectron2.solver import build_lr_scheduler
from detectron2.utils import comm
from torch import nn

from ..config import parse_cfg
from ..data.loader import build_train_loader
from ..data.semi_supervised import check_train_names
from ..errors import InputError
from ..schedule import Step, check_stage, check_unlabeled, get_schedule, plan_steps
from ..yaml_files import one_line
from .checkpoint import (
    IGNORED_REGIONS,
    dataset_classes,
    ignored_regions_differences,
    load_file,
    load_weights,
    network_weights,
    save_atomically,
)
from .classes import order_classes, recorded_classes
from .evaluation import dataset_lr_mpp
from .hooks import PeriodicCheckpoint, PeriodicEval, StageTransition
from .optimizer import build_optimizer

logger = logging.getLogger(__name__)


class DistillationTrainer(TrainerBase):
    """Trains the teacher and then the student through its schedule up to MHKD.STAGE.

    Iterations count through all steps. What a step changes (trainable parts, optimizer, learning rates,
    DDP wrapper) is applied by :class:`StageTransition` through :meth:`enter_step`. Every iteration is
    seeded by its number, so that a resumed run equals an uninterrupted one.
    """

    def __init__(self, cfg: CfgNode):
        """Raises InputError for an unknown schedule or stage."""
        super().__init__()
        self.cfg = cfg
        self.output_dir = Path(cfg.OUTPUT_DIR)
        self.schedule = get_schedule(cfg.MHKD.SCHEDULE, cfg.MHKD.STUDENT_START)
        last = check_stage(self.schedule, cfg.MHKD.STAGE)
        check_train_names(cfg)
        if cfg.MHKD.UNLABELED_RATIO:
            check_unlabeled(self.schedule)
        self.all_steps = plan_steps(
            self.schedule,
            0 if cfg.MODEL.TEACHER.WEIGHTS else cfg.MHKD.TEACHER_ITERS,
            cfg.MHKD.STUDENT_ITERS,
        )
        self.steps = [s for s in self.all_steps if s.position <= last]
        if not self.steps:
            raise InputError(
                f"STAGE {last} of schedule {self.schedule.name} has nothing to train: its teacher is "
                "given (MODEL.TEACHER.WEIGHTS) or not used"
            )
        self.max_iter = self.steps[-1].end
        self.seconds = 0.0  # spent in the current step's iterations
        self.distilled = _build(cfg)
        self.model = self.distilled  # wrapped by DDP in enter_step, where there are more processes
        self.stage_transition = StageTransition()
        self.register_hooks(
            [
                hooks.IterationTimer(),
                self.stage_transition,
                PeriodicEval(cfg.TEST.EVAL_PERIOD),
                PeriodicCheckpoint(cfg.SOLVER.CHECKPOINT_PERIOD),
                hooks.PeriodicWriter(default_writers(str(self.output_dir), self.max_iter), 20)
                if comm.is_main_process()
                else None,
            ]
        )

    # --- Where to start ------------------------------------------------------------------------
    @property
    def checkpoint_file(self) -> Path:
        return self.output_dir / "checkpoint.pth"

    def final_file(self, step: Step) -> Path:
        return self.output_dir / step.folder / "model_final.pth"

    def done_file(self, step: Step) -> Path:
        """Written last: its presence says that the step is finished."""
        return self.output_dir / step.folder / "stage.json"

    def train(self, resume: bool = False) -> None:
        """Train what is missing up to MHKD.STAGE.

        Raises:
            InputError: OUTPUT_DIR holds a training and ``resume`` is False; or one of other steps; or a
                finished step's weights are gone; or given weights do not fit.
        """
        start, self.resumed_state = self._find_start(resume)
        if start >= self.max_iter:
            logger.info(f"{self.output_dir}: every step up to {self.steps[-1].folder} is finished")
            return
        super().train(start, self.max_iter)

    def _find_start(self, resume: bool) -> tuple[int, dict | None]:
        """The iteration to start from, and the checkpoint if that lies inside a step."""
        final = [s for s in self.all_steps if self.final_file(s).is_file()]
        done = [s for s in self.all_steps if self.done_file(s).is_file()]
        started = self.checkpoint_file.is_file() or final or done
        if started and not resume:
            raise InputError(
                f"{self.output_dir} holds a training already: add --resume to go on with it, or choose "
                "another OUTPUT_DIR"
            )
        if not started:
            self._start_afresh()
            return 0, None
        if done and not self.checkpoint_file.is_file() and done[-1] not in final:
            raise InputError(
                f"{self.final_file(done[-1])}: missing, though {done[-1].folder} is finished and the next "
                "step starts from it; restore it from a copy, or train in another OUTPUT_DIR"
            )
        path = self.final_file(final[-1]) if final else None
        state = load_file(path) if path else None
        if self.checkpoint_file.is_file():
            latest = load_file(self.checkpoint_file)
            if state is None or latest["iteration"] > state["iteration"]:
                path, state = self.checkpoint_file, latest
        self._check_plan(state, path)
        self._order_classes(state, path)
        if state["stage"] == 0 and state["iteration"] == self.all_steps[0].end:
            # The student is still as the seed made it: a teacher can be taken over from any schedule.
            load_weights(self.distilled.teacher, network_weights(state, "teacher", path), path)
        else:
            load_weights(self.distilled, state["model"], path)
        logger.info(f"Resuming at iteration {state['iteration']} from {path}")
        for step in final:  # killed between its last iteration and its export and evaluation
            if step not in done and state["iteration"] == step.end:
                self.seconds = state["seconds"]
                self.stage_transition.finish(step)
        return state["iteration"], state if "optimizer" in state else None

    def _start_afresh(self) -> None:
        if self.cfg.MODEL.TEACHER.WEIGHTS:
            path, classes = self.cfg.MODEL.TEACHER.WEIGHTS, dataset_classes(self.cfg)
            weights = network_weights(load_file(path), "teacher", path, classes)
            load_weights(self.distilled.teacher, weights, path)

    def _order_classes(self, state: dict, path: Path) -> None:
        """The dataset's categories may have got another order since, but not within a step."""
        recorded, classes = recorded_classes(state, path), dataset_classes(self.cfg)
        if "optimizer" in state and sorted(recorded) == sorted(classes) and recorded != classes:
            raise InputError(
                f"{path}: this step began with the classes in the order {recorded}, the data has them as "
                f"{classes}: give the dataset its categories' order back, or use another OUTPUT_DIR"
            )
        state["model"] = order_classes(state["model"], recorded, classes, path)

    def _check_plan(self, state: dict, path: Path) -> None:
        """The steps up to the checkpoint must be those that this config asks for."""
        if "plan" not in state:
            raise InputError(f"{path}: not a training checkpoint of this project")
        begun = [s for s in self.all_steps if s.start < state["iteration"]]
        reached = [s.describe() for s in begun]
        trained = state["plan"][: len(reached)]
        for asked, found in zip(reached, trained):
            if asked != found:
                changed = [k for k in asked | found if asked.get(k) != found.get(k)]
                raise InputError(
                    f"{path}: was trained with other settings: {found['step']} had "
                    f"{', '.join(f'{k} {found.get(k)}' for k in changed)}, this config asks for "
                    f"{', '.join(f'{k} {asked.get(k)}' for k in changed)}; use another OUTPUT_DIR"
                )
        if len(trained) != len(reached):
            raise InputError(f"{path}: was trained with another schedule; use another OUTPUT_DIR")
        if state["iteration"] < self.max_iter:
            for different in ignored_regions_differences(state, begun, self.cfg):
                raise InputError(f"{path}: {different}; use another OUTPUT_DIR")
        if "optimizer" not in state:
            return  # a step is finished; the next may draw from other images
        asked, found = self.cfg.MHKD, parse_cfg(state["cfg"], path).MHKD
        for key in ("LABELED_SHARE", "TEACHER_LABELED_SHARE", "UNLABELED", "UNLABELED_RATIO"):
            if type(asked[key])(found[key]) != asked[key]:  # a tuple is written as a list
                raise InputError(
                    f"{path}: was trained with MHKD.{key} {found[key]}, this config asks for {asked[key]}; "
                    "use another OUTPUT_DIR"
                )

    # --- Steps ---------------------------------------------------------------------------------
    def enter_step(self, step: Step, state: dict | None = None) -> None:
        """Apply ``step``; ``state`` is a checkpoint from within it."""
        if step.student_start == "teacher" and state is None:
            start_student_from_teacher(self.distilled)
        self.step = step
        self.seconds = state["seconds"] if state else 0.0
        self.distilled.apply_stage(step.stage)
        cfg = step_cfg(self.cfg, step, self.all_steps)
        self.optimizer = build_optimizer(cfg, self.distilled)
        self.scheduler = build_lr_scheduler(cfg, self.optimizer)
        amp = self.cfg.SOLVER.AMP
        self.amp_dtype = getattr(torch, amp.DTYPE) if amp.ENABLED else None
        device = self.distilled.device.type
        self.scaler = torch.amp.GradScaler(device, enabled=self.amp_dtype is torch.float16)
        if state:
            self.optimizer.load_state_dict(state["optimizer"])
            self.scheduler.load_state_dict(state["scheduler"])
            self.scaler.load_state_dict(state["scaler"])
        # Built anew because other parameters train now: find_unused_parameters is never needed.
        ddp = {} if device == "cuda" else {"device_ids": None}
        self.model = create_ddp_model(self.distilled, broadcast_buffers=False, **ddp)
        self.model.train()
        batches = build_train_loader(self.cfg, self.iter, step.end, for_student=bool(step.stage.student))
        self._batches = iter(batches)

    def run_step(self) -> None:
        start = time.perf_counter()
        rank_iter = self.iter * comm.get_world_size() + comm.get_rank()
        torch.manual_seed(self.cfg.SEED * 1_000_003 + rank_iter)
        device, num_batches = self.distilled.device.type, self.cfg.SOLVER.ACCUMULATE_BATCHES
        sums, data_time = {}, 0.0
        for batch in range(num_batches):
            fetch = time.perf_counter()
            data = next(self._batches)
            data_time += time.perf_counter() - fetch
            last = batch == num_batches - 1
            no_sync = contextlib.nullcontext if last else getattr(self.model, "no_sync", None)
            with (no_sync or contextlib.nullcontext)():
                with torch.autocast(device, self.amp_dtype, enabled=self.amp_dtype is not None):
                    losses = self.model(data)
                total = sum(losses.values()) / num_batches
                self.scaler.scale(total).backward()
            for name, value in losses.items():
                sums[name] = sums.get(name, 0) + value.detach() / num_batches
        SimpleTrainer.write_metrics(sums, data_time)
        self.scaler.unscale_(self.optimizer)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.storage.put_scalar("lr", self.optimizer.param_groups[0]["lr"], smoothing_hint=False)
        self.storage.put_scalar("stage", self.step.position, smoothing_hint=False)
        self.scheduler.step()
        self.seconds += time.perf_counter() - start

    # --- State ---------------------------------------------------------------------------------
    def save(self, path: Path, within_step: bool) -> None:
        """A training checkpoint after the current iteration; ``within_step`` adds what resuming the
        step needs, which the next step would not use."""
        if not comm.is_main_process():
            return
        data = {
            "model": self.distilled.state_dict(),
            "iteration": self.iter + 1,
            "seconds": self.seconds,
            "plan": [s.describe() for s in self.all_steps],
            "stage": self.step.position,
            "bfa": self.step.stage.bfa,
            "cfg": self.cfg.dump(),
            "classes": dataset_classes(self.cfg),
            "lr_mpp": dataset_lr_mpp(self.cfg),
            "ignored_regions": IGNORED_REGIONS,
        }
        if within_step:
            data["optimizer"] = self.optimizer.state_dict()
            data["scheduler"] = self.scheduler.state_dict()
            data["scaler"] = self.scaler.state_dict()
        save_atomically(data, path)


def _build(cfg: CfgNode) -> nn.Module:
    """``build_model``, with an error that a user can act upon where the settings do not go together."""
    try:
        return build_model(cfg)
    except InputError:
        raise
    except (LookupError, ValueError, TypeError, AssertionError, RuntimeError) as e:
        logger.debug("", exc_info=True)
        raise InputError(f"the networks of this config cannot be built: {one_line(e)}") from e


def step_cfg(cfg: CfgNode, step: Step, all_steps: list[Step]) -> CfgNode:
    """``cfg`` with the learning rate's course through one step: SOLVER.MAX_ITER and STEPS count from its
    start. Without MHKD.LR_RESTART the course is that of the student's steps taken together."""
    cfg = cfg.clone()
    cfg.defrost()
    first, last = step, step
    if step.position > 0 and not cfg.MHKD.LR_RESTART:
        student = [s for s in all_steps if s.position > 0]
        first, last = student[0], student[-1]
    decays = {first.start + int(share * (last.end - first.start)) for share in cfg.MHKD.LR_STEPS}
    cfg.SOLVER.BASE_LR *= cfg.SOLVER.GAMMA ** sum(first.start < d <= step.start for d in decays)
    cfg.SOLVER.STEPS = tuple(sorted(d - step.start for d in decays if step.start < d < step.end))
    cfg.SOLVER.MAX_ITER = step.end - step.start
    if step.start > first.start:
        cfg.SOLVER.WARMUP_ITERS = 0
    return cfg


def start_student_from_teacher(distilled) -> None:
    """Copy the teacher's weights to the student; BFA, which the teacher has not, stays as it is."""
    student = distilled.student.state_dict()
    for name, value in distilled.teacher.state_dict().items():
        own = name.replace("backbone.", "backbone.fpn.", 1) if name.startswith("backbone.") else name
        student[own] = value
    distilled.student.load_state_dict(student)
