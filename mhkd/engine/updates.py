"""How gradients become new weights in one step of a schedule."""

from typing import Any, cast

import torch
from detectron2.config import CfgNode

from ..modeling.pair import Pair
from ..schedules import Step
from .averaging import build_average
from .checkpoint import AVERAGED
from .finite import not_finite_gradients
from .optimizer import build_optimizer, build_scheduler, clip_gradients


class Updates:
    """Optimizer, learning rate, the scaling of losses and the moving average of the weights, of one step.

    An iteration is any number of :meth:`backward`, then :meth:`not_finite`, then :meth:`apply`.
    """

    def __init__(self, cfg: CfgNode, networks: Pair, step: Step, all_steps: list[Step]) -> None:
        """
        Args:
            cfg: of :func:`mhkd.engine.optimizer.step_cfg`.
            networks: whose parameters that require a gradient are moved.
        """
        self._cfg, self._networks = cfg, networks
        self._optimizer = build_optimizer(cfg, networks)
        self._scheduler = build_scheduler(cfg, self._optimizer, step, all_steps)
        decay, amp = cfg.SOLVER.EMA_DECAY, cfg.SOLVER.AMP
        self._averages = build_average(networks, decay) if decay else None
        self._amp_dtype = getattr(torch, amp.DTYPE) if amp.ENABLED else None
        device = networks.device.type
        self._scaler = torch.amp.GradScaler(device, enabled=self._amp_dtype is torch.float16)

    @property
    def learning_rate(self) -> float:
        """Of this iteration."""
        return float(self._optimizer.param_groups[0]["lr"])

    @property
    def scored(self) -> Pair:
        """The networks as they are scored: with averaged weights, where there are any."""
        return cast(Pair, self._averages.module) if self._averages else self._networks

    def autocast(self) -> torch.autocast:
        """What losses are computed in, SOLVER.AMP."""
        device = self._networks.device.type
        return torch.autocast(device, self._amp_dtype, enabled=self._amp_dtype is not None)

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a part of an iteration's loss."""
        self._scaler.scale(loss).backward()

    def not_finite(self) -> list[str]:
        """Parameters whose gradients of this iteration are not finite.

        Those of float16 may be infinite: :meth:`apply` leaves such an iteration out.
        """
        self._scaler.unscale_(self._optimizer)
        return [] if self._scaler.is_enabled() else not_finite_gradients(self._networks)

    def apply(self) -> None:
        """Change the weights, and go on to the next iteration."""
        clip_gradients(self._cfg, self._optimizer)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        self._scheduler.step()
        if self._averages:
            self._averages.update_parameters(self._networks)

    def take_averages(self) -> None:
        """At a step's end averaged weights become the weights, which the next step starts from."""
        if self._averages:
            self._networks.load_state_dict(self._averages.module.state_dict())

    def state(self) -> dict[str, Any]:
        """What a checkpoint within the step needs beside the weights."""
        found: dict[str, Any] = {
            "optimizer": self._optimizer.state_dict(),
            "scheduler": self._scheduler.state_dict(),
            "scaler": self._scaler.state_dict(),
        }
        if self._averages:
            found[AVERAGED] = self._averages.module.state_dict()
            found["averaged_times"] = int(self._averages.n_averaged)
        return found

    def load(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._scheduler.load_state_dict(state["scheduler"])
        self._scaler.load_state_dict(state["scaler"])
        if self._averages:
            self._averages.module.load_state_dict(state[AVERAGED])
            self._averages.n_averaged.fill_(state["averaged_times"])
