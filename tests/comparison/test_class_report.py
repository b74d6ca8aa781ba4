"""What a table of classification says, of predictions whose scores can be worked out by hand."""

import csv
import io
import json

import mhkd  # noqa: F401
from mhkd.comparison.class_configs import cells, student_strides
from mhkd.comparison.class_report import collect, to_csv, to_markdown
from mhkd.comparison.class_rows import CLASS_TABLES, ClassRow, ClassTable, chosen_class_rows, get_class_table
from mhkd.comparison.class_run import Asked, Line, interval_groups
from mhkd.comparison.folds import Folds
from mhkd.errors import InputError
from mhkd.evaluation.class_scores import bootstrap_class_scores
from mhkd.evaluation.predictions import Predictions
from mhkd.schedules import SCHEDULES
from mhkd.visualization.classification import plot_cost

import numpy as np
import pytest
from PIL import Image

PAPER = {2: {"celiac disease": {"accuracy_ovr": 86.15}}}
ROWS = (
    ClassRow("teacher", "teacher (HR)", "teacher", teacher=""),
    ClassRow("baseline", "baseline", "baseline", paper=PAPER),
    ClassRow("kd", "KD", "kd", "baseline"),
)
TABLE = ClassTable("toy", "a toy", "nobody", ROWS, "Elsewhere it was so.")
LABELS = [0, 1] * 12  # 12 patients, an image of each class


def line(row, factor, wrong=(), flops=None):
    """A row whose network is wrong about some images; without FLOPs it is not run."""
    if flops is None:
        return Line(row, factor, 1, [])
    predicted = [1 - c if k in wrong else c for k, c in enumerate(LABELS)]
    entries = [{"file_name": f"{k}.png", "image_id": k, "patient": f"p{k // 2}"} for k in range(len(LABELS))]
    found = Predictions(np.eye(2)[predicted], np.array(LABELS), ("a", "b"), entries)
    drawn = bootstrap_class_scores(found, found.groups.of, 500)
    cost = {"flops": flops, "parameters": 10, "input_px": [8, 8]}
    return Line(row, factor, 1, [_NothingTrained()], found, drawn, cost)


class _NothingTrained:
    """Where a network lies and how long it took, of which this is not a test."""

    folder, is_finished = "nowhere", True

    def reports(self):
        return [{"seconds": 60.0}]


@pytest.fixture(scope="module")
def content():
    teacher, baseline, kd = ROWS
    lines = [
        line(teacher, 1, (), 1600_000_000),
        line(baseline, 2, range(0, 24, 2), 400_000_000),
        line(baseline, 4),
        line(kd, 2, (0,), 400_000_000),
        line(kd, 4, (), 100_000_000),
    ]
    return collect(TABLE, lines, Asked("toy", (2, 4), Folds(5), 25, 500, command="make table"))


def test_scores_differences_and_costs(content):
    teacher, baseline, missing, kd, kd4 = content["rows"]
    assert teacher["scores"]["balanced_accuracy"] == 100 and "to_teacher" not in teacher
    assert baseline["scores"]["balanced_accuracy"] == 50  # every image of class a is wrong
    assert kd["scores"]["accuracy"] == pytest.approx(100 * 23 / 24)
    assert kd["to_reference"]["to"] == "baseline_x2"
    assert kd["to_reference"]["balanced_accuracy"] == pytest.approx(50 - 100 / 24)
    assert kd["to_reference"]["verdict"] == "higher"
    assert kd["to_teacher"]["balanced_accuracy"] == pytest.approx(-100 / 24)
    assert kd["to_teacher"]["verdict"] == "undecided"  # patient p0 is not in every sample
    assert kd["flops_of_teacher"] == 0.25
    assert missing["status"] == "not run" and "scores" not in missing
    assert "to_reference" not in kd4  # its baseline is not run
    assert baseline["confusion"] == [[0, 12], [0, 12]]
    json.dumps(content, allow_nan=False)


def test_markdown_names_what_is_not_run_and_whose_figures_are_whose(content):
    text = to_markdown(content)
    rows = {
        tuple(cell.strip() for cell in row.split("|")[1:3]): row for row in text.splitlines() if "|" in row
    }
    assert "not run" in rows["baseline", "×4"]
    assert "+45.8" in rows["KD", "×2"] and "(baseline)" in rows["KD", "×2"] and "higher" in rows["KD", "×2"]
    assert "1/16" in rows["KD", "×4"] and "1/4" in rows["KD", "×2"]
    assert "12 patients" not in text and "by patient (12)" in text
    assert "celiac disease" in text and "ours are of another disease" in text
    assert "\nElsewhere it was so.\n" in text
    columns = {row.count("|") for row in text.splitlines() if row.startswith("|")}
    assert len(columns) == 2  # the table and that of the paper


def test_csv_has_a_line_a_row(content):
    rows = list(csv.DictReader(io.StringIO(to_csv(content).removeprefix("\ufeff"))))
    assert [r["key"] for r in rows] == ["teacher", "baseline_x2", "baseline_x4", "kd_x2", "kd_x4"]
    assert rows[3]["to_reference"] == "baseline_x2" and float(rows[3]["balanced_accuracy"]) < 100
    assert rows[2]["balanced_accuracy"] == ""
    assert float(rows[1]["paper, celiac disease: accuracy_ovr"]) == 86.15


def test_figure_with_and_without_rows(content, tmp_path):
    full = np.asarray(Image.open(plot_cost(content, tmp_path / "full.png")).convert("L"))
    empty = {**content, "rows": [{**r, "status": "not run"} for r in content["rows"]]}
    none = np.asarray(Image.open(plot_cost(empty, tmp_path / "none.png")).convert("L"))
    assert (full < 200).mean() > (none < 200).mean() > 0


def test_few_patients_are_shown_one_by_one_where_folds_are_pooled():
    teacher = ROWS[0]
    one = line(teacher, 1, (0,), 1)
    for k, entry in enumerate(one.predictions.entries):
        entry["patient"] = f"p{k // 12}"
    asked = Asked("toy", (2,), Folds(5), 25, 500)
    found = collect(TABLE, [one], asked)
    assert found["rows"][0]["by_group"]["patients p0"]["balanced_accuracy"] == pytest.approx(100 * 11 / 12)
    assert "p0 (12 images)" in to_markdown(found)
    single = collect(TABLE, [one], Asked("toy", (2,), Folds(5, 3), 25, 500))
    assert "p0 (12 images)" not in to_markdown(single)
    assert "Fold 3 of 5" in to_markdown(single)


def test_folds_by_slide_of_few_patients_have_intervals_by_slide():
    one = line(ROWS[0], 1, (0,), 1)
    for k, entry in enumerate(one.predictions.entries):
        entry |= {"patient": f"p{k // 12}", "slide": f"s{k // 4}"}
    by_slide = Folds(5, by="slide")
    found = collect(TABLE, [one], Asked("toy", (2,), by_slide, 25, 500))
    assert (found["interval_by"], found["interval_groups"], found["patients"]) == ("slide", 6, 2)
    assert interval_groups(one.predictions, by_slide).of[3:5] == ["slides s0", "slides s1"]
    assert interval_groups(one.predictions, Folds(2)).by == "patient"
    text = to_markdown(found)
    assert "of 2 patient(s), who may be in training too" in text and "intervals by slide (6)" in text
    assert "each of the patients:" in text and "p1 (12 images)" in text
    for k, entry in enumerate(one.predictions.entries):
        entry["patient"] = f"p{k // 2}"  # twelve are enough
    assert interval_groups(one.predictions, by_slide).by == "patient"


def test_every_row_has_a_schedule_a_teacher_and_a_reference():
    for table in CLASS_TABLES.values():
        rows = {r.key: r for r in table.rows}
        assert len(rows) == len(table.rows)
        for row in table.rows:
            assert row.schedule in SCHEDULES
            assert SCHEDULES[row.schedule].task == "classification"
            assert {row.teacher, row.reference} - {""} <= set(rows)
            assert not row.teacher or not rows[row.teacher].teacher
    assert get_class_table("Resolution").name == "resolution" and get_class_table("IV") is None


def test_the_papers_figures_are_those_of_its_tables():
    rows = {r.key: r.paper for r in CLASS_TABLES["resolution"].rows}
    assert rows["teacher"][1]["celiac disease"]["accuracy_ovr"] == 87.06
    assert rows["kd"][8]["lung adenocarcinoma"]["accuracy_ovr"] == 90.80
    assert rows["kd_ad2"][16]["celiac disease"]["macro_f1"] == 66.83
    assert "lung adenocarcinoma" not in rows["kd_ad2"][16]


def test_a_chosen_row_brings_its_teacher():
    table = CLASS_TABLES["resolution"]
    assert [r.key for r in chosen_class_rows(table, ["kd_ad1"])] == ["teacher_third", "kd_ad1"]
    assert len(chosen_class_rows(table, [])) == len(table.rows)
    with pytest.raises(InputError, match="no row kdd in the table: choose of teacher, baseline, kd"):
        chosen_class_rows(table, ["kdd"])


def test_folds():
    assert Folds(5).numbers == [1, 2, 3, 4, 5] and Folds(5, 2).numbers == [2]
    assert Folds(5).folder(2) == "fold2of5" and Folds(3, 1, "slide").folder(1) == "slidefold1of3"
    for only in (0, 6):
        with pytest.raises(InputError, match="choose one of 1 to 5"):
            Folds(5, only)


@pytest.mark.parametrize(
    ("side", "factor", "strides"),
    [
        (420, 4, [2, 2, 2, 2, 2]),  # 105 px: 53, 27, 14, 7, 4
        (420, 8, [2, 2, 1, 2, 2]),
        (420, 16, [2, 1, 1, 2, 2]),
        (24, 2, [2, 2, 2, 2, 2]),  # its teacher's has one cell
        (128, 128, [1, 1, 1, 1, 1]),  # there are no more
    ],
)
def test_strides_leave_four_cells_or_as_many_as_the_teachers(side, factor, strides):
    assert student_strides(side, factor, [2, 2, 2, 2, 2]) == strides
    wanted = min(4, cells(side, [2, 2, 2, 2, 2]), side // factor)
    assert cells(side // factor, strides) >= wanted
