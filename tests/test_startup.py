"""What runs without torch and Detectron2: they are not imported where they are not used."""

import subprocess
import sys

import pytest

MHKD = """
import sys

class Blocked:
    @staticmethod
    def find_spec(name, path=None, target=None):
        assert name not in ("torch", "detectron2"), name

sys.meta_path.insert(0, Blocked)
from mhkd.cli import main
main()
"""


def mhkd(folder, *words, status=0):
    words = [sys.executable, "-c", MHKD, *map(str, words)]
    result = subprocess.run(words, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == status, result.stdout
    return result.stdout


def test_help(tmp_path):
    assert "Find glomeruli" in mhkd(tmp_path, "--help")


@pytest.mark.slow
def test_slides_are_drawn_and_tiled(tmp_path):
    mhkd(tmp_path, "make-slides", "slides", "-n", 2, "--size-px", 1024, "--num-glomeruli", 3, 4)
    mhkd(tmp_path, "tile", "slides", "--out", "datasets/mine", "--mpp", 2, "--tile-size-px", 256, "--verify")
    assert (tmp_path / "datasets/mine/annotations_train.json").is_file()


@pytest.mark.parametrize("words", [["view", "found"], ["score", "found", "--annotations", "."]])
@pytest.mark.slow
def test_what_reads_results_says_that_there_are_none(tmp_path, words):
    assert mhkd(tmp_path, *words, status=2).startswith("mhkd: error: found")
