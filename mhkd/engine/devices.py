"""Whether torch can compute on the device that was asked for."""

import torch

from ..errors import InputError


def check_device(device: str) -> None:
    """Raises InputError where torch cannot compute on ``device`` ("cpu", "cuda", "cuda:1")."""
    try:
        kind, index = torch.device(device).type, torch.device(device).index
    except RuntimeError as e:
        raise InputError(f"device {device!r}: is none; choose cpu, cuda or cuda:<number>") from e
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(
            f"device {device}: there is no GPU here that torch can use; choose cpu (MODEL.DEVICE cpu)"
        )
    if kind == "cuda" and (index or 0) >= torch.cuda.device_count():
        raise InputError(f"device {device}: there are {torch.cuda.device_count()} GPUs, counted from 0")
    if kind not in ("cpu", "cuda"):
        try:
            torch.zeros(1, device=device).item()
        except (RuntimeError, AssertionError, NotImplementedError) as e:
            raise InputError(f"device {device}: torch cannot compute on it; choose cpu or cuda") from e


def check_device_option(device: str) -> None:
    """:func:`check_device` of a command's ``--device``; empty: it was not given."""
    try:
        if device:
            check_device(device)
    except InputError as e:
        raise InputError(f"--device {device}: cannot be used ({e})") from e
