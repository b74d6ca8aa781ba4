"""Every number that a command takes has a range, and what lies outside is refused before anything is done."""

import importlib.util
import re
from pathlib import Path

from mhkd.cli import main
from mhkd.commands.numbers import whole_numbers

import click
import pytest
from click.testing import CliRunner
from support import REPO

SCRIPTS = sorted([*(REPO / "benchmarks").glob("*.py"), *(REPO / "datasets").glob("prepare_*.py")])


def numbers(command):
    """Options that take numbers."""
    kinds = click.types.IntParamType | click.types.FloatParamType
    return [o for o in command.params if isinstance(o, click.Option) and isinstance(o.type, kinds)]


COMMANDS = {name: command for name, command in main.commands.items() if numbers(command)}
OPTIONS = [(name, o.opts[-1]) for name, command in COMMANDS.items() for o in numbers(command)]


@pytest.mark.parametrize("name, option", OPTIONS)
def test_a_number_out_of_its_range_is_refused(name, option):
    command = COMMANDS[name]
    (found,) = (o for o in command.params if option in o.opts)
    bad = [-1, "x", "nan"] + (["inf"] if isinstance(found.type, click.types.FloatParamType) else [])
    for value in bad:
        result = CliRunner().invoke(main, [name, option, *[str(value)] * found.nargs])
        assert result.exit_code == 2 and option in result.output, result.output
        assert re.search(r"Error: .*(not in the range|not a valid|not a finite)", result.output)


def test_zero_where_nothing_would_be_done(tmp_path):
    table = ["table", "III", "--dataset", "disks", "--out", str(tmp_path / "out"), "--dry-run"]
    for arguments, said in (
        ([*table, "--num-gpus", "0"], "--num-gpus"),
        ([*table, "--samples", "0"], "--samples"),
        ([*table, "--seeds", "0,0"], "--seeds '0,0'"),
        ([*table, "--seeds", ""], "--seeds ''"),
        ([*table, "--seeds", "0,,1"], "--seeds '0,,1'"),
        ([*table, "--seeds", "-1"], "--seeds '-1'"),
        ([*table, "--opts", "MODEL.DEVICE 'cpu"], "--opts"),
        (["make-slides", str(tmp_path / "out"), "--num-glomeruli", "5", "2"], "--num-glomeruli 5 2"),
        (["make-slides", str(tmp_path / "out"), "-n", "0"], "--num-slides"),
    ):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 2 and said in result.output, result.output
        assert "Traceback" not in result.output and not (tmp_path / "out").exists()


def test_lists_of_numbers():
    assert whole_numbers("0, 2,1", "--seeds") == [0, 2, 1]
    for text in ("", "a", "1,1", "1.5", "0", "1 2"):
        with pytest.raises(click.BadParameter, match="--sizes"):
            whole_numbers(text, "--sizes", least=1)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_scripts_have_ranges_too(path, monkeypatch):
    monkeypatch.syspath_prepend(str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as e:  # a benchmark's own
        pytest.skip(str(e))
    ranges = click.IntRange | click.FloatRange
    assert [o.name for o in numbers(module.main) if not isinstance(o.type, ranges)] == []


def test_scripts_are_found():
    assert {Path(p).stem for p in SCRIPTS} >= {"training_step", "read_tiles", "prepare_hubmap"}
