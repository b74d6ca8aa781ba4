"""DirectDetector: any one detector, trained on HR by the same trainer, for comparison."""

from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_model
from torch import nn

from ..errors import InputError
from ..schedules import TEACHER, get_schedule
from .ignore import ignoring, training_heads
from .network_cfg import teacher_cfg
from .pair import Pair, Parts


@META_ARCH_REGISTRY.register()
class DirectDetector(Pair):
    """A teacher without a student: the paper's "direct detection" methods (section IV-C).

    It stands where :class:`DistilledRCNN` does, so that mapper, trainer, checkpoints and scores are the
    same for all. Schedule ``direct`` trains it; scored as "teacher" it sees HR, as "direct" upsampled LR.
    """

    task = "detection"
    student = None

    @configurable
    def __init__(self, *, teacher: nn.Module):
        """
        Args:
            teacher: takes Detectron2's batched inputs; gives a dict of losses in training, ``instances``
                in evaluation.
        """
        super().__init__()
        self.teacher = teacher
        self.apply_stage(TEACHER)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        if get_schedule(cfg.MHKD.SCHEDULE).steps:
            raise InputError(
                f"MHKD.SCHEDULE {cfg.MHKD.SCHEDULE} trains a student, which a DirectDetector has not: set "
                "MHKD.SCHEDULE direct, or MODEL.META_ARCHITECTURE DistilledRCNN"
            )
        return {"teacher": build_model(training_heads(teacher_cfg(cfg)))}

    def parts(self) -> dict[str, Parts]:
        """There is one stage, in which the detector trains whole."""
        return {"teacher": {}, "student": {}}

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """As :meth:`DistilledRCNN.forward`; ``image`` is what the detector sees."""
        if not self.training:
            return self.teacher(batched_inputs)
        weight = self.stage.weights["detect"]
        with ignoring(self.teacher, [x.get("ignore_boxes") for x in batched_inputs]):
            losses = self.teacher(batched_inputs)
        return {f"teacher/{name}": weight * v for name, v in losses.items()}
