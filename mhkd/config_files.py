"""The configs that come with the project: inside an installed package, or in the checkout around it."""

import os
from importlib import resources
from pathlib import Path

from .errors import InputError


def configs_folder() -> Path:
    """The folder of ``Base-MHKD-R50-FPN.yaml``: projects/MHKD/configs, which setup.py copies into wheels."""
    root = Path(str(resources.files(__package__)))
    installed = root / "configs"
    return installed if installed.is_dir() else root.parent / "projects/MHKD/configs"


def find_config(name: str | os.PathLike[str]) -> Path:
    """A config file of the user's, or else of the project's: ``KidneyROI/mhkd_R18_FPN_cpu.yaml``.

    Raises:
        InputError: there is none; the project's are named.
    """
    for path in (Path(name), configs_folder() / name):
        if path.is_file():
            return path
    folder = configs_folder()
    ours = sorted(str(p.relative_to(folder)) for p in folder.rglob("*.yaml"))
    raise InputError(f"{str(name)!r}: no such file; of the project's own there are {', '.join(ours)}")
