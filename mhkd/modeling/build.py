"""Networks are built from configs of strangers: what no network has is refused before it costs anything."""

import contextlib
from collections.abc import Iterator

from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from ..errors import InputError
from ..yaml_files import one_line

MAX_NUMBER, MAX_LENGTH = 1_000_000, 100  # of a whole number and of a list in MODEL
MAX_PARAMETERS, MAX_TENSORS = 2_000_000_000, 20_000  # R101-FPN has 60 million in 400


def build_network(
    cfg: CfgNode, max_parameters: int = MAX_PARAMETERS, max_tensors: int = MAX_TENSORS
) -> nn.Module:
    """:func:`detectron2.modeling.build_model` for configs that may be anything.

    Args:
        max_parameters, max_tensors: numbers in the network, and tensors that hold them. The first that is too
            many ends the building, before its memory is touched.

    Raises:
        InputError: no network comes of it, a larger one, or one that MODEL.DEVICE cannot hold.
    """
    _check_numbers(cfg.MODEL, "MODEL")
    device, cfg = cfg.MODEL.DEVICE, cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "cpu"
    try:
        with _at_most(max_parameters, max_tensors):
            network = build_model(cfg)
    except InputError:
        raise
    except Exception as e:  # whatever the parts make of values that they do not expect
        raise InputError(f"the networks of this config cannot be built: {one_line(e)}") from e
    try:
        return network.to(device)
    except (RuntimeError, AssertionError) as e:  # of torch
        raise InputError(f"device {device}: cannot hold the network ({str(e).splitlines()[0]})") from e


def _check_numbers(value: object, key: str) -> None:
    """Such as lists are made of, which no limit of parameters ends."""
    if isinstance(value, dict):
        for name, child in value.items():
            _check_numbers(child, f"{key}.{name}")
    elif isinstance(value, list | tuple):
        if len(value) > MAX_LENGTH:
            raise InputError(f"{key}: has {len(value)} values: must be at most {MAX_LENGTH}")
        for child in value:
            _check_numbers(child, key)
    elif isinstance(value, int) and abs(value) > MAX_NUMBER:
        raise InputError(f"{key} {value}: must be at most {MAX_NUMBER}")


@contextlib.contextmanager
def _at_most(max_parameters: int, max_tensors: int) -> Iterator[None]:
    count, tensors = 0, 0

    def add(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal count, tensors
        count, tensors = count + parameter.numel(), tensors + 1
        if count > max_parameters or tensors > max_tensors:
            raise InputError(
                f"the config asks for a network of more than {max_parameters} parameters in {max_tensors} "
                "tensors: make it smaller, or use the config that the weights were trained with"
            )

    handle = register_module_parameter_registration_hook(add)
    try:
        yield
    finally:
        handle.remove()
