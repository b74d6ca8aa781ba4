"""What trainings recorded: scores and curves."""

import json
import os

from mhkd.visualization.metrics import read_metrics

import matplotlib.pyplot  # noqa: F401  (which makes folders of its own when it is imported)
from _kinds import Kind, said_by
from _kinds_of_annotations import _pipe, _put
from _kinds_of_results import _edited


def _trained(folder):
    """What a training leaves that mhkd results and curves read."""
    scores = {"AP": 41.5, "AP50": 70.0, "AP75": 40.0, "AR": 50.0, "AP-a": 41.5}
    steps = [
        {
            "step": "0_teacher",
            "seconds": 10.5,
            "results": {"teacher": scores, "direct": scores},
            "losses": ["detect"],
        },
        {"step": "1_basic", "seconds": 20.0, "results": {"student": scores}, "losses": ["detect", "basic"]},
    ]
    for step in steps:
        (folder / "run" / step["step"]).mkdir(parents=True)
        (folder / "run" / step["step"] / "stage.json").write_text(json.dumps(step))
    lines = [
        {
            "iteration": k,
            "stage": int(k > 20),
            "total_loss": 1.5 / (k + 1),
            "teacher/loss_cls": 0.5,
            "lr": 0.1,
        }
        for k in range(0, 60, 20)
    ]
    lines.append({"iteration": 59, "student/bbox/AP": 41.5})
    (folder / "run" / "metrics.json").write_text("".join(json.dumps(line) + "\n" for line in lines))


STAGE, METRICS = "run/1_basic/stage.json", "run/metrics.json"


def _results_of_training():
    return said_by("results", "run", "--out", "../out")


def _curves():
    said_by("curves", "run", "--out", "../out/curves.png")
    return len(read_metrics("run/metrics.json"))


TRAININGS = {
    f"{'.'.join(keys)} {value!r:.24}": _edited(STAGE, *keys, value=value)
    for keys, values in (
        (("step",), (7, None, "x", "", "a_b", "1_\n\x1b[2J", "-1_x", "1" * 5000 + "_x", [1])),
        (
            ("results",),
            (
                None,
                [],
                7,
                {},
                {"student": 7},
                {"student": {"AP": "x"}},
                {"student": {"AP": float("nan")}},
                {"teacher": [1]},
            ),
        ),
        (("seconds",), (None, "x", -1, 1e308, [], 10**400)),
    )
    for value in values
} | {
    "deep": _put("[" * 200_000, STAGE),
    "a list": _put("[]", STAGE),
    "nothing": _put("", STAGE),
    "a pipe": lambda folder: _pipe(folder / STAGE),
    "other bytes": _put(b"\xff\xfe\0", STAGE),
}
LINES = {
    f"line {line[:24]}": _put('{"iteration": 1, "total_loss": 1.0}\n' + line + "\n", METRICS)
    for line in (
        '{"iteration": Infinity}',
        '{"iteration": 1e400, "x": 1}',
        '{"iteration": [1]}',
        '{"iteration": "1"}',
        '{"iteration": NaN}',
        '{"iteration": 2, "stage": "x"}',
        '{"iteration": 2, "stage": null}',
        '{"iteration": 2, "stage": Infinity}',
        '{"iteration": 2, "total_loss": "x"}',
        '{"iteration": 2, "total_loss": [1]}',
        '{"iteration": 2, "total_loss": 1e999}',
        '{"iteration": -5, "stage": -7}',
        '{"iteration": ' + "9" * 5000 + "}",
        '{"iteration": 1' + "0" * 300 + ', "total_loss": 1}',
        "[" * 200_000,
        "7",
        '"x"',
        "null",
        '{"iteration": 2, "a\\nb\\u001b[2J": 1}',
        '{"iteration": 2, "\\ud800": 1, "total_loss\\ud800": 2}',
    )
} | {
    "a pipe": lambda folder: _pipe(folder / METRICS),
    "a folder": lambda folder: (os.remove(folder / METRICS), os.mkdir(folder / METRICS)),
}

KINDS = [
    Kind(
        "training's scores",
        _trained,
        _results_of_training,
        {STAGE: "json"},
        TRAININGS,
        reformatted=(STAGE,),
        named=("run",),
        share=0.5,
    ),
    Kind(
        "training's curves",
        _trained,
        _curves,
        {METRICS: "lines", STAGE: "json"},
        LINES | TRAININGS,
        named=("run",),
        share=0.4,
    ),
]
