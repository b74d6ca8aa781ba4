"""The package as a stranger has it: built, installed, and run where there is no checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from support import DISKS, REPO, TINY, write_disks

pytestmark = pytest.mark.slow

SOURCES = ("mhkd", "projects", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A function that runs words in a folder, with an environment in which the wheel is installed."""
    tmp = tmp_path_factory.mktemp("wheel")
    (tmp / "source").mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (REPO / name).is_dir() else shutil.copy
        copy(REPO / name, tmp / "source" / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(tmp), str(tmp / "source")]
    _run([*pip, *build], tmp)
    (wheel,) = tmp.glob("mhkd-*.whl")
    venv.create(tmp / "env")
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(_run([tmp / "env/bin/python", "-c", where], tmp))
    today = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "today.pth").write_text("\n".join(today))
    _run([*pip, "--python", tmp / "env", "install", "--no-deps", "--no-index", wheel], tmp)
    assert (packages / "mhkd/version.py").is_file()
    shutil.rmtree(tmp / "source")

    def run(folder, *words, status=0):
        return _run([tmp / "env/bin" / words[0], *words[1:]], folder, status)

    return run


def _run(words, folder, status=0):
    own = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "DETECTRON2_DATASETS")}
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    result = subprocess.run(list(map(str, words)), cwd=folder, env=own, text=True, **both)
    assert result.returncode == status, result.stdout
    return result.stdout.strip()


def test_a_training_on_the_packages_own_base_and_its_scores(installed, tmp_path):
    write_disks(tmp_path / "datasets")
    (tmp_path / "mine.yaml").write_text("_BASE_: Base-MHKD-R50-FPN.yaml\nOUTPUT_DIR: out\n")
    options = list(map(str, [*TINY, *DISKS]))
    installed(tmp_path, "mhkd", "train", "--config-file", "mine.yaml", *options, "MHKD.STAGE", "1")
    assert (tmp_path / "out/student/model_final.pth").is_file()
    scores = installed(tmp_path, "mhkd", "eval", "--config-file", "mine.yaml", *options)
    assert '"AP50"' in scores


def test_help_and_the_plan_of_a_table(installed, tmp_path):
    assert "demo" in installed(tmp_path, "mhkd", "--help")
    write_disks(tmp_path / "datasets")
    plan = installed(tmp_path, "mhkd", "table", "II", "--dry-run", "--dataset", "disks")
    assert "faster_rcnn" in plan


@pytest.mark.parametrize("missing, command", [
    ("torch", 'pip install "mhkd[train]"'), ("detectron2", "--no-build-isolation"),
])  # fmt: skip
def test_what_is_missing_is_one_line_with_the_command_that_installs_it(installed, tmp_path, missing, command):
    code = f"import sys; sys.modules['{missing}'] = None; from mhkd.cli import main; main()"
    said = installed(tmp_path, "python", "-c", code, "demo", status=2)
    assert said.startswith(f"mhkd: error: {missing} is not installed: ") and command in said
    assert len(said.splitlines()) == 1
