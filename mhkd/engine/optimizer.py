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
    if cfg.SOLVER.OPTIMIZER == "SGD":
        return build_sgd(cfg, model)
    if cfg.SOLVER.OPTIMIZER != "AdamW":
        raise InputError(f"SOLVER.OPTIMIZER {cfg.SOLVER.OPTIMIZER!r}: choose SGD or AdamW")
    params = get_default_optimizer_params(
        model, cfg.SOLVER.BASE_LR, cfg.SOLVER.WEIGHT_DECAY, cfg.SOLVER.WEIGHT_DECAY_NORM
    )
    return maybe_add_gradient_clipping(cfg, torch.optim.AdamW)(params)
