"""Runs of `mhkd pack`."""

from mhkd.cli import main
from mhkd.evaluation.best_threshold import Choice

from click.testing import CliRunner

CHOICE = Choice(0.25, 80.0, 75.0, 85.7, 30)


def pack(*arguments, exit_code=0):
    result = CliRunner().invoke(main, ["pack", *map(str, arguments)])
    assert result.exit_code == exit_code, result.output
    return result.output
