import json
import math
from pathlib import Path

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.errors import InputError
from mhkd.visualization.curves import curves_figure, plot_curves, plot_stage_ap, stage_ap_figure
from mhkd.visualization.metrics import read_metrics, running_median
from mhkd.visualization.predict import name_runs

import numpy as np
import pytest
from detectron2.utils.events import EventStorage, JSONWriter
from PIL import Image


def write(path, *rows, tail=""):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + tail)
    return path


def test_last_value_of_a_repeated_iteration_wins(tmp_path):
    path = write(
        tmp_path / "metrics.json",
        {"iteration": 19, "total_loss": 3.0, "stage": 1.0},
        {"iteration": 39, "total_loss": 2.0, "stage": 1.0},
        {"iteration": 59, "total_loss": 1.0, "stage": 1.0},
        {"iteration": 39, "total_loss": 2.5, "stage": 1.0},
    )
    rows = read_metrics(path)
    assert [(i, row["total_loss"]) for i, row in rows.items()] == [(19, 3.0), (39, 2.5), (59, 1.0)]


@pytest.mark.parametrize(
    "tail",
    [
        '{"iteration": 39, "tot',
        '{"iteration": 39',
        "39",
        '{"a": 1}\n',
        '{"iteration": Infinity}\n',
        "[" * 100_000,
        '{"iteration": NaN}\n',
        '{"iteration": -1}\n',
        '{"iteration": "2"}\n',
        '{"iteration": [2]}\n',
        '{"iteration": 19, "total_loss": "x", "lr": [1]}\n',
    ],
)
def test_line_cut_short_is_left_out(tmp_path, tail):
    path = write(tmp_path / "metrics.json", {"iteration": 19, "total_loss": 3.0}, tail=tail)
    assert read_metrics(path) == {19: {"iteration": 19, "total_loss": 3.0}}


def test_evaluation_line_joins_its_iteration_and_gets_its_stage(tmp_path):
    path = write(
        tmp_path / "metrics.json",
        {"iteration": 19, "total_loss": 3.0, "stage": 0},
        {"iteration": 19, "bbox/AP": 7.0},
        {"iteration": 25, "bbox/AP": 8.0},
        {"iteration": 39, "total_loss": 2.0, "stage": 1},
    )
    rows = read_metrics(path)
    assert (rows[19]["total_loss"], rows[19]["bbox/AP"]) == (3.0, 7.0)
    assert [row["stage"] for row in rows.values()] == [0, 0, 1]


def test_reads_what_detectron2_writes(tmp_path):
    path = tmp_path / "metrics.json"
    writer = JSONWriter(str(path))
    with EventStorage() as storage:
        for k in range(40):
            storage.put_scalar("student/loss_cls", 1.0)
            storage.put_scalar("stage", k // 20, smoothing_hint=False)
            if k == 19:
                storage.put_scalar("bbox/AP", math.nan, smoothing_hint=False)
            if k % 20 == 19:
                writer.write()
            storage.step()
    writer.close()
    rows = read_metrics(path)
    assert list(rows) == [19, 39]
    assert math.isnan(rows[19]["bbox/AP"])
    assert [row["stage"] for row in rows.values()] == [0, 1]


@pytest.mark.parametrize("content", [None, "", "not json\n"])
def test_nothing_to_read(tmp_path, content):
    path = tmp_path / "metrics.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match="metrics.json: "):
        plot_curves({"run": path}, tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_running_median():
    assert running_median(np.array([5.0, 1.0, 9.0, 1.0, 1.0])).tolist() == [5, 3, 1, 1, 1]
    assert running_median(np.array([2.0])).tolist() == [2]
    assert running_median(np.array([])).tolist() == []
    spike = np.ones(200)
    spike[100] = 1000
    assert running_median(spike).max() == 1
    with_nan = running_median(np.array([math.nan] * 6 + [4.0]))
    assert np.isnan(with_nan[:4]).all() and (with_nan[4:] == 4).all()


def training(path, stages=(0, 1, 2), seed=0):
    """60 iterations a step, logged every 10, evaluated at the end of each."""
    rng = np.random.default_rng(seed)
    rows = []
    for k, stage in enumerate(stages):
        for iteration in range(60 * k + 9, 60 * k + 60, 10):
            row = {"iteration": iteration, "stage": stage, "lr": 0.001}
            row["student/loss_cls" if stage else "teacher/loss_cls"] = float(rng.uniform(0.1, 1))
            if stage == 2:
                row["loss_adaptive"] = float(rng.uniform(0.1, 1))
            row["total_loss"] = sum(v for name, v in row.items() if "loss" in name)
            if iteration % 60 == 59:
                row.update({"bbox/AP": 10.0 * stage + 5, "bbox/AP50": 20.0 * stage + 10})
                if stage == 0:
                    row["direct/AP50"] = 4.0
            rows.append(row)
    return write(path, *rows)


def boundaries(axes):
    return sorted(line.get_xdata()[0] for line in axes.lines if list(line.get_ydata()) == [0, 1])


def test_each_loss_has_its_own_log_panel(tmp_path):
    figure = curves_figure({"run": training(tmp_path / "m.json")})
    scores, *panels = figure.axes
    titles = [axes.get_title(loc="left") for axes in panels]
    assert titles == ["total_loss", "loss_adaptive", "student/loss_cls", "teacher/loss_cls"]
    assert all(axes.get_yscale() == "log" for axes in panels)
    adaptive = panels[1].lines[0]
    assert adaptive.get_xdata().tolist() == [129, 139, 149, 159, 169, 179]
    assert scores.get_yscale() == "linear"


def test_steps_are_marked_and_named(tmp_path):
    path = training(tmp_path / "m.json")
    figure = curves_figure({"run": path}, {0: "teacher", 1: "basic"})
    for axes in figure.axes:
        assert {69, 129} <= set(boundaries(axes))
    assert [text.get_text() for text in figure.axes[0].texts] == ["teacher", "basic", "step 2"]


def test_scores_of_teacher_and_student_are_separate_lines(tmp_path):
    axes = curves_figure({"run": training(tmp_path / "m.json")}).axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    student, teacher = lines["AP50"], lines["AP50 of the teacher on HR"]
    assert list(zip(student.get_xdata(), student.get_ydata())) == [(119, 30), (179, 50)]
    assert list(zip(teacher.get_xdata(), teacher.get_ydata())) == [(59, 10)]
    assert lines["AP50 of the teacher on LR (direct)"].get_ydata()[0] == 4


def test_runs_are_compared_from_the_start_of_the_student(tmp_path):
    runs = {
        "mhkd": training(tmp_path / "a.json"),
        "lr_only": training(tmp_path / "b.json", stages=(1,)),
    }
    axes = curves_figure(runs).axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["mhkd: AP50"].get_xdata()[0] == 119
    assert lines["lr_only: AP50"].get_xdata()[0] == 119  # iteration 59 of a run without a teacher


def test_only_losses_or_only_scores(tmp_path):
    losses = write(tmp_path / "l.json", {"iteration": 9, "total_loss": 1.0})
    assert [a.get_title(loc="left") for a in curves_figure({"run": losses}).axes] == ["total_loss"]
    scores = write(tmp_path / "s.json", {"iteration": 9, "bbox/AP": 1.0, "bbox/AP50": 2.0})
    assert len(curves_figure({"run": scores}).axes) == 1
    neither = write(tmp_path / "n.json", {"iteration": 9, "lr": 1.0})
    with pytest.raises(InputError, match="no losses and no scores"):
        curves_figure({"run": neither})


def test_loss_of_zero_does_not_spoil_the_log_axis(tmp_path):
    path = write(
        tmp_path / "m.json",
        *({"iteration": k, "output/loss_cls": 0.0 if k < 5 else 0.5} for k in range(10)),
        {"iteration": 10, "output/loss_cls": math.nan},
    )
    (axes,) = curves_figure({"run": path}).axes
    assert axes.get_yscale() == "log"
    assert 0.01 < axes.get_ylim()[0] < 0.5
    plot_curves({"run": path}, tmp_path / "curves.png")


def has_color(path, rgb):
    image = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return bool((np.abs(image - rgb).max(axis=-1) < 6).any())


def test_png_is_written_and_replaced(tmp_path):
    out_png = tmp_path / "new" / "curves.png"
    path = training(tmp_path / "m.json")
    assert plot_curves({"run": path}, out_png) == out_png
    assert [p.name for p in out_png.parent.iterdir()] == ["curves.png"]
    assert has_color(out_png, (31, 95, 168)) and not has_color(out_png, (209, 96, 31))
    plot_curves({"a": path, "b": path}, out_png)
    assert has_color(out_png, (209, 96, 31))  # the second run's


def test_stage_ap_bars(tmp_path):
    results = {
        "teacher_hr": {"AP": 37.0, "AP50": 64.0},
        "direct_lr": {"AP": 19.0, "AP50": 34.0},
        "stage1": {"AP": 12.0, "AP50": math.nan},
        "stage4": {"AP50": 60.0},
    }
    (axes,) = stage_ap_figure(results).axes
    ap50, ap = (list(container.datavalues) for container in axes.containers)
    assert ap50 == [64, 34, 0, 60]
    assert ap == [37, 19, 12, 0]
    assert sorted(t.get_text() for t in axes.texts) == sorted(
        ["64.0", "34.0", "n/a", "60.0", "37.0", "19.0", "12.0", "n/a"]
    )
    labels = [t.get_text() for t in axes.get_xticklabels()]
    assert labels[0] == "teacher\non HR" and labels[-1] == "student\nstep 4"
    assert any(line.get_ydata()[0] == 34 for line in axes.lines)  # the bar to beat
    out_png = plot_stage_ap(results, tmp_path / "ap.png")
    assert has_color(out_png, (31, 95, 168))


def test_stage_ap_of_nothing(tmp_path):
    with pytest.raises(InputError):
        plot_stage_ap({}, tmp_path / "ap.png")
    plot_stage_ap({"stage1": {"AP": 0.0, "AP50": 0.0}}, tmp_path / "ap.png")
    assert [p.name for p in tmp_path.iterdir()] == ["ap.png"]


def one_run(tmp_path):
    rows = [{"iteration": k, "total_loss": 1.0 + k, "bbox/AP": k / 2, "stage": 0} for k in range(0, 101, 20)]
    return {"run": write(tmp_path / "metrics.json", *rows)}


def test_the_last_points_are_drawn_whole_and_a_log_axis_says_so(tmp_path):
    figure = curves_figure(one_run(tmp_path))
    figure.canvas.draw()
    for axes in figure.axes:
        assert axes.get_xlim()[0] == 0 and 100 < axes.get_xlim()[1] < 105
    assert [axes.get_ylabel() for axes in figure.axes] == ["percent", "log scale"]


@pytest.mark.parametrize("ending, start", [("png", b"\x89PNG"), ("svg", b"<?xml"), ("PDF", b"%PDF")])
@pytest.mark.slow
def test_the_ending_says_what_is_written(tmp_path, ending, start):
    assert plot_curves(one_run(tmp_path), tmp_path / f"a.{ending}").read_bytes().startswith(start)


def test_another_ending_is_refused_and_nothing_written(tmp_path):
    runs = one_run(tmp_path)
    with pytest.raises(InputError, match=r"a.gif: pictures are written as .png, .svg, .pdf"):
        plot_curves(runs, tmp_path / "a.gif")
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]


def test_two_test_sets_are_two_pairs_of_lines(tmp_path):
    scores = {f"bbox/{name}/{metric}": 1.0 for name in "ab" for metric in ("AP", "AP50", "AP-disk")}
    rows = [{"iteration": k, "stage": 1, "total_loss": 1.0, **scores, "direct/a/AP50": 0.5} for k in (9, 19)]
    axes = curves_figure({"run": write(tmp_path / "m.json", *rows)}).axes[0]
    labels = [line.get_label() for line in axes.lines if not line.get_label().startswith("_")]
    assert labels == ["a/AP50", "a/AP", "a/AP50 of the teacher on LR (direct)", "b/AP50", "b/AP"]


def test_runs_of_one_name_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [tmp_path / a / "run" for a in ("x1", "x2")]
    for folder in folders:
        folder.mkdir(parents=True)
    assert name_runs([Path("x1/run"), Path("x2/run")]) == {"x1/run": Path("x1/run"), "x2/run": Path("x2/run")}
    assert name_runs([Path("x1/run"), folders[0], Path("x1/../x1/run")]).keys() == {"run"}
    monkeypatch.chdir(folders[0])
    assert name_runs([Path("."), folders[1]]).keys() == {"x1/run", "x2/run"}
    assert name_runs([Path("..")]).keys() == {"x1"}


def test_names_are_drawn_whatever_they_hold(tmp_path):
    keys = [r"loss_$\frac{$", "loss_\ud800", r"bbox/$\frac{$/AP50"]
    path = write(tmp_path / "metrics.json", *({"iteration": k, **dict.fromkeys(keys, 1.0)} for k in range(3)))
    figure = curves_figure({r"$\sqrt$": path})
    assert {axes.get_title(loc="left") for axes in figure.axes[1:]} == {r"loss_$\frac{$", "loss_?"}
    plot_curves({r"$\sqrt$": path}, tmp_path / "curves.png")
