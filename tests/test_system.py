import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from mhkd.system import read_at, relative_path

import pytest

# Modules that Windows has not are missing, and all but mhkd.system runs as here.
ON_WINDOWS = """
import importlib, pkgutil, sys, types
import mhkd
sys.modules |= dict.fromkeys(("fcntl", "resource", "pwd", "grp", "termios"))
sys.modules["msvcrt"] = types.ModuleType("msvcrt")
here, sys.platform = sys.platform, "win32"
import mhkd.system
sys.platform = here
del sys.modules["msvcrt"]
import mhkd.cli, mhkd.commands, mhkd.packed_student, mhkd.pairing.pair, mhkd.tiling.tile, mhkd.viewer.server
import mhkd.slide_detection.many, mhkd.slide_detection.onnx_student, mhkd.slide_detection.scores
for module in pkgutil.iter_modules(mhkd.commands.__path__, "mhkd.commands."):
    importlib.import_module(module.name)
assert "torch" not in sys.modules
"""


def test_threads_read_one_file_at_many_places(tmp_path):
    content = bytes(range(256)) * 64
    (tmp_path / "file").write_bytes(content)
    with open(tmp_path / "file", "rb", buffering=0) as f, ThreadPoolExecutor(4) as pool:
        places = range(0, len(content), 7)
        parts = list(pool.map(lambda at: read_at(f.fileno(), 5, at), places))
        assert parts == [content[at : at + 5] for at in places]
        assert read_at(f.fileno(), 9, len(content) - 2) == content[-2:]


def test_paths_in_files_are_those_of_any_system(tmp_path):
    assert relative_path(tmp_path / "a" / "s.svs", tmp_path / "b") == "../a/s.svs"


@pytest.mark.slow
def test_what_a_laboratory_runs_imports_nothing_that_windows_has_not():
    subprocess.run([sys.executable, "-c", ON_WINDOWS], check=True)
