"""Names of slides, classes and folders are anyone's: no command hands what a terminal obeys on to it."""

import logging
import os
import re
import signal
import subprocess
import sys

from mhkd.cli import main
from mhkd.slide_detection.finished import find_finished
from mhkd.synthetic.slides import write_tiff
from mhkd.terminal import legible, say, show_warnings

import numpy as np
import pytest
from click.testing import CliRunner
from onnx_student import write_onnx_student
from results_folder import write_result

CLEARS = "\x1b[2J\u202e"  # the screen, and what follows is written from right to left
SPELT = r"\u001b[2J\u202e"
UNWANTED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="such names cannot be there")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b é 日本 \udce9", "a b é 日本 \udce9"),
        ("a\x1b[31m\x07\x9b\t", r"a\u001b[31m\u0007\u009b\u0009"),
        ("a\nb\rc\u2028d", r"a\u000ab\u000dc\u2028d"),
        ("a\u202eb\u200b", r"a\u202eb\u200b"),
    ],
)
def test_what_is_obeyed_is_spelt_out(text, shown):
    assert legible(text) == shown


def test_a_text_keeps_its_own_lines(capsys):
    say("a\n\x1bb", err=True)
    assert capsys.readouterr().err == "a\n\\u001bb\n"


def test_warnings_are_legible_too(capsys, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])
    show_warnings()
    logging.getLogger("mhkd.any").warning("%s: torn", f"a{CLEARS}")
    assert capsys.readouterr().err == rf"WARNING: a{SPELT}: torn" + "\n"


@pytest.fixture
def slide(tmp_path):
    path = tmp_path / f"a{CLEARS}.tiff"
    write_tiff(path, np.full((600, 600, 3), (200, 150, 190), np.uint8), 1.0, "pink")
    return path


@pytest.fixture
def out(tmp_path, slide):
    """A finished slide, whose class is such a name too, one that was begun and a damaged one."""
    known = {"size_px": (600, 600), "mpp_xy": [1.0, 1.0]}
    names = [f"normal{CLEARS}"]
    out = tmp_path / "out"
    write_result(out, slide, [[100, 100, 200, 200]], [0.6], [0], names, **known)
    write_result(out, slide, [[100, 100, 200, 200]], [0.6], [0], name=f"c{CLEARS}", score_threshold=0.4)
    (out / f"b{CLEARS}.tiff" / ".work").mkdir(parents=True)
    (write_result(out, slide, [], [], [], name=f"d{CLEARS}") / "run.json").write_text("{")
    return out


def run(*words):
    result = CliRunner().invoke(main, list(map(str, words)))
    return result.exit_code, result.output


def test_what_is_said_of_results(out, tmp_path):
    assert len(find_finished(out).finished) == 2
    for words in (
        ("next", out),
        ("corrections", out, "--out", tmp_path / "annotations", "--all"),
        ("score", out, "--annotations", tmp_path),
    ):
        _, said = run(*words)
        assert SPELT in said and not UNWANTED.search(said), words


@pytest.mark.slow
def test_what_the_page_says_when_it_begins(out):
    words = [sys.executable, "-m", "mhkd", "view", str(out), "--no-browser", "--port", "0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "PYTHONUNBUFFERED": "1"})  # fmt: skip
    try:
        assert "slides at http://" in process.stdout.readline()
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()
    lines = said.splitlines()
    assert len(lines) >= 3 and "not finished, so not shown" in said and "warning: " in said
    assert all(SPELT in line for line in lines) and not UNWANTED.search(said)


@pytest.mark.slow
def test_what_is_said_of_slides(slide, tmp_path):
    student = tmp_path / "student.onnx"
    write_onnx_student(student, [[2, 2, 20, 20]], [0.9], [0])
    (tmp_path / f"b{CLEARS}.tiff").write_text("none")
    for words, status in (
        (("detect", tmp_path, "--student", student, "--out", tmp_path / "found"), 1),
        (("tile", tmp_path, "--out", tmp_path / "tiled", "--mpp", 1, "--no-annotations"), 2),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "mhkd", *map(str, words)], capture_output=True, text=True
        )
        said = done.stdout + done.stderr
        assert done.returncode == status, said
        assert "[2J\\u202e" in said and not UNWANTED.search(said), words
