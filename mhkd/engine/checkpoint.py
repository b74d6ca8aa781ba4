"""Checkpoint files: written whole or not at all, loaded strictly, never a pickle that may run code."""

import mmap
import os
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..config import parse_cfg
from ..errors import InputError
from ..files import replacing

OWN = "a model_final.pth that this project wrote"


AVERAGED = "averaged"  # of a checkpoint within a step: the weights as they are scored (SOLVER.EMA_DECAY)


class Damaged(InputError):
    """A file that is not, or not any more, what was written: cut short, overwritten, a bit turned."""


def save_atomically(data: Mapping[str, Any], path: str | os.PathLike[str], kept: Path | None = None) -> None:
    """``torch.save`` to a temporary name beside ``path``, then, when it is on the disk, rename.

    Args:
        kept: the name that what was at ``path`` gets; None: it is replaced.

    Raises:
        InputError: it cannot be written; what was there stays.
    """
    with replacing(path, kept) as temporary, open(temporary, "wb") as f:
        try:
            torch.save(data, f)
            f.flush()
            os.fsync(f.fileno())
        except RuntimeError as e:
            if isinstance(e.__context__, OSError):  # a full disk, of which torch tells its own story
                raise e.__context__ from None
            raise


def load_file(path: str | os.PathLike[str], give: str = OWN) -> dict[str, Any]:
    """A checkpoint's content, on the CPU; weights by name are under "model".

    Args:
        give: what to name instead, for error messages.

    Raises:
        Damaged: cut short, or with other bytes than were written.
        InputError: missing, or not a checkpoint.
    """
    if "://" in str(path):
        raise InputError(f"{path}: is an address, and only local files are loaded: give {give}")
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder: name the file in it, model_final.pth")
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint; check the path, or train the step that makes it")
    if _is_compressed(path):
        raise InputError(f"{path}: is compressed, as no checkpoint is: give {give}")
    if _asks_for_memory(path):
        raise InputError(f"{path}: asks for a bytearray, as no checkpoint does: give {give}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a pickle's protocol: it is refused anyway
            data = torch.load(path, map_location="cpu", weights_only=True)
        whole = _equals_its_checksums(path)
    except OSError as e:  # which is no damage
        raise InputError(f"{path}: cannot be read ({e.strerror or e})") from e
    except Exception as e:  # zipfile, pickle, EOF and runtime errors, depending on where it is cut
        raise Damaged(f"{path}: {_why_unreadable(path, give)}") from e
    if not whole:
        raise Damaged(f"{path}: is damaged, its content is not what was written")
    if not isinstance(data, dict):
        raise InputError(f"{path}: holds no weights but a {type(data).__name__}")
    data = data if "model" in data else {"model": data.get("state_dict", data)}
    for weights in (data[key] for key in ("model", AVERAGED) if key in data):
        if not isinstance(weights, dict) or not all(isinstance(v, torch.Tensor) for v in weights.values()):
            raise InputError(f"{path}: holds no weights by name: give {give}")
        if size(weights)[0] > path.stat().st_size:  # one number stands for many, or is there under many names
            raise InputError(f"{path}: claims more weights than a file of its size holds: give {give}")
    return data


def _is_compressed(path: Path) -> bool:
    """A few bytes may then stand for more than the memory holds."""
    try:
        with zipfile.ZipFile(path) as content:
            return any(i.file_size > i.compress_size for i in content.infolist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False  # no archive; said where it is loaded


def _equals_its_checksums(path: Path) -> bool:
    """``torch.load`` does not look at them."""
    if not zipfile.is_zipfile(path):  # of torch before 1.6
        return True
    with zipfile.ZipFile(path) as content:
        recorded = any(i.CRC for i in content.infolist())
        return not recorded or content.testzip() is None


def _asks_for_memory(path: Path) -> bool:
    """Of all that torch's own reader allows, this alone takes as much memory as a number says."""
    try:
        with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(b"\nbytearray\n") >= 0
    except (OSError, ValueError):
        return False  # empty, or not to be read; said where it is loaded


def size(weights: Mapping[str, torch.Tensor]) -> tuple[int, int]:
    """Numbers in the weights, and tensors that hold them."""
    return sum(v.numel() for v in weights.values()), len(weights)


def _why_unreadable(path: Path, give: str) -> str:
    try:
        with open(path, "rb") as f:
            head = f.read(2)
    except OSError as e:
        return f"cannot be read ({e.strerror or e})"
    if zipfile.is_zipfile(path):  # its directory, which stands last, is there
        return f"is damaged, or holds more than tensors, which may run any code: give {give}"
    if head == b"PK":
        return "not a readable checkpoint: it was cut short"
    if head[:1] == b"\x80" or path.suffix in (".pkl", ".pickle"):
        return (
            "is a pickle, as those of Detectron2's model zoo are, from which a teacher may only start "
            f"(MODEL.WEIGHTS): give {give}"
        )
    return f"is no checkpoint: give {give}"


def load_weights(
    module: nn.Module, weights: Mapping[str, torch.Tensor], path: str | os.PathLike[str]
) -> None:
    """Strict loading with an error that a user can act upon.

    Raises:
        InputError: weights of another architecture.
    """
    own = module.state_dict()
    missing = [k for k in own if k not in weights]
    unexpected = [k for k in weights if k not in own]
    shapes = [k for k in own if k in weights and own[k].shape != weights[k].shape]
    if missing or unexpected or shapes:
        found = [
            f"{len(keys)} {what} (e.g. {keys[0]})"
            for keys, what in (
                (missing, "missing"),
                (unexpected, "unknown"),
                (shapes, "of another shape"),
            )
            if keys
        ]
        raise InputError(
            f"{path}: weights of another architecture: {', '.join(found)} parameters; use the config they "
            "were trained with"
        )
    module.load_state_dict(weights)


def network_weights(
    checkpoint: Mapping[str, Any], network: str, path: str | os.PathLike[str]
) -> dict[str, torch.Tensor]:
    """``network``'s ("teacher" or "student") weights from a training checkpoint or an exported one, averaged
    where it has averages.

    Args:
        checkpoint: content of the file at ``path``.

    Raises:
        InputError: that network was not trained yet.
    """
    _check_trained(checkpoint, network, path)
    weights, prefix = checkpoint.get(AVERAGED, checkpoint["model"]), network + "."
    found = {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)} or weights
    if network == "teacher":  # an exported student may teach another
        found = {k.replace("backbone.fpn.", "backbone.", 1): v for k, v in found.items()}
    return found


def _check_trained(checkpoint: Mapping[str, Any], network: str, path: str | os.PathLike[str]) -> None:
    """A training checkpoint holds both networks, of which one may be as the seed made it."""
    if "plan" not in checkpoint:
        return
    try:
        stage, first = int(checkpoint["stage"]), str(checkpoint["plan"][0]["step"])
    except (LookupError, TypeError, ValueError) as e:
        raise InputError(f"{path}: its record of steps is damaged: use another checkpoint") from e
    if network == "student" and stage == 0:
        raise InputError(
            f"{path}: its teacher is trained, its student not yet: train further and use the checkpoint of a "
            "later step (OUTPUT_DIR/<step>/model_final.pth), or ask for the teacher"
        )
    trains_teacher = first.startswith("0_")
    given = parse_cfg(checkpoint["cfg"], path).MODEL.TEACHER.WEIGHTS
    if network == "teacher" and not (trains_teacher or given):
        raise InputError(
            f"{path}: its schedule has no teacher, so none was trained: use a checkpoint of another schedule"
        )
