"""How a step is optimized: the optimizer, the course of its learning rate, the clipping of gradients."""

import torch
from detectron2.config import CfgNode
from detectron2.solver import build_optimizer as build_sgd
from detectron2.solver.build import get_default_optimizer_params
from torch import nn

from ..errors import InputError
from ..schedules import Step


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """SOLVER.OPTIMIZER over the parameters of ``model`` that require a gradient; it does not clip.

    Raises:
        InputError: another name than "SGD" or "AdamW".
    """
    if cfg.SOLVER.OPTIMIZER == "SGD":
        cfg = cfg.clone()
        cfg.defrost()
        cfg.SOLVER.CLIP_GRADIENTS.ENABLED = False  # Detectron2 would hide it in the optimizer's step
        return build_sgd(cfg, model)
    if cfg.SOLVER.OPTIMIZER != "AdamW":
        raise InputError(f"SOLVER.OPTIMIZER {cfg.SOLVER.OPTIMIZER!r}: choose SGD or AdamW")
    solver = cfg.SOLVER
    params = get_default_optimizer_params(
        model,
        solver.BASE_LR,
        solver.WEIGHT_DECAY,
        solver.WEIGHT_DECAY_NORM,
        solver.BIAS_LR_FACTOR,
        solver.WEIGHT_DECAY_BIAS,
    )
    return torch.optim.AdamW(params)


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
