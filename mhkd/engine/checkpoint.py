"""Training checkpoints and exported students: written whole or not at all, loaded strictly."""

import os
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from torch import nn

from ..config import load_cfg, parse_cfg
from ..errors import InputError, about
from ..evaluation.threshold_file import forget_threshold
from ..files import replacing, write_text
from ..modeling import build_network, exported_form, is_student, student_cfg, teacher_cfg
from ..yaml_files import one_line
from .classes import order_classes, recorded_classes
from .settings import check_device, check_ranges

NO_PICKLES = (
    "a pickle may run any code and is not loaded, nor are weights of a model zoo: give a model_final.pth "
    "that this project wrote"
)


def save_atomically(data: dict, path: str | os.PathLike) -> None:
    """``torch.save`` to a temporary name beside ``path``, then rename.

    Raises:
        InputError: it cannot be written; what was there stays.
    """
    with replacing(path) as temporary, open(temporary, "wb") as f:
        try:
            torch.save(data, f)
        except RuntimeError as e:
            if isinstance(e.__context__, OSError):  # a full disk, of which torch tells its own story
                raise e.__context__ from None
            raise


def load_file(path: str | os.PathLike) -> dict:
    """A checkpoint's content, on the CPU.

    Raises:
        InputError: missing, cut short, or not a checkpoint.
    """
    if "://" in str(path):
        raise InputError(f"{path}: is an address, and only local files are loaded; {NO_PICKLES}")
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder: name the file in it, model_final.pth")
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint; check the path, or train the step that makes it")
    if _is_compressed(path):
        raise InputError(f"{path}: is compressed, as no checkpoint is: give a file that this project wrote")
    try:
        with warnings.catch_warnings(action="ignore"):  # of a pickle's protocol: it is refused anyway
            data = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # zipfile, pickle, EOF and runtime errors, depending on where it is cut
        raise InputError(f"{path}: {_why_unreadable(path)}") from e
    if not isinstance(data, dict):
        raise InputError(f"{path}: holds no weights but a {type(data).__name__}")
    data = data if "model" in data else {"model": data}
    weights = data["model"]
    if not isinstance(weights, dict) or not all(isinstance(v, torch.Tensor) for v in weights.values()):
        raise InputError(f"{path}: holds no weights by name: give a file that this project wrote")
    if _size(weights)[0] > path.stat().st_size:  # one number stands for many, or is there under many names
        raise InputError(f"{path}: claims more weights than a file of its size holds; {NO_PICKLES}")
    return data


def _is_compressed(path: Path) -> bool:
    """A few bytes may then stand for more than the memory holds."""
    try:
        with zipfile.ZipFile(path) as content:
            return any(i.file_size > i.compress_size for i in content.infolist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False  # no archive; said where it is loaded


def _size(weights: dict[str, torch.Tensor]) -> tuple[int, int]:
    """Numbers in the weights, and tensors that hold them."""
    return sum(v.numel() for v in weights.values()), len(weights)


def _why_unreadable(path: Path) -> str:
    try:
        with open(path, "rb") as f:
            head = f.read(2)
    except OSError as e:
        return f"cannot be read ({e.strerror or e})"
    if zipfile.is_zipfile(path):  # its directory, which stands last, is there
        return f"is damaged, or holds more than tensors; {NO_PICKLES}"
    if head == b"PK":
        return "not a readable checkpoint: it was cut short"
    if head[:1] == b"\x80" or path.suffix in (".pkl", ".pickle"):
        return f"is a pickle, as those of Detectron2's model zoo are; {NO_PICKLES}"
    return "is no checkpoint: give a file that this project wrote, model_final.pth or checkpoint.pth"


def load_weights(module: nn.Module, weights: dict, path: str | os.PathLike) -> None:
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
    checkpoint: dict, network: str, path: str | os.PathLike, classes: Sequence[str] = ()
) -> dict:
    """``network``'s ("teacher" or "student") weights from a training checkpoint or an exported one.

    Args:
        checkpoint: content of the file at ``path``.
        classes: the order that the weights' classes are brought into; empty: as they are.

    Raises:
        InputError: that network was not trained yet, or is of other classes.
    """
    _check_trained(checkpoint, network, path)
    weights, prefix = checkpoint["model"], network + "."
    own = {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}
    return order_classes(own or weights, recorded_classes(checkpoint, path), classes, path)


def _check_trained(checkpoint: dict, network: str, path: str | os.PathLike) -> None:
    """A training checkpoint holds both networks, of which one may be as the seed made it."""
    if "plan" not in checkpoint:
        return
    if network == "student" and checkpoint["stage"] == 0:
        raise InputError(
            f"{path}: its teacher is trained, its student not yet: train further and use the checkpoint of a "
            "later step (OUTPUT_DIR/<step>/model_final.pth), or ask for the teacher"
        )
    trains_teacher = checkpoint["plan"][0]["step"].startswith("0_")
    given = parse_cfg(checkpoint["cfg"], path).MODEL.TEACHER.WEIGHTS
    if network == "teacher" and not (trains_teacher or given):
        raise InputError(
            f"{path}: its schedule has no teacher, so none was trained: use a checkpoint of another schedule"
        )


def export_cfg(cfg: CfgNode, network: str, bfa: bool = False) -> CfgNode:
    """The config that ``network`` ("teacher" or "student") is handed out with: for images of any size, and
    with what it is for recorded.

    Args:
        cfg: of the training, or exported before.
    """
    out = exported_form(_scored_cfg(cfg, network, bfa))
    out.MHKD.CLASSES = dataset_classes(cfg)
    return out


def _scored_cfg(cfg: CfgNode, network: str, bfa: bool) -> CfgNode:
    """The config of ``network`` alone as training and scores have it: a student takes LR at the HR size."""
    return student_cfg(cfg, bfa) if network == "student" else teacher_cfg(cfg)


def dataset_classes(cfg: CfgNode) -> list[str]:
    """Class names of the training data, or MHKD.CLASSES where that is not named or not at hand."""
    for name in cfg.DATASETS.TRAIN[:1]:
        return list(MetadataCatalog.get(name).get("thing_classes", cfg.MHKD.CLASSES))
    return list(cfg.MHKD.CLASSES)


def export_network(weights: dict, cfg: CfgNode, folder: str | os.PathLike) -> Path:
    """Write ``model_final.pth`` and ``config.yaml``, which work wherever the folder is put.

    The config has the bare name of the weights; :func:`exported_cfg` makes it a path.

    Args:
        weights: the network's state dict; a student's BFA is left out where ``cfg`` has it disabled.
        cfg: from :func:`export_cfg`.
    """
    folder = Path(folder)
    path = folder / "model_final.pth"
    forget_threshold(folder)  # of the weights that were there
    if not cfg.MODEL.BFA.ENABLED:
        weights = {k: v for k, v in weights.items() if not _is_bfa(k)}
    save_atomically({"model": weights, "classes": list(cfg.MHKD.CLASSES)}, path)
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.WEIGHTS = path.name
    cfg.MODEL.TEACHER.WEIGHTS = ""
    cfg.MHKD.CHOOSE_ON = ""  # a file of its own records what was chosen
    write_text(cfg.dump(), folder / "config.yaml")
    return path


def exported_cfg(folder: str | os.PathLike, device: str = "") -> CfgNode:
    """The config of an exported network, its weights' path set to where the folder is now.

    Folders of any age come out in today's form, see :func:`mhkd.modeling.exported_form`.

    Args:
        folder: holds ``config.yaml`` and ``model_final.pth``.
        device: "cpu", "cuda", ...; empty: CUDA if there is one.
    """
    folder = Path(folder)
    for name in ("config.yaml", "model_final.pth"):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder / name}: missing; a trained student is OUTPUT_DIR/student/ or "
                "OUTPUT_DIR/<step>/student/"
            )
    cfg = load_cfg(folder / "config.yaml", allow_base=False)
    cfg.MODEL.WEIGHTS = str((folder / "model_final.pth").absolute())
    cfg.MODEL.DEVICE = device or ("cuda" if torch.cuda.is_available() else "cpu")
    check_device(cfg.MODEL.DEVICE)
    with about(folder / "config.yaml"):
        check_ranges(cfg)
        if len(cfg.MHKD.CLASSES) not in (0, cfg.MODEL.ROI_HEADS.NUM_CLASSES):
            raise InputError(
                f"MHKD.CLASSES {cfg.MHKD.CLASSES}: must be as many as MODEL.ROI_HEADS.NUM_CLASSES, "
                f"{cfg.MODEL.ROI_HEADS.NUM_CLASSES}"
            )
    return exported_form(cfg)


def load_network(
    cfg: CfgNode, network: str, path: str | os.PathLike, classes: Sequence[str] = ()
) -> nn.Module:
    """Build the ``network`` ("teacher" or "student") of ``cfg`` alone and load its weights, to be scored: a
    student takes LR brought to the HR size.

    Args:
        path: an exported ``model_final.pth`` or any training checkpoint, which both know whether the
            student has BFA.
        classes: the order that its classes are brought into; empty: as they are.

    Raises:
        InputError: missing, cut short, not trained yet, of other classes or of another architecture.
    """
    checkpoint = load_file(path)
    weights = network_weights(checkpoint, network, path, classes)
    bfa = checkpoint.get("bfa", any(map(_is_bfa, weights)))
    weights = {k: v for k, v in weights.items() if bfa or not _is_bfa(k)}
    module = build_network(_scored_cfg(cfg, network, bfa))
    load_weights(module, weights, path)
    return module.eval()


def load_exported(cfg: CfgNode, classes: Sequence[str] = ()) -> nn.Module:
    """The network of an exported folder, student, teacher or other detector, ready to be scored: all take
    images of the HR size, a student LR brought to it, and give boxes in HR pixels.

    Args:
        cfg: from :func:`exported_cfg`.
        classes: the order that its classes are brought into; empty: that of ``cfg``.
    """
    if is_student(cfg):
        cfg = student_cfg(cfg, cfg.MODEL.BFA.ENABLED)
    return _load(cfg, load_file(cfg.MODEL.WEIGHTS), classes)


def load_deployed(cfg: CfgNode) -> nn.Module:
    """The network of an exported folder as ``DefaultPredictor`` has it: a student takes LR of any size.

    It has looked at a picture when it is returned, so that what is wrong with it is said here.

    Args:
        cfg: from :func:`exported_cfg`.
    """
    network = _load(cfg, load_file(cfg.MODEL.WEIGHTS))
    try:
        with torch.inference_mode():
            network([{"image": torch.zeros(3, 32, 32), "height": 32, "width": 32}])
    except Exception as e:  # whatever the parts make of settings that do not go together
        raise InputError(f"{_config_of(cfg)}: its network cannot be used: {one_line(e)}") from e
    return network


def load_student(folder: str | os.PathLike, device: str = "") -> CfgNode:
    """The config of an exported student, for ``DefaultPredictor``, which then takes LR pixels of any size.

    Its network is built once and its weights are read, so that what is wrong with the folder is said here.
    Nothing in it is executed: Detectron2's own ways take unsafe YAML and pickles.

    Args:
        folder: holds ``config.yaml`` and ``model_final.pth``; an exported teacher's works too, on HR.
        device: "cpu", "cuda", ...; empty: CUDA if there is one.

    Returns:
        Its MHKD.CLASSES are in the order of the weights.

    Raises:
        InputError: a file is missing, damaged, or does not fit the other.
    """
    cfg = exported_cfg(folder, device)
    load_deployed(cfg)
    recorded = recorded_classes(load_file(cfg.MODEL.WEIGHTS), cfg.MODEL.WEIGHTS)
    cfg.MHKD.CLASSES = recorded or cfg.MHKD.CLASSES
    return cfg


def _load(cfg: CfgNode, checkpoint: dict, classes: Sequence[str] = ()) -> nn.Module:
    path, weights = cfg.MODEL.WEIGHTS, checkpoint["model"]
    numbers, tensors = _size(weights)
    with about(_config_of(cfg)):  # which may be a stranger's; some parts are built twice
        module = build_network(cfg, 2 * numbers + 10_000, 2 * tensors + 100)
    recorded, classes = recorded_classes(checkpoint, path), classes or cfg.MHKD.CLASSES
    load_weights(module, order_classes(weights, recorded, classes, path), path)
    return module.eval()


def _config_of(cfg: CfgNode) -> Path:
    """Of an exported network: where its config was read from."""
    return Path(cfg.MODEL.WEIGHTS).with_name("config.yaml")


def export_checkpoint(path: str | os.PathLike, folder: str | os.PathLike, network: str) -> Path:
    """Take ``network`` ("teacher" or "student") out of a training checkpoint, which has its config.

    Returns:
        The path of the weights, see :func:`export_network`.

    Raises:
        InputError: not a training checkpoint, or that network was not trained yet.
    """
    checkpoint = load_file(path)
    if not {"cfg", "plan", "stage", "bfa", "classes", "lr_mpp"} <= checkpoint.keys():
        raise InputError(f"{path}: not a training checkpoint (OUTPUT_DIR/<step>/model_final.pth)")
    weights = network_weights(checkpoint, network, path)
    cfg = export_cfg(parse_cfg(checkpoint["cfg"], path), network, checkpoint["bfa"])
    cfg.MHKD.CLASSES, cfg.MHKD.LR_MPP = checkpoint["classes"], checkpoint["lr_mpp"]
    return export_network(weights, cfg, folder)


def _is_bfa(parameter_name: str) -> bool:
    return parameter_name.startswith("backbone.bfa.")
