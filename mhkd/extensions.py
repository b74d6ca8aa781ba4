"""Losses and schedules of one's own, from Python files that the command line names with ``--with``.

They are code, so nothing but the command line names them: no config and no student's folder.
"""

import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from .errors import InputError

_loaded: list[str] = []


def load_extensions(files: Iterable[str | os.PathLike[str]]) -> None:
    """Run each file, once in this process.

    Raises:
        InputError: it is missing, or fails.
    """
    for file in files:
        path = Path(file).resolve()
        if str(path) in _loaded:
            continue
        if not path.is_file():
            raise InputError(f"--with {file}: no such file")
        name = f"mhkd_extension_{len(_loaded)}_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise InputError(f"--with {file}: must be a Python file, .py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # as dataclasses and pickle expect
        try:
            spec.loader.exec_module(module)
        except Exception as e:
            lines = [f.lineno for f in traceback.extract_tb(e.__traceback__) if f.filename == str(path)]
            where = f"line {lines[-1]}: " if lines else ""
            raise InputError(f"--with {file}: {where}{type(e).__name__}: {e}") from e
        _loaded.append(str(path))


def loaded_extensions() -> tuple[str, ...]:
    """The files that this process has run, for those that it starts."""
    return tuple(_loaded)
