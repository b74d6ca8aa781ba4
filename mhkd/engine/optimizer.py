"""Detectron2's ``build_optimizer``, with AdamW beside SGD."""

import torch
from detectron2.config import CfgNode
from detectron2.solver import build_optimizer as build_sgd
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping
from torch import nn

from ..errors import InputError


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """SOLVER.OPTIMIZER over the parameters of ``model`` that require a gradient.

    Raises:
        InputError: another name than "SGD" or "AdamW".
    """
    clip = cfg.SOLVER.CLIP_GRADIENTS
    if clip.ENABLED and clip.CLIP_TYPE == "full_model":  # Detectron2 clips each parameter on its own
        cfg = cfg.clone()
        cfg.defrost()
        cfg.SOLVER.CLIP_GRADIENTS.ENABLED = False
        return clip_full_model(build_optimizer(cfg, model), clip.CLIP_VALUE, clip.NORM_TYPE)
    if cfg.SOLVER.OPTIMIZER == "SGD":
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
    return maybe_add_gradient_clipping(cfg, torch.optim.AdamW)(params)


def clip_full_model(
    optimizer: torch.optim.Optimizer, max_norm: float, norm_type: float = 2.0
) -> torch.optim.Optimizer:
    """``optimizer``, which from now on clips the norm of all gradients together before each step."""
    plain = type(optimizer)

    def step(self, closure=None):
        parameters = [p for group in self.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, max_norm, norm_type)
        return plain.step(self, closure)

    optimizer.__class__ = type(f"{plain.__name__}WithFullModelClipping", (plain,), {"step": step})
    return optimizer
