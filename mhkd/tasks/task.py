"""What a task is: all that trainer, hooks, scores and exports must know of what is trained.

The other half of the seam is :class:`mhkd.modeling.Pair`, the networks of a task while they train.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils.registry import Registry
from torch import nn

from ..data.registrar import values_of
from ..errors import InputError
from ..evaluation.best_threshold import Choice
from ..losses import NEEDS, needs_of
from ..schedules import Schedule, Stage

VIEWS = {"student": "lr", "direct": "lr", "teacher": "hr"}  # what each MHKD.EVAL looks at

# Functions without arguments that give a Task; MHKD.TASK has the name of one. A task of one's own is
# registered by a file that --with names.
TASK_REGISTRY = Registry("TASK")


class Task(ABC):
    """One object serves every config; what depends on one is asked with it.

    Attributes:
        parts: the parts whose training a schedule's step may switch, of "teacher" and of "student": the keys
            of :meth:`mhkd.modeling.Pair.parts`.
        teacher_stage: the teacher's own training, step 0 of every schedule that has a teacher.
        label_loss: the loss of the annotations, which a step has if the teacher trains in it.
        computes: what an iteration of its networks computes for losses, of :data:`mhkd.losses.NEEDS`.
        scores: what evaluators file their results under, and scores in the training's curves.
        counts: whether objects are counted from a score on, see :meth:`best_threshold`.
        conventions: how the task treats its data where no config says so; recorded with what is trained.
    """

    parts: Mapping[str, tuple[str, ...]]
    teacher_stage: Stage
    label_loss: str
    computes: Collection[str] = NEEDS
    scores: str
    counts: bool = False
    conventions: Mapping[str, str] = {}

    # --- Data ----------------------------------------------------------------------------------
    @abstractmethod
    def check_datasets(self, cfg: CfgNode, training: bool) -> None:
        """Register and check what ``cfg`` names, before anything is built or trained.

        Args:
            training: False where trained weights are only scored.

        Raises:
            InputError: a dataset is missing, at fault, or does not go with another or with ``cfg``.
        """

    @abstractmethod
    def mapper(self, cfg: CfgNode, view: str = "") -> Callable[[dict], dict]:
        """From a dataset dict to the input of the networks.

        Args:
            cfg: of the pair; to score one network, of that network (:meth:`network_cfg`).
            view: "hr" or "lr", to be scored; empty: to train a pair, which sees both.
        """

    def classes(self, cfg: CfgNode) -> list[str]:
        """Names of the training data's classes, or MHKD.CLASSES where that is not named or not at hand."""
        for name in cfg.DATASETS.TRAIN[:1]:
            return list(MetadataCatalog.get(name).get("thing_classes", cfg.MHKD.CLASSES))
        return list(cfg.MHKD.CLASSES)

    def lr_mpp(self, cfg: CfgNode) -> float:
        """Micrometres per LR pixel of the training data, 0 where entries say nothing or differ."""
        names = cfg.DATASETS.TRAIN or cfg.MHKD.UNLABELED
        found = set().union(*(values_of(DatasetCatalog.get(name), "mpp") for name in names))
        mpp = found.pop() if len(found) == 1 else None
        return mpp * cfg.INPUT.LR_FACTOR if mpp else 0.0

    def convention_differences(self, record: Mapping, cfg: CfgNode) -> list[str]:
        """In what a training whose ``record`` has other conventions, or none, would be another one now."""
        return []

    # --- Scores --------------------------------------------------------------------------------
    @abstractmethod
    def evaluator(self, cfg: CfgNode, dataset: str, folder: Path) -> DatasetEvaluator:
        """Scores a network on ``dataset``: ``{self.scores: {name: percent}}``, and perhaps other
        kinds of scores. It may write to ``folder``."""

    def best_threshold(self, dataset: str, folder: Path, lowest: float = 0.0) -> Choice | None:
        """The score to count from, by what the evaluator wrote to ``folder``, which has none below
        ``lowest``; None where none can be told."""
        return None

    def found_scores(self, folder: Path) -> np.ndarray:
        """The scores of all in what the evaluator wrote to ``folder``; none where nothing is counted."""
        return np.empty(0)

    def averaged_over_flips(self, network: nn.Module) -> nn.Module:
        """``network`` as it is scored with TEST.AUG.ENABLED.

        Raises:
            InputError: that cannot be averaged.
        """
        raise InputError(f"TEST.AUG.ENABLED: cannot be done with {type(network).__name__}: set it to False")

    # --- Networks ------------------------------------------------------------------------------
    @abstractmethod
    def network_cfg(self, cfg: CfgNode, network: str, bfa: bool = False) -> CfgNode:
        """A copy of ``cfg`` that builds one network alone, as it trains and is scored.

        Args:
            cfg: of a training, or of an exported network.
            network: "teacher" or "student".
            bfa: whether the student has BFA.
        """

    def never_read(self, cfg: CfgNode, training: bool) -> dict[str, str]:
        """Keys that nothing of it reads in a run of ``cfg``, or beginnings of several ("MODEL.RPN."), and
        what to do instead of setting them."""
        return {}

    def check_networks(self, cfg: CfgNode, schedule: Schedule) -> None:  # noqa: B027  (there may be nothing)
        """Raises InputError where keys of the networks do not go together, or with the schedule."""

    def deployed_form(self, cfg: CfgNode) -> CfgNode:
        """What :meth:`network_cfg` gave, or a folder of any age holds, as it is handed out; may be changed in
        place."""
        return cfg

    def scored_form(self, cfg: CfgNode) -> CfgNode:
        """The config of an exported network as it is scored: on images of the HR size."""
        return cfg

    def from_onnx(
        self, cfg: CfgNode, path: str | os.PathLike[str], classes: Sequence[str]
    ) -> tuple[nn.Module, Callable[[dict], dict]]:
        """An ``.onnx`` student and the mapper that its images go through, to be scored.

        Args:
            classes: the dataset's, in whose order its own are brought.

        Raises:
            InputError: there are none of this task, or it does not fit ``cfg``.
        """
        raise InputError(f"{path}: students of {cfg.MHKD.TASK} are scored from their folder")

    def check_exported(self, cfg: CfgNode) -> None:  # noqa: B027  (nothing to check is a good answer)
        """Raises InputError where an exported network's config contradicts itself."""

    @abstractmethod
    def rows_per_class(self, parameter: str) -> int | None:
        """How many rows of a parameter belong to each class; None: its rows are not of classes."""

    # --- Schedules -----------------------------------------------------------------------------
    def check_schedule(self, schedule: Schedule) -> None:
        """Raises InputError where a step has losses that the networks do not compute, or trains parts that
        there are not; it names the step and these."""
        for position, stage in enumerate(schedule.steps, 1):
            where = f"{schedule.source or 'schedule ' + schedule.name}: step {position}"
            for loss in stage.weights:
                lacking = sorted(needs_of(loss) - set(self.computes))
                if lacking:
                    raise InputError(
                        f"{where}: the loss {loss} is of another task: this one's networks do not compute "
                        f"{', '.join(lacking)}"
                    )
            for network, named in (("teacher", stage.teacher), ("student", stage.student)):
                unknown = sorted(set(named) - set(self.parts[network]))
                if unknown:
                    raise InputError(
                        f"{where}: {network} must list the parts that train, of "
                        f"{', '.join(self.parts[network])}: there is no {', '.join(unknown)}"
                    )
            if stage.teacher and self.label_loss not in stage.weights:
                raise InputError(
                    f"{where}: a teacher that trains needs the loss {self.label_loss}, which may weigh 0"
                )


def get_task(cfg: CfgNode) -> Task:
    """The task that MHKD.TASK names.

    Raises:
        InputError: there is none of this name.
    """
    name = cfg.MHKD.TASK
    if name not in TASK_REGISTRY:
        known = ", ".join(known for known, _ in TASK_REGISTRY)
        raise InputError(f"MHKD.TASK {name!r}: choose one of {known}, or name your own's file with --with")
    return TASK_REGISTRY.get(name)()
