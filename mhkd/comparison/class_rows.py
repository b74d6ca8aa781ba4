"""The rows of the tables of classification, as data: what each trains, and what the papers found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import InputError

# Of the training patients, one third has labels where auxiliary images are compared; the others are ADv2, and
# half of them ADv1. Names of datasets end so, see mhkd.data.folds.
LABELLED, AD_V1, AD_V2 = "_part1of3", ("_part2of3",), ("_part2of3", "_part3of3")

PAPER_SETS = ("celiac disease", "lung adenocarcinoma")
PAPER_SCORES = ("accuracy_ovr", "macro_f1", "macro_precision", "macro_recall")
Figures = Mapping[int, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True)
class ClassRow:
    """A row at every factor, or the teacher's, which is on HR.

    Attributes:
        key: of its folders, with "_x4" behind it at factor 4.
        title: its name in the table.
        schedule: a name in :data:`mhkd.schedules.SCHEDULES`.
        reference: key of the row that it is compared with, at the same factor; empty: it is not.
        teacher: key of the teacher's row that it learned from or is measured by; empty: it is one.
        options: config overrides, KEY VALUE ...
        labelled: ending of the name of the training images that have labels; empty: all have.
        unlabelled: endings of the names of those used without.
        paper: factor (1: HR) -> the paper's dataset -> score -> percent.
    """

    key: str
    title: str
    schedule: str
    reference: str = ""
    teacher: str = "teacher"
    options: tuple[str, ...] = ()
    labelled: str = ""
    unlabelled: tuple[str, ...] = ()
    paper: Figures = field(default_factory=dict)


@dataclass(frozen=True)
class ClassTable:
    """A table.

    Attributes:
        name: as it is asked for.
        title: what it compares.
        source: where its rows, and the figures of others in it, are from.
        rows: the teacher first.
        told: what its paper says beside the figures of its tables; empty: nothing.
    """

    name: str
    title: str
    source: str
    rows: tuple[ClassRow, ...]
    told: str = ""


def _figures(**by_set: Mapping[int, Sequence[float]]) -> Figures:
    """Accuracy, F1, precision and recall by the paper's dataset and factor."""
    found: dict[int, dict[str, dict[str, float]]] = {}
    for name, factors in zip(PAPER_SETS, by_set.values()):
        for factor, values in factors.items():
            found.setdefault(factor, {})[name] = dict(zip(PAPER_SCORES, values))
    return found


# DiPalma et al., Tables 3 and 4. HR is 10x, 1 um per pixel: factor 2 is their 5x, 16 their 0.625x.
_TEACHER = _figures(celiac={1: (87.06, 75.44, 75.62, 77.15)}, lung={1: (92.59, 84.81, 84.62, 85.31)})
_BASELINE = _figures(
    celiac={
        16: (79.11, 55.72, 56.20, 55.67),
        8: (82.70, 65.06, 65.06, 65.22),
        4: (83.71, 68.32, 68.23, 68.57),
        2: (86.15, 73.42, 73.44, 73.65),
    },
    lung={
        16: (84.16, 64.45, 66.48, 63.60),
        8: (86.79, 70.39, 71.62, 70.25),
        4: (91.39, 82.15, 83.61, 81.50),
        2: (92.09, 83.61, 84.74, 83.09),
    },
)
_KD = _figures(
    celiac={
        16: (81.31, 64.16, 64.27, 65.13),
        8: (84.03, 70.49, 70.53, 71.06),
        4: (85.68, 73.01, 74.74, 74.67),
        2: (85.74, 73.27, 75.10, 74.82),
    },
    lung={
        16: (85.60, 68.03, 68.04, 68.49),
        8: (90.80, 80.33, 79.79, 81.77),
        4: (91.40, 81.22, 81.27, 83.23),
        2: (92.00, 83.31, 84.11, 84.93),
    },
)
_AD_V1 = _figures(
    celiac={
        16: (82.55, 64.95, 66.65, 64.11),
        8: (84.43, 69.75, 69.32, 70.95),
        4: (85.38, 72.39, 72.99, 75.67),
        2: (86.99, 75.07, 76.46, 78.00),
    }
)
_AD_V2 = _figures(
    celiac={
        16: (83.17, 66.83, 67.21, 69.29),
        8: (84.87, 71.20, 71.14, 73.56),
        4: (85.83, 73.56, 73.61, 76.43),
        2: (87.20, 75.86, 76.07, 77.41),
    }
)

_RAW = ("MHKD.ATTENTION.NORMALIZED", "False")
_PLAIN_TEACHER = ClassRow("teacher", "teacher (HR)", "teacher", teacher="")
_PLAIN_BASELINE = ClassRow("baseline", "baseline", "baseline")

CLASS_TABLES = {
    t.name: t
    for t in (
        ClassTable(
            "resolution",
            "distillation across resolutions",
            "DiPalma et al. 2021, Tables 3 and 4",
            (
                ClassRow("teacher", "teacher (HR)", "teacher", teacher="", paper=_TEACHER),
                ClassRow("baseline", "baseline", "baseline", paper=_BASELINE),
                ClassRow("kd", "KD", "kd", "baseline", paper=_KD),
                ClassRow(
                    "teacher_third", "teacher (HR), a third labelled", "teacher", "", "", labelled=LABELLED
                ),
                ClassRow(
                    "baseline_third",
                    "baseline, a third labelled",
                    "baseline",
                    "",
                    "teacher_third",
                    labelled=LABELLED,
                ),
                ClassRow(
                    "kd_ad1",
                    "KD (ADv1)",
                    "kd_unlabelled",
                    "baseline_third",
                    "teacher_third",
                    labelled=LABELLED,
                    unlabelled=AD_V1,
                    paper=_AD_V1,
                ),
                ClassRow(
                    "kd_ad2",
                    "KD (ADv2)",
                    "kd_unlabelled",
                    "baseline_third",
                    "teacher_third",
                    labelled=LABELLED,
                    unlabelled=AD_V2,
                    paper=_AD_V2,
                ),
            ),
            "Of renal cell carcinoma the paper's record says that the student at 1.25x is within 1 % of the "
            "teacher at 5x (×4) and needs a 16th of its computation. No table of that is at hand.",
        ),
        ClassTable(
            "resizing",
            "how the teacher's maps are brought to the student's size",
            "DiPalma et al. 2021, Supplementary Figure 1, whose figures are not at hand",
            (
                _PLAIN_TEACHER,
                ClassRow("kd_soft", "soft loss alone", "kd_soft", "kd"),
                ClassRow("kd_maxpool", "max-pooling", "kd_maxpool", "kd"),
                ClassRow("kd_bicubic", "bicubic", "kd_bicubic", "kd"),
                ClassRow("kd", "both (KD)", "kd"),
            ),
        ),
        ClassTable(
            "attention",
            "maps of attention",
            "del Amor et al., whose figures are not at hand",
            (
                _PLAIN_TEACHER,
                ClassRow("baseline", "cross-entropy (CE)", "baseline"),
                ClassRow("fm", "CE + FM", "fm", "baseline"),
                ClassRow("at", "CE + FM + AT", "at", "fm"),
                ClassRow("at_plus", "CE + FM + AT⁺", "at_plus", "fm"),
                ClassRow("at_raw", "CE + FM + AT, maps not normalised", "at", "fm", options=_RAW),
                ClassRow("at_plus_raw", "CE + FM + AT⁺, maps not normalised", "at_plus", "fm", options=_RAW),
            ),
            "Of prostate (SICAPv2), whose images are not at hand, the paper's record says that the method "
            "gains about 3 points of accuracy at 2.5x and 1.25x (×4 and ×8 of its teacher's 10x), and can "
            "reach the teacher with an eighth of its resolution. Ours are of another disease.",
        ),
    )
}


def get_class_table(name: str) -> ClassTable | None:
    """The table of that name; None where it is none of classification's."""
    return CLASS_TABLES.get(name.lower())


def chosen_class_rows(table: ClassTable, only: Sequence[str]) -> list[ClassRow]:
    """The rows to train: all, or those named and the teachers that they need.

    Raises:
        InputError: a name that no row has.
    """
    rows = {r.key: r for r in table.rows}
    unknown = [k for k in only if k not in rows]
    if unknown:
        raise InputError(f"no row {', '.join(unknown)} in the table: choose of {', '.join(rows)}")
    wanted = set(only or rows)
    wanted |= {rows[k].teacher for k in wanted} - {""}
    return [r for r in table.rows if r.key in wanted]
