"""What a table needs trained: what is finished, what resumes, what rows share, and how long it takes."""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from detectron2.config import CfgNode

from ..engine.record import other_settings, settings_differences, step_differences
from ..engine.resume import done_file, find_start, left_over, within_step_files
from ..engine.settings import steps_of
from ..engine.settled import settled
from ..errors import InputError
from ..evaluation.report import TRAIN_AGAIN, read_stage
from ..files import replacing_folder
from ..schedules import Step
from .rows import Method

REMEDY = "Give the table another --out, or ask for the settings it was trained with"
# Seconds an iteration where nothing was measured: two CPU cores at CPU size, a GPU at full size.
DEFAULT_SECONDS = {"cpu": 0.9, "cuda": 0.25}


@dataclass
class Training:
    """One method with one seed, on one fold where there are some, and where it stands.

    Attributes:
        group: what it is compared within, "seed 0" or "slidefold1of5": those of one group, whose folders
            are in one, share equal first steps.
        steps: of its schedule, in order.
        finished: how many of them are.
        reached: iterations done, those of a step in progress included.
        shared: folders of finished steps of other trainings that equal the next ones here.
    """

    method: Method
    group: str
    cfg: CfgNode = field(repr=False)
    steps: list[Step] = field(repr=False)
    finished: int = 0
    reached: int = 0
    shared: list[Path] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return Path(self.cfg.OUTPUT_DIR)

    @property
    def name(self) -> str:
        return f"{self.method.key}, {self.group}"

    @property
    def is_finished(self) -> bool:
        return self.finished == len(self.steps)

    @property
    def network_folder(self) -> Path:
        """The exported network that is scored."""
        network = "student" if self.steps[-1].stage.student else "teacher"
        return self.folder / self.steps[-1].folder / network

    def reports(self) -> list[dict]:
        """``stage.json`` of every step."""
        return [read_stage(self.folder / s.folder / "stage.json") for s in self.steps]


def plan_training(method: Method, group: str, cfg: CfgNode) -> Training:
    """Look at what there is of a row.

    Raises:
        InputError: it was trained with other settings than ``cfg``.
    """
    cfg = settled(cfg)
    steps = steps_of(cfg)
    training = Training(method, group, cfg, steps)
    for step in steps:
        if not done_file(cfg, step).is_file():
            break
        different = step_differences(step, cfg, training.folder / step.folder)
        if different:
            raise other_settings(training.folder / step.folder, different, REMEDY)
        training.finished += 1
        training.reached = step.end
    others = left_over(training.folder, steps)
    if others:
        raise other_settings(training.folder, [f"it has {', '.join(others)}"], REMEDY)
    if within_step_files(cfg) and training.finished < len(steps):
        start = find_start(cfg, steps, resume=True, remedy=REMEDY)
        training.reached = max(training.reached, start.iteration)
    return training


def find_shared(training: Training, group_folder: Path) -> list[Path]:
    """Folders of finished steps elsewhere under ``group_folder`` that equal those ``training`` lacks.

    Only a training that has not begun takes any over; the longest equal beginning wins.
    """
    if training.reached:
        return []
    best: list[Path] = []
    for other in sorted(p for p in group_folder.glob("*") if p != training.folder):
        equal = []
        for step in training.steps:
            folder = other / step.folder
            needed = (folder / "stage.json", folder / "model_final.pth")
            if not all(p.is_file() for p in needed) or step_differences(step, training.cfg, folder):
                break
            equal.append(folder)
        best = max(best, equal, key=len)
    return best


def find_planned(training: Training, earlier: Iterable[Training]) -> list[str]:
    """Names of the first steps that a training of ``earlier`` will have finished before this one."""
    if training.reached:
        return []
    best: list[str] = []
    for other in earlier:
        equal = []
        for mine, theirs in zip(training.steps, other.steps):
            same = mine.describe() == theirs.describe() and mine.student_start == theirs.student_start
            same = same and other.group == training.group
            if not same or settings_differences(mine, training.cfg, other.cfg):
                break
            equal.append(mine.folder)
        best = max(best, equal, key=len)
    return best


def take_over(training: Training) -> None:
    """Put the shared steps into the training's own folder, as hard links where the disk can."""
    for source in training.shared:
        target = training.folder / source.name
        with replacing_folder(target) as temporary:  # one that was cut short may be there
            shutil.copytree(source, temporary, copy_function=_link, dirs_exist_ok=True)


def seconds_per_iteration(root: Path) -> dict[tuple, float]:
    """Measured means of the finished steps under ``root``, by :func:`_cost_key`.

    Raises:
        InputError: one's record is damaged.
    """
    measured = defaultdict(list)
    for path in root.glob("*/*/*_*/stage.json"):
        report = read_stage(path)
        try:
            seconds = report["seconds"] / (report["end_iter"] - report["start_iter"])
            measured[_cost_key(path.parents[1].name, report)].append(seconds)
        except (KeyError, TypeError, ArithmeticError) as e:
            raise InputError(f"{path}: is no record of a step with its plan ({e!r}): {TRAIN_AGAIN}") from e
    return {k: sum(v) / len(v) for k, v in measured.items()}


def estimate_seconds(training: Training, measured: dict[tuple, float], shared: Iterable[str] = ()) -> float:
    """Of what is left to train, without the steps (folders' names) in ``shared``.

    A kind of step that was not measured costs the mean of those that were, or a default.
    """
    default = DEFAULT_SECONDS["cpu" if training.cfg.MODEL.DEVICE == "cpu" else "cuda"]
    default = sum(measured.values()) / len(measured) if measured else default
    shared = set(shared)
    return sum(
        (s.end - max(s.start, training.reached))
        * measured.get(_cost_key(training.method.key, s.describe()), default)
        for s in training.steps
        if s.end > training.reached and s.folder not in shared
    )


def _cost_key(method: str, step: dict) -> tuple:
    """What an iteration's cost depends on: for a teacher its architecture, for a student the losses and the
    factor with which keys end where rows differ in it."""
    if not step["student_trains"]:
        return (method if method in ("cascade_rcnn", "fcos", "atss", "dab_detr", "dino") else "teacher",)
    return (*sorted(step["losses"]), "/", *step["teacher_trains"], step["bfa"], method.partition("_x")[2])


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without hard links
        shutil.copy2(source, target)
