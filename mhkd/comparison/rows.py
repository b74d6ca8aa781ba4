"""The rows of the paper's tables, as data: what each trains, and what the paper found."""

from dataclasses import dataclass, replace

from ..errors import InputError
from ..schedules import SCHEDULES, get_schedule
from ..schedules.files import ENDINGS


@dataclass(frozen=True)
class Method:
    """What a row trains; it is the same training in every table that has it.

    Attributes:
        key: the folder's name.
        title: the row's name in the tables.
        schedule: a name in :data:`mhkd.schedules.SCHEDULES`; ``direct`` is a detector trained on HR alone.
        config: of a direct detector, a file of ``configs/KidneyROI/direct/``; its architecture is merged
            into the dataset's config. Without one it is the teacher itself.
        packages: what it needs beyond the project's own requirements, as pip wants it.
        options: config overrides of this row, KEY VALUE ...
        given_teacher: that of the row ``faster_rcnn`` teaches, also where ``options`` would train another.
    """

    key: str
    title: str
    schedule: str
    config: str = ""
    packages: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    given_teacher: bool = False

    @property
    def is_direct(self) -> bool:
        return self.schedule == "direct"


TRANSFORMERS = "transformers>=5.23,<6"  # the extra "detr" of setup.cfg

METHODS = {
    m.key: m
    for m in (
        Method("faster_rcnn", "Faster R-CNN", "direct", "faster_rcnn"),
        Method("cascade_rcnn", "Cascade R-CNN", "direct", "cascade_rcnn"),
        Method("fcos", "FCOS", "direct", "fcos"),
        Method("atss", "ATSS", "direct", "atss"),
        Method("dab_detr", "DAB-DETR", "direct", "dab_detr", (TRANSFORMERS,)),
        Method("dino", "DINO", "direct", "dino", (TRANSFORMERS,)),
        Method("none", "student on LR alone", "none"),
        Method("none_bfa", "student on LR alone, with BFA", "none_bfa"),
        Method("none_from_teacher", "student on LR alone, from the teacher's weights", "none_from_teacher"),
        Method("baseline_kd", "Baseline (KD)", "baseline_kd"),
        Method("mhkd", "MHKD", "mhkd"),
        Method("mhkd_from_teacher", "MHKD, from the teacher's weights", "mhkd_from_teacher"),
        Method("three_step", "without BFA (three steps)", "three_step"),
        Method("online", "online", "online"),
        Method("offline", "offline", "offline"),
        Method("global_only", "global features only", "global_only"),
        Method("local_only", "local features only", "local_only"),
        Method("output_only", "output only", "output_only"),
        Method("single_step", "single step", "single_step"),
        Method("double_step", "double step", "double_step"),
    )
}
FASTER_RCNN = METHODS["faster_rcnn"]  # inference times are ratios to its own


@dataclass(frozen=True)
class Row:
    """A method in a table.

    Attributes:
        paper: the paper's figures, percent: AP, AP50, AP75, AR, AP-<class>, and "parameters" in millions
            and "seconds" of inference; empty where the paper has no such row.
    """

    method: Method
    paper: dict[str, float]
    title: str


@dataclass(frozen=True)
class Table:
    """A table, the paper's or one beyond it.

    Attributes:
        number: "I" to "VI"; a name where the paper has no such table.
        title: the paper's, shortened.
        paper_dataset: what the paper's figures were measured on, if it has any.
        reference: key of the row that the others are compared with.
    """

    number: str
    title: str
    paper_dataset: str
    reference: str
    rows: tuple[Row, ...]


LN_CLASSES = ("Slight", "Severe", "Fibrosis", "Incomplete", "Uncertain")


def _row(key: str, *paper: float, title: str = "") -> Row:
    names = ("AP", "AP50", "AP75", "AR", "parameters", "seconds", *(f"AP-{c}" for c in LN_CLASSES))
    return Row(METHODS[key], dict(zip(names, paper)), title or METHODS[key].title)


_OWN = tuple(_row(k) for k in ("none", "none_bfa", "none_from_teacher", "mhkd_from_teacher"))

TABLES = {
    t.number: t
    for t in (
        Table(
            "I",
            "detection methods, several classes",
            "LN",
            "mhkd",
            (
                _row("fcos", 25.2, 39.9, 29.1, 43.3, 50.79, 24.78, 45.7, 37.4, 13.2, 18.7, 10.8),
                _row("atss", 29.9, 44.4, 34.9, 52.2, 50.89, 24.49, 53.6, 42.7, 15.9, 23.6, 13.8),
                _row("dab_detr", 29.1, 42.8, 34.7, 61.3, 62.59, 2.22, 60.5, 48.7, 7.1, 22.2, 6.9),
                _row("dino", 32.7, 47.2, 38.8, 66.1, 66.44, 2.19, 62.1, 49.0, 15.7, 27.3, 9.3),
                _row("faster_rcnn", 22.3, 31.5, 27.5, 34.2, 60.14, 22.84, 39.8, 31.8, 8.8, 18.3, 12.8),
                _row("cascade_rcnn", 24.3, 33.9, 28.6, 34.9, 87.93, 24.41, 42.6, 33.3, 10.9, 21.9, 12.7),
                _row("baseline_kd", 40.3, 60.6, 47.7, 55.7, 47.33, 6.27, 63.6, 47.1, 37.1, 37.6, 16.0),
                _row("mhkd", 55.8, 76.9, 68.8, 63.8, 311.60, 6.54, 69.5, 54.8, 52.6, 55.0, 46.9),
                *_OWN,
            ),
        ),
        Table(
            "II",
            "detection methods, one class",
            "HuBMAP",
            "mhkd",
            (
                _row("fcos", 11.7, 39.2, 3.7, 24.3),
                _row("atss", 12.5, 41.8, 3.6, 20.1),
                _row("dab_detr", 19.4, 37.4, 17.1, 26.6),
                _row("dino", 23.4, 41.5, 22.6, 39.5),
                _row("faster_rcnn", 11.4, 24.5, 8.6, 13.1),
                _row("cascade_rcnn", 10.4, 19.7, 9.4, 11.6),
                _row("baseline_kd", 35.8, 76.9, 25.8, 44.9),
                _row("mhkd", 39.3, 80.0, 31.5, 46.0),
                *_OWN,
            ),
        ),
        Table(
            "III",
            "the Basic Feature Adaptive module",
            "LN",
            "mhkd",
            (
                _row("three_step", 49.0, 70.5, 60.6, 59.3),
                _row("mhkd", 55.8, 76.9, 68.8, 63.8, title="with BFA (MHKD)"),
            ),
        ),
        Table(
            "IV",
            "the strategy of distillation",
            "LN",
            "mhkd",
            (
                _row("online", 49.5, 67.7, 59.3, 60.6),
                _row("offline", 54.3, 74.6, 65.8, 63.7),
                _row("mhkd", 55.8, 76.9, 68.8, 63.8, title="hybrid (MHKD)"),
            ),
        ),
        Table(
            "V",
            "the location of distillation",
            "LN",
            "none",
            (
                _row("none", 37.0, 54.7, 43.5, 55.3, title="no distillation"),
                _row("global_only", 40.4, 62.6, 45.6, 58.8),
                _row("local_only", 41.4, 63.6, 49.2, 54.5),
                _row("output_only", 40.2, 61.4, 48.5, 55.0),
            ),
        ),
        Table(
            "VI",
            "the number of steps",
            "LN",
            "mhkd",
            (
                _row("single_step", 39.3, 57.7, 47.1, 55.9),
                _row("double_step", 45.9, 68.0, 54.5, 57.3),
                _row("mhkd", 55.8, 76.9, 68.8, 63.8, title="four steps (MHKD)"),
            ),
        ),
    )
}


def with_own_rows(tables: list[Table], only: tuple[str, ...]) -> tuple[list[Table], tuple[str, ...]]:
    """``tables`` with a row for each schedule in ``only`` that none of them has: a name or a .yaml file.

    Returns:
        The tables, and the keys of the chosen rows.
    """
    known = {r.method.key for t in tables for r in t.rows}
    names = [k for k in only if k not in known and (k in SCHEDULES or k.endswith(ENDINGS))]
    own = {k: get_schedule(k).name for k in names}
    rows = tuple(Row(Method(key, key, name), {}, key) for name, key in own.items())
    return [replace(t, rows=(*t.rows, *rows)) for t in tables], tuple(own.get(k, k) for k in only)


def methods_of(tables: list[Table], only: tuple[str, ...] = ()) -> list[Method]:
    """The methods that ``tables`` need, each once; Faster R-CNN comes first, times being ratios to it.

    Args:
        only: keys of methods to keep; empty keeps all.

    Raises:
        InputError: ``only`` names a method that is not in these tables.
    """
    found = {r.method.key: r.method for t in tables for r in t.rows}
    unknown = [k for k in only if k not in found]
    if unknown:
        raise InputError(f"no row {', '.join(unknown)} in the table: choose of {', '.join(found)}")
    chosen = {k: m for k, m in found.items() if not only or k in only}
    return list({FASTER_RCNN.key: FASTER_RCNN, **chosen}.values())
