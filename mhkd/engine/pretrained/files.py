"""Files of weights that others wrote: pickles of arrays, torch's .pth, .safetensors."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.utils.file_io import PathManager
from iopath.common.file_io import get_cache_dir

from ...errors import InputError
from ..checkpoint import load_file, size
from ..finite import not_finite
from .unpickle import read_pickle

ZOO = "detectron2://"
_WHAT = "a file of nothing but weights by name, .pkl, .pth or .safetensors"
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # what torch wrote first before its files were archives


class Foreign(NamedTuple):
    """Weights by their own names, and the author that the file names, "" where none."""

    weights: dict[str, torch.Tensor]
    author: str


def local_file(name: str, download: bool = False) -> Path:
    """Where the file that MODEL.WEIGHTS names is or, of one of Detectron2's zoo, where it is kept.

    Args:
        name: a path, or ``detectron2://`` and a name of the zoo.
        download: fetch the latter if it is not there yet. Nothing else is ever fetched.

    Raises:
        InputError: another address, or it cannot be downloaded.
    """
    if not name.startswith(ZOO):
        if "://" in name:
            raise InputError(
                f"MODEL.WEIGHTS {name}: only files and {ZOO}... are loaded: download it yourself"
            )
        return Path(name)
    within = name.removeprefix(ZOO)
    if ".." in within.split("/"):
        raise InputError(f"MODEL.WEIGHTS {name}: names nothing in Detectron2's model zoo")
    kept = Path(get_cache_dir(), "detectron2", within)
    if not download or kept.is_file():
        return kept
    try:
        return Path(PathManager.get_local_path(name))
    except Exception as e:  # of the network, of the disk
        raise InputError(
            f"MODEL.WEIGHTS {name}: cannot be downloaded ({str(e) or type(e).__name__}): download "
            f"it elsewhere and name the file, or put it at {kept}"
        ) from e


def read_foreign(path: Path) -> Foreign:
    """The weights in a file, told by its content; of a pickle nothing is executed.

    Raises:
        InputError: missing, damaged, more than weights, or weights that are not finite.
    """
    if path.is_dir() or not path.is_file():
        raise InputError(f"{path}: no such file: MODEL.WEIGHTS starts the teacher from {_WHAT}")
    with open(path, "rb") as f:
        head = f.read(len(_LEGACY))
    if head[:1] == b"\x80" and head != _LEGACY:
        content, author = read_pickle(path), ""
        if isinstance(content, dict):
            author = str(content.get("__author__", ""))[:100]
            content = content.get("model", content.get("blobs", content))
        weights = _tensors(content, path)
    elif head[8:9] == b"{":
        weights, author = _read_safetensors(path), ""
    else:
        checkpoint = load_file(path, give=_WHAT)
        if "plan" in checkpoint:
            raise InputError(
                f"{path}: is a training's checkpoint: its teacher is trained, so name it in "
                "MODEL.TEACHER.WEIGHTS"
            )
        weights, author = checkpoint["model"], ""
        if not all(isinstance(name, str) for name in weights):
            raise InputError(f"{path}: holds no weights by name: give {_WHAT}")
    if size(weights)[0] > path.stat().st_size:
        raise InputError(f"{path}: claims more weights than a file of its size holds")
    bad = not_finite(weights)
    if bad:
        raise InputError(f"{path}: its weights are not finite (e.g. {bad[0]}): take another file")
    return Foreign(weights, author)


def _tensors(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """The arrays of floating-point numbers among what a pickle holds by name."""
    arrays = content.items() if isinstance(content, dict) else ()
    found = {
        k: torch.from_numpy(v.astype(np.float32))
        for k, v in arrays
        if isinstance(k, str) and isinstance(v, np.ndarray) and v.dtype.kind == "f"
    }
    if not found:
        raise InputError(f"{path}: holds no weights by name: give {_WHAT}")
    return found


def _read_safetensors(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file as load_safetensors

    try:
        return load_safetensors(path)
    except (SafetensorError, OSError, ValueError, KeyError) as e:
        raise InputError(f"{path}: is no .safetensors file, or damaged ({str(e)[:200]})") from e
