"""The order of the rooms in docs/architecture.md against the imports of the code."""

import importlib.util

import pytest
from support import REPO

spec = importlib.util.spec_from_file_location("architecture", REPO / "docs" / "architecture.py")
architecture = importlib.util.module_from_spec(spec)
spec.loader.exec_module(architecture)


def test_no_room_knows_what_is_above_it():
    order = architecture.floors(architecture.TABLE.read_text())
    assert architecture.faults(order, list(architecture.imports())) == []


def test_every_room_has_its_place():
    rooms = [name for names in architecture.floors(architecture.TABLE.read_text()) for name in names]
    assert len(rooms) == len(set(rooms))
    there = {p.stem for p in architecture.PACKAGE.glob("*.py")}
    there |= {p.parent.name for p in architecture.PACKAGE.glob("*/__init__.py")}
    assert there <= set(rooms)


ORDER = [["errors"], ["slides"], ["viewer", "comparison"], ["cli", "__init__"]]


@pytest.mark.parametrize(
    "path, code, expected",
    [
        ("cli.py", "from .slides import tiff\nimport mhkd.viewer\nfrom mhkd import errors", []),
        ("viewer/tiles.py", "from ..comparison.run import run\nfrom ..slides.tiff import read", []),
        ("slides/tiff.py", "import json\nfrom . import magic\nfrom .magic import kind", []),
        ("slides/tiff.py", "\nfrom ..viewer import tiles", ["slides/tiff.py:2: ", "mhkd.viewer.tiles, "]),
        ("slides/tiff.py", "def read():\n    from ..cli import main", ["slides/tiff.py:2: ", "mhkd.cli, "]),
        ("errors.py", "import mhkd.slides", [":1: mhkd.errors imports mhkd.slides, which is upward"]),
        ("slides/tiff.py", "import mhkd", [":1: mhkd.slides.tiff imports mhkd, which is upward"]),
        ("cellar.py", "from .errors import InputError", [", and cellar is not in the table"]),
        ("cli.py", "from .cellar import wine", ["cli.py:1: ", ", and cellar is not in the table"]),
    ],
)
def test_what_is_a_fault(tmp_path, monkeypatch, path, code, expected):
    found = _imports(tmp_path, monkeypatch, {path: code})
    lines = architecture.faults(ORDER, found)
    assert len(lines) == bool(expected)
    assert all(text in lines[0] for text in expected)


def test_neighbours_may_not_import_each_other(tmp_path, monkeypatch):
    code = {"viewer/page.py": "from ..comparison import run"}
    assert architecture.faults(ORDER, _imports(tmp_path, monkeypatch, code)) == []
    code["comparison/run.py"] = "from ..viewer import tiles"
    lines = architecture.faults(ORDER, _imports(tmp_path, monkeypatch, code))
    assert len(lines) == 2 and all("which is a circle" in line for line in lines)


def _imports(root, monkeypatch, code):
    monkeypatch.setattr(architecture, "REPO", root)
    modules = ["cli", "errors", "cellar", "slides/magic", "slides/tiff", "viewer/tiles", "comparison/run"]
    packages = ["", "slides/", "viewer/", "comparison/"]
    files = dict.fromkeys([f"{m}.py" for m in modules] + [f"{p}__init__.py" for p in packages], "")
    for name, text in {**files, **code}.items():
        (root / "mhkd" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "mhkd" / name).write_text(text)
    return list(architecture.imports(root / "mhkd"))
