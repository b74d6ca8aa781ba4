"""The config of a row."""

from collections.abc import Sequence
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from ..config import load_cfg
from ..config_files import configs_folder
from ..data.registrar import ensure_registered
from ..engine.resume import TEACHER_WEIGHTS
from ..engine.unread import merge_options, settle_unread
from ..errors import InputError
from ..yaml_files import read_config
from .rows import FASTER_RCNN, Method

FOLDERS = {"kidney_roi": "KidneyROI", "hubmap": "HuBMAP", "ln": "LN", "demo": "Demo"}
SIZES = {
    "cpu": "mhkd_R18_FPN_cpu.yaml",
    "full": "mhkd_R50_FPN.yaml",
    # The paper's own settings.
    "paper_cpu": "paper_R18_cpu.yaml",
    "paper": "paper_R50.yaml",
}

# What the table sets itself.
RESERVED = (
    "OUTPUT_DIR", "SEED", "MHKD.SCHEDULE", "MHKD.STAGE", "MODEL.WEIGHTS", "MODEL.TEACHER.WEIGHTS",
    "MODEL.META_ARCHITECTURE", "MODEL.TEACHER.META_ARCHITECTURE",
)  # fmt: skip


def config_file(dataset: str, size: str) -> Path:
    """What the configs of all rows begin with.

    Raises:
        InputError: no such size, or the dataset has no config of it.
    """
    if size not in SIZES:
        raise InputError(f"unknown size {size!r}: choose one of {', '.join(SIZES)}")
    folder = configs_folder() / FOLDERS.get(dataset, "KidneyROI")
    if not (folder / SIZES[size]).is_file():
        known = ", ".join(k for k, name in SIZES.items() if (folder / name).is_file())
        raise InputError(f"{folder.name} has no config of size {size!r}: choose one of {known}")
    return folder / SIZES[size]


def row_cfg(
    method: Method,
    dataset: str,
    size: str,
    seed: int,
    output_dir: Path,
    options: Sequence[str] = (),
    fold: str = "",
) -> CfgNode:
    """The config that trains ``method`` on ``dataset``.

    Args:
        dataset: one that has configs (kidney_roi, hubmap, ln, demo), or any name whose splits NAME_train
            and NAME_val exist; NAME@class merges its classes into one.
        size: a key of :data:`SIZES`.
        options: config overrides, KEY VALUE ...
        fold: "slidefold1of5": train and val are divided together, see :mod:`mhkd.data.folds`.

    Raises:
        InputError: no such size or dataset, or an option that does not exist or that the table sets.
    """
    for key in options[::2]:
        if key in RESERVED:
            raise InputError(f"{key} is set by the table itself, for each row: leave it out of the options")
    cfg = load_cfg(config_file(dataset, size))
    if dataset not in FOLDERS:
        _use_dataset(cfg, dataset)
    if method.config:
        cfg.merge_from_other_cfg(_architecture(method.config, size))
    merge_options(cfg, [*options, *method.options], f"{method.key}, options")
    if len(cfg.DATASETS.TEST) != 1:
        raise InputError(f"DATASETS.TEST {cfg.DATASETS.TEST}: a table is about one test set")
    if fold:
        _use_fold(cfg, fold)
    cfg.OUTPUT_DIR, cfg.SEED, cfg.MHKD.SCHEDULE = str(output_dir), seed, method.schedule
    if method.given_teacher:
        cfg.MODEL.TEACHER.WEIGHTS = str(output_dir.parent / FASTER_RCNN.key / TEACHER_WEIGHTS)
    if method.is_direct:
        cfg.MODEL.META_ARCHITECTURE = "DirectDetector"
    settle_unread(cfg, options[::2], "options")
    cfg.freeze()
    return cfg


def _architecture(name: str, size: str) -> CfgNode:
    """What a direct detector's config says beyond the dataset's own, its ``_BASE_``."""
    folder = configs_folder() / FOLDERS["kidney_roi"] / "direct"
    on_cpu = size.endswith("cpu")
    found = [p for p in sorted(folder.glob(f"{name}_R*.yaml")) if p.stem.endswith("_cpu") == on_cpu]
    if not found:
        raise InputError(f"{folder}/{name}_R*.yaml: there is no config of this detector at size {size}")
    own, _ = read_config(found[0])
    own.pop("OUTPUT_DIR", None)
    return CfgNode(own)


def _use_dataset(cfg: CfgNode, dataset: str) -> None:
    name, at, merged = dataset.partition("@")
    cfg.DATASETS.TRAIN = (f"{name}_train{at}{merged}",)
    cfg.DATASETS.TEST = (f"{name}_val{at}{merged}",)
    ensure_registered([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])
    DatasetCatalog.get(cfg.DATASETS.TRAIN[0])
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).thing_classes)


def _use_fold(cfg: CfgNode, fold: str) -> None:
    """In the place of NAME_train and NAME_val, which are divided anew."""
    plain, at, merged = cfg.DATASETS.TEST[0].partition("@")
    name, used = plain.removesuffix("_val"), [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]
    if used != [f"{name}_{part}{at}{merged}" for part in ("train", "val")]:
        raise InputError(
            f"datasets {', '.join(used)}: folds divide the NAME_train and NAME_val of one dataset: name it "
            "with --dataset, and leave DATASETS out of the options"
        )
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (
        (f"{name}_{fold}_{part}{at}{merged}",) for part in ("train", "val")
    )
