"""Packages that not every command needs, and the one line that installs each."""

import importlib.util

# Detectron2 0.6 is not on the package index under its own name, and pip 26 refuses its metadata. The flags
# leave out its C++ parts, which nothing here uses.
TRAIN = (
    'pip install "mhkd[train]" "pip<26" && pip install --use-pep517 --no-build-isolation --no-deps '
    "--config-settings=--global-option=build_py --config-settings=--build-option=--skip-build "
    "pb1-detectron2==0.6"
)
DETECT, DRAW = 'pip install "mhkd[detect]"', 'pip install "mhkd[draw]"'
DETR = 'pip install "mhkd[detr]"'
CLUSTER = 'pip install "mhkd[cluster]"'

_OF_TRAIN = (
    "torch", "torchvision", "detectron2", "fvcore", "iopath", "yacs", "omegaconf", "hydra", "tensorboard",
    "termcolor", "cloudpickle", "pkg_resources", "onnx", "safetensors",
)  # fmt: skip
COMMANDS = {
    **dict.fromkeys(_OF_TRAIN, TRAIN), "transformers": DETR, "scipy": DETR, "distributed": CLUSTER,
    "dask": CLUSTER, "onnxruntime": DETECT, "cv2": DRAW, "matplotlib": DRAW,
}  # fmt: skip


def remedy(error: ModuleNotFoundError) -> str | None:
    """One line about a package of ours that is not installed; None for any other module."""
    package = (error.name or "").partition(".")[0]
    if package not in COMMANDS or importlib.util.find_spec(package) is not None:
        return None
    return f"{package} is not installed: {COMMANDS[package]}"
