"""Pair: a teacher and a student as the trainer knows them, whatever they are trained for."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import nn

from ..schedules import Stage

Parts = Mapping[str, Sequence[nn.Module]]


class Pair(nn.Module):
    """What a schedule trains. The meta-architecture of a task derives from it.

    In training ``forward`` takes a batch of the task's mapper and gives a dict of weighted scalar losses,
    each logged on its own.

    Attributes:
        task: the MHKD.TASK that it trains; empty: any.
        teacher: takes HR.
        student: takes LR; None where the teacher trains alone.
        stage: what is trained at present.
    """

    task: str = ""
    teacher: nn.Module
    student: nn.Module | None
    stage: Stage

    def parts(self) -> dict[str, Parts]:
        """The modules of the parts that a step may name, of "teacher" and of "student"."""
        raise NotImplementedError

    def start_student_from_teacher(self) -> None:
        """Copy the teacher's weights to the student."""
        raise NotImplementedError

    def measured(self) -> dict[str, Any]:
        """What the training has found out on its way, to be recorded with the step; JSON-ready."""
        return {}

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @cached_property
    def _frozen(self) -> frozenset[int]:
        """Parameters that the config froze for good, MODEL.BACKBONE.FREEZE_AT: by id, as they were built."""
        return frozenset(id(p) for p in self.parameters() if not p.requires_grad)

    def apply_stage(self, stage: Stage) -> None:
        """Set what trains and what is frozen (no gradient, evaluation mode)."""
        frozen = self._frozen
        self.stage = stage
        of_student = [p for p in stage.student if stage.bfa or p != "bfa"]
        for network, trained in (("teacher", stage.teacher), ("student", of_student)):
            for name, modules in self.parts()[network].items():
                for p in (p for module in modules for p in module.parameters()):
                    p.requires_grad_(name in trained and id(p) not in frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Pair":
        """As in ``nn.Module``, but frozen parts stay in evaluation mode (batch norm statistics)."""
        super().train(mode)
        for parts in self.parts().values():
            for module in (m for modules in parts.values() for m in modules):
                if not any(p.requires_grad for p in module.parameters()):
                    module.eval()
        return self
