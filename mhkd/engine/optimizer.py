"""How a step is optimized: the optimizer, the course of its learning rate, the clipping of gradients."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.solver import LRMultiplier, build_lr_scheduler
from detectron2.solver.build import get_default_optimizer_params
from torch import nn

from ..errors import InputError
from ..schedules import Stage, Step


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """SOLVER.OPTIMIZER over the parameters of ``model`` that require a gradient; it does not clip.

    Args:
        model: where MHKD.TEACHER_LR_FACTOR is not 1, with a ``teacher``, whose parameters get that rate.

    Raises:
        InputError: another name than "SGD", "Adam" or "AdamW".
    """
    solver = cfg.SOLVER
    kinds = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}
    if solver.OPTIMIZER not in ("SGD", *kinds):
        raise InputError(f"SOLVER.OPTIMIZER {solver.OPTIMIZER!r}: choose SGD, Adam or AdamW")
    adam = kinds.get(solver.OPTIMIZER)
    params = get_default_optimizer_params(
        model,
        base_lr=solver.BASE_LR,
        weight_decay=solver.WEIGHT_DECAY if adam else None,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
        bias_lr_factor=solver.BIAS_LR_FACTOR,
        weight_decay_bias=solver.WEIGHT_DECAY_BIAS,
    )
    factor = cfg.MHKD.TEACHER_LR_FACTOR
    if factor != 1:
        of_teacher = set(model.get_submodule("teacher").parameters())
        params = [part for group in params for part in _apart(group, of_teacher, factor)]
    if adam:
        return adam(params)
    return torch.optim.SGD(
        params,
        lr=solver.BASE_LR,
        momentum=solver.MOMENTUM,
        nesterov=solver.NESTEROV,
        weight_decay=solver.WEIGHT_DECAY,
    )


def _apart(group: dict[str, Any], chosen: set[nn.Parameter], factor: float) -> Iterator[dict[str, Any]]:
    """The parameters of a group that are not ``chosen``, and those that are at ``factor`` times its rate."""
    for lr, among in ((group["lr"], False), (group["lr"] * factor, True)):
        parameters = [p for p in group["params"] if (p in chosen) == among]
        if parameters:
            yield {**group, "params": parameters, "lr": lr}


def clip_gradients(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> None:
    """Clip what ``optimizer`` is about to step with, as SOLVER.CLIP_GRADIENTS says.

    CLIP_TYPE "value" and "norm" are Detectron2's, of each parameter on its own; "full_model" is the norm of
    all gradients together.
    """
    clip = cfg.SOLVER.CLIP_GRADIENTS
    if not clip.ENABLED:
        return
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if clip.CLIP_TYPE == "full_model":
        torch.nn.utils.clip_grad_norm_(parameters, clip.CLIP_VALUE, clip.NORM_TYPE)
    elif clip.CLIP_TYPE == "norm":
        for parameter in parameters:
            torch.nn.utils.clip_grad_norm_(parameter, clip.CLIP_VALUE, clip.NORM_TYPE)
    else:
        torch.nn.utils.clip_grad_value_(parameters, clip.CLIP_VALUE)


def with_ratio(cfg: CfgNode, stage: Stage) -> CfgNode:
    """A copy of ``cfg``, to be changed, with the share of unlabelled images that ``stage`` draws."""
    cfg = cfg.clone()
    cfg.defrost()
    if stage.unlabeled_ratio is not None:
        cfg.MHKD.UNLABELED_RATIO = float(stage.unlabeled_ratio)
    return cfg


def build_scheduler(
    cfg: CfgNode, optimizer: torch.optim.Optimizer, step: Step, all_steps: list[Step]
) -> LRMultiplier:
    """The course of the learning rate through one step.

    Args:
        cfg: of :func:`step_cfg`.
    """
    scheduler = build_lr_scheduler(cfg, optimizer)
    if _is_cosine(cfg):  # one curve over all steps of the course, on which this one begins further on
        first, _ = _course(cfg, step, all_steps)
        scheduler.last_epoch = step.start - first.start
        for group, rate in zip(optimizer.param_groups, scheduler.get_lr()):
            group["lr"] = rate
    return scheduler


def step_cfg(cfg: CfgNode, step: Step, all_steps: list[Step], images: int = 0) -> CfgNode:
    """``cfg`` as it holds in one step: its share of unlabelled images, and the learning rate's course through
    it: SOLVER.MAX_ITER and STEPS count from its start. Without MHKD.LR_RESTART the course is that of the
    student's steps taken together; a cosine's MAX_ITER is all of it.

    Args:
        images: in an epoch, for MHKD.LR_DECAY_EPOCHS.

    Raises:
        InputError: decays by epochs, and no images.
    """
    cfg = with_ratio(cfg, step.stage)
    solver = cfg.SOLVER
    first, last = _course(cfg, step, all_steps)
    drawn = solver.IMS_PER_BATCH * solver.ACCUMULATE_BATCHES
    if solver.REFERENCE_IMS_PER_BATCH:
        solver.BASE_LR *= drawn / solver.REFERENCE_IMS_PER_BATCH
    if not step.stage.student:
        cfg.MHKD.TEACHER_LR_FACTOR = 1.0
    length = last.end - first.start
    if _is_cosine(cfg):
        solver.MAX_ITER = length
        return cfg
    after = [share * length for share in cfg.MHKD.LR_STEPS]
    if cfg.MHKD.LR_DECAY_EPOCHS:
        if not images:
            raise InputError("MHKD.LR_DECAY_EPOCHS: DATASETS.TRAIN has no images for an epoch: set LR_STEPS")
        every = cfg.MHKD.LR_DECAY_EPOCHS * images / drawn
        after = [k * every for k in range(1, math.ceil(length / every))]
    decays = {first.start + int(iterations) for iterations in after}
    solver.BASE_LR *= solver.GAMMA ** sum(first.start < d <= step.start for d in decays)
    solver.STEPS = tuple(sorted(d - step.start for d in decays if step.start < d < step.end))
    solver.MAX_ITER = step.end - step.start
    if step.start > first.start:
        solver.WARMUP_ITERS = 0
    return cfg


def _is_cosine(cfg: CfgNode) -> bool:
    return cfg.SOLVER.LR_SCHEDULER_NAME == "WarmupCosineLR"


def _course(cfg: CfgNode, step: Step, all_steps: list[Step]) -> tuple[Step, Step]:
    """The first and the last step of the course of the learning rate that ``step`` is on."""
    if step.position == 0 or cfg.MHKD.LR_RESTART:
        return step, step
    student = [s for s in all_steps if s.position > 0]
    return student[0], student[-1]
