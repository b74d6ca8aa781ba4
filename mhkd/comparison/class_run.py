"""``mhkd table`` of classification: rows at every factor on every fold; tables are written as rows finish."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data.folds import fold_names
from ..evaluation.bootstrap import FEW, Groups, groups_of
from ..evaluation.class_scores import bootstrap_class_scores
from ..evaluation.classification import SAMPLES
from ..evaluation.predictions import Predictions
from .class_configs import ClassConfigs
from .class_rows import ClassRow, ClassTable, chosen_class_rows
from .class_scores import score_classes
from .folds import Folds
from .plan import Training, plan_training
from .rows import Method
from .run import print_plan, train


@dataclass(frozen=True)
class Asked:
    """What a table is asked for.

    Attributes:
        dataset: its train and val are divided into folds.
        factors: HR pixels per LR pixel of the students.
        epochs: that every step that trains all of a network has.
        samples: of the bootstrap.
        options: config overrides, KEY VALUE ...
        command: to be recorded.
    """

    dataset: str
    factors: tuple[int, ...]
    folds: Folds
    epochs: int
    samples: int = SAMPLES
    options: tuple[str, ...] = ()
    command: str = ""


@dataclass
class Line:
    """A row at one factor.

    Attributes:
        factor: 1 of a teacher.
        folds: how many were asked for.
        trainings: one a fold; of a row that is not to be trained, those that there are.
        predictions: of the images of all folds that were asked for; None: not all of them are finished.
        samples: bootstrapped scores, paired with those of every other line.
        cost: of its first fold, see :func:`mhkd.comparison.class_scores.score_classes`.
    """

    row: ClassRow
    factor: int
    folds: int
    trainings: list[Training]
    predictions: Predictions | None = None
    samples: dict[str, np.ndarray] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return line_key(self.row.key, self.factor)

    @property
    def finished(self) -> int:
        return sum(t.is_finished for t in self.trainings)

    @property
    def is_finished(self) -> bool:
        return self.finished == self.folds


def line_key(row: str, factor: int) -> str:
    """The name of the folders of a row at a factor."""
    return row if factor == 1 else f"{row}_x{factor}"


def run_class_table(
    table: ClassTable,
    asked: Asked,
    out: Path,
    only: Sequence[str] = (),
    num_gpus: int = 1,
    dry_run: bool = False,
    echo: Callable[[str], None] = print,
) -> list[Path]:
    """Fill a table, writing it anew whenever a row is finished on all folds that are asked for.

    Trainings lie in ``out/<dataset>/fold<k>of<n>/<row>_x<factor>/``, the table beside the folds. What
    rows of a fold share, the teacher above all, is trained once.

    Args:
        only: keys of the rows to train; rows trained before are in the table all the same.
        dry_run: print the plan and stop.

    Returns:
        The files written.

    Raises:
        InputError: unknown row, a dataset that cannot be divided so, a row trained with other settings.
    """
    root = Path(out) / asked.dataset
    chosen = chosen_class_rows(table, only)
    lines = plan_lines(table, asked, root, chosen)
    wanted = [line for line in lines if line.row in chosen]
    print_plan([t for line in wanted for t in line.trainings], root, echo)
    if dry_run:
        return []
    from .class_report import write_class_table  # draws, which planning need not wait for

    # One row after the other, so that the table fills up; what is finished is scored first.
    for line in sorted(lines, key=lambda one: not one.is_finished):
        before = line.finished
        for training in line.trainings if line in wanted else ():
            train(training, num_gpus, echo)
        if line.is_finished:
            fill(line, asked, echo)
        if before < line.finished:
            write_class_table(table, lines, asked, root)
    return write_class_table(table, lines, asked, root)


def plan_lines(table: ClassTable, asked: Asked, root: Path, chosen: Sequence[ClassRow]) -> list[Line]:
    """The rows of a table at all factors, in its order, with what there is of each.

    Args:
        chosen: rows that are to be trained.

    Raises:
        InputError: see :func:`run_class_table`.
    """
    names = fold_names(asked.dataset, asked.folds.count, asked.folds.by)
    configs, lines = ClassConfigs(asked.epochs, asked.options), []
    for row in table.rows:
        for factor in asked.factors if row.teacher else (1,):
            key, trainings = line_key(row.key, factor), []
            for number in asked.folds.numbers:
                group = asked.folds.folder(number)
                if row not in chosen and not (root / group / key).is_dir():
                    continue
                method = Method(key, row.title, row.schedule, options=row.options)
                cfg = configs.of(row, factor, names[number - 1], root / group / key)
                trainings.append(plan_training(method, group, cfg))
            lines.append(Line(row, factor, len(asked.folds.numbers), trainings))
    return lines


def fill(line: Line, asked: Asked, echo: Callable[[str], None]) -> None:
    """Score what is trained of a line, all folds together."""
    echo(f"Scoring {line.key}")
    scored = [score_classes(training) for training in line.trainings]
    line.predictions = Predictions.concatenate([found for found, _ in scored])
    line.cost = scored[0][1]
    groups = interval_groups(line.predictions, asked.folds)
    line.samples = bootstrap_class_scores(line.predictions, groups.of, asked.samples)


def interval_groups(predictions: Predictions, folds: Folds) -> Groups:
    """Patients, where folds keep them together or they are enough; else slides, else images."""
    return groups_of(predictions.entries, 1 if folds.by == "patient" else FEW)
