"""What QuPath and the Digital Slide Archive are given: each names the command and the files as they are.

Groovy, QuPath and a Digital Slide Archive are not here: the command is taken out of the script and run, the
description is read as slicer_cli_web's parameters are and its entry point started as a server does.
"""

import json
import re
import subprocess
import sys

from mhkd.cli import main
from mhkd.slides.slide import open_slide
from mhkd.synthetic.slides import write_tiff
from mhkd.version import __version__

import numpy as np
import pytest
from click.testing import CliRunner
from defusedxml.ElementTree import parse
from onnx_student import write_onnx_student
from support import REPO

PROJECT = REPO / "projects" / "MHKD"
SLICER = PROJECT / "slicer_cli"
FOUND = [[20, 20, 60, 70], [100, 100, 150, 140]]  # LR pixels of 4 um


@pytest.fixture
def slide(tmp_path):
    """1000 x 800 px of 1 um, all tissue, under a path with spaces; and a student that finds two in it."""
    path = tmp_path / "my slides" / "a b.tiff"
    path.parent.mkdir()
    write_tiff(path, np.full((800, 1000, 3), (200, 150, 190), np.uint8), 1.0, "pink")
    write_onnx_student(tmp_path / "student.onnx", FOUND, [0.9, 0.6], [1, 0], lr_mpp=4.0)
    return path


def test_the_command_of_the_qupath_script_finds_what_the_script_imports(slide, tmp_path):
    script = (PROJECT / "qupath" / "mhkd_detect.groovy").read_text()
    values = {
        "MHKD": "mhkd", "slide.path": str(slide), "slide.name": slide.name, "OUT": str(tmp_path / "found"),
        "STUDENT": str(tmp_path / "student.onnx"),
        "calibration.getAveragedPixelSizeMicrons().toString()": str(open_slide(str(slide)).mpp),
    }  # fmt: skip

    def listed(text):
        return [v[1:-1] if v.startswith('"') else values[v] for v in re.split(r",\s*", text)]

    command = listed(re.search(r"def command = \[(.*)\]", script)[1])
    command += listed(re.search(r"command \+= \[(.*)\]", script)[1])
    assert command[0] == "mhkd"
    result = CliRunner().invoke(main, command[1:])
    assert result.exit_code == 0 and "glomeruli: 2" in result.output, result.output

    folder, name, file = re.search(r'new File\((\w+), ([\w.]+) \+ "/(.*)"\)', script).groups()
    features = json.loads((tmp_path / "found" / values[name] / file).read_text())["features"]
    assert folder == "OUT"
    assert {f["properties"]["classification"]["name"] for f in features} == {"normal", "sclerotic"}
    assert len({f["id"] for f in features}) == 2  # by which the script knows those that are there


def parameters():
    """Those of the description, as slicer_cli_web reads them: tag and fields of each."""
    root = parse(SLICER / "GlomeruliDetection" / "GlomeruliDetection.xml").getroot()
    for required in ("category", "title", "description", "version", "license", "contributor"):
        assert root.findtext(required), required
    groups = root.findall("parameters")
    assert all(g.findtext("label") and g.findtext("description") for g in groups)
    items = [p for g in groups for p in g if p.tag not in ("label", "description")]
    return root, [(p.tag, {f.tag: f.text for f in p}) for p in items]


def test_the_description_has_what_slicer_cli_asks_for():
    root, found = parameters()
    assert root.tag == "executable" and root.findtext("version") == __version__.split("+")[0].split(".dev")[0]
    for tag, fields in found:
        assert {"name", "label", "description"} <= fields.keys()
        assert ("index" in fields) != ("longflag" in fields)
        assert ("channel" in fields) == (tag in ("image", "file")) and ("default" in fields) == (
            tag == "float"
        )
    listed = json.loads((SLICER / "cli_list.json").read_text())
    for name, entry in listed.items():
        assert entry == {"type": "python"}
        assert {p.name for p in (SLICER / name).iterdir()} >= {f"{name}.xml", f"{name}.py"}


@pytest.mark.slow
def test_the_entry_point_takes_the_descriptions_parameters(slide, tmp_path):
    _, found = parameters()
    positional = sorted((int(f["index"]), f["name"]) for _, f in found if "index" in f)
    files = {
        "inputImageFile": slide,
        "student": tmp_path / "student.onnx",
        "outputAnnotationFile": tmp_path / "out.anot",
    }
    script = SLICER / "GlomeruliDetection" / "GlomeruliDetection.py"
    options = [word for _, f in found if "longflag" in f for word in (f"--{f['longflag']}", f["default"])]
    words = [sys.executable, str(script), *options, *(str(files[name]) for _, name in positional)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    elements = json.loads(files["outputAnnotationFile"].read_text())["elements"]
    assert [(e["label"]["value"], e["center"][:2]) for e in elements] == [
        ("sclerotic", [160, 180]), ("normal", [500, 480])
    ]  # fmt: skip

    failed = subprocess.run(
        [*words[:2], str(tmp_path / "none.tiff"), *words[-2:]], capture_output=True, text=True
    )
    assert failed.returncode and "none.tiff" in failed.stderr
