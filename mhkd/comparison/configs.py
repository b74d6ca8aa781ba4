"""The config of a row, and whether something was trained with it."""

from collections.abc import Sequence
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from ..config import load_cfg
from ..data.registrar import ensure_registered
from ..errors import InputError
from ..unread import NEVER_READ, merge_options, settle_unread
from ..yaml_files import read_config
from .rows import Method

CONFIGS = Path(__file__).parents[2] / "projects/MHKD/configs"
FOLDERS = {"kidney_roi": "KidneyROI", "hubmap": "HuBMAP", "ln": "LN", "demo": "Demo"}
SIZES = {"cpu": "mhkd_R18_FPN_cpu.yaml", "full": "mhkd_R50_FPN.yaml"}

# What the table sets itself.
RESERVED = (
    "OUTPUT_DIR", "SEED", "MHKD.SCHEDULE", "MHKD.STAGE", "MODEL.WEIGHTS", "MODEL.TEACHER.WEIGHTS",
    "MODEL.META_ARCHITECTURE", "MODEL.TEACHER.META_ARCHITECTURE",
)  # fmt: skip
# Keys that do not change what is trained; iterations, losses and parts are compared step by step.
IRRELEVANT = (
    "OUTPUT_DIR", "MODEL.DEVICE", "MODEL.WEIGHTS", "DATALOADER.NUM_WORKERS", "SOLVER.CHECKPOINT_PERIOD",
    "TEST.EVAL_PERIOD", "VIS_PERIOD", "VERSION", "MHKD.SCHEDULE", "MHKD.STUDENT_START", "MHKD.STAGE",
    "MHKD.EVAL", "MHKD.CLASSES", "MHKD.LR_MPP", "MHKD.TEACHER_ITERS", "MHKD.STUDENT_ITERS", *NEVER_READ,
)  # fmt: skip
# The LR factor moves the teacher's crops by less than an LR pixel.
IRRELEVANT_TO_TEACHER = (
    "MODEL.STUDENT.", "MODEL.BFA.", "MHKD.OUTPUT_SCORE_THRESH", "MHKD.LR_RESTART", "MHKD.LABELED_SHARE",
    "MHKD.UNLABELED", "INPUT.LR_", "INPUT.SCANNER.",
)  # fmt: skip


def row_cfg(
    method: Method, dataset: str, size: str, seed: int, output_dir: Path, options: Sequence[str] = ()
) -> CfgNode:
    """The config that trains ``method`` on ``dataset``.

    Args:
        dataset: one that has configs (kidney_roi, hubmap, ln, demo), or any name whose splits NAME_train
            and NAME_val exist; NAME@class merges its classes into one.
        size: "cpu" or "full".
        options: config overrides, KEY VALUE ...

    Raises:
        InputError: no such size or dataset, or an option that does not exist or that the table sets.
    """
    if size not in SIZES:
        raise InputError(f"unknown size {size!r}: choose one of {', '.join(SIZES)}")
    for key in options[::2]:
        if key in RESERVED:
            raise InputError(f"{key} is set by the table itself, for each row: leave it out of the options")
    cfg = load_cfg(_file(CONFIGS / FOLDERS.get(dataset, "KidneyROI") / SIZES[size]))
    if dataset not in FOLDERS:
        _use_dataset(cfg, dataset)
    if method.config:
        cfg.merge_from_other_cfg(_architecture(method.config, size))
    merge_options(cfg, [*options, *method.options], f"{method.key}, options")
    if len(cfg.DATASETS.TEST) != 1:
        raise InputError(f"DATASETS.TEST {cfg.DATASETS.TEST}: a table is about one test set")
    cfg.OUTPUT_DIR, cfg.SEED, cfg.MHKD.SCHEDULE = str(output_dir), seed, method.schedule
    if method.is_direct:
        cfg.MODEL.META_ARCHITECTURE = "DirectDetector"
    settle_unread(cfg, options[::2], "options")
    cfg.freeze()
    return cfg


def differences(asked: CfgNode, trained: CfgNode, of_teacher: bool = False) -> list[str]:
    """The settings in which two configs would train differently, "KEY was ..., asked for ...".

    Args:
        of_teacher: compare only what the teacher's own training depends on.
    """
    ignored = IRRELEVANT + (IRRELEVANT_TO_TEACHER if of_teacher else ())
    asked, trained = _flat(asked), _flat(trained)
    return [
        f"{k} was {trained.get(k)}, asked for {asked.get(k)}"
        for k in sorted(asked | trained)
        if asked.get(k) != trained.get(k) and not k.startswith(ignored)
    ]


def _architecture(name: str, size: str) -> CfgNode:
    """What a direct detector's config says beyond the dataset's own, its ``_BASE_``."""
    folder = CONFIGS / FOLDERS["kidney_roi"] / "direct"
    found = [p for p in sorted(folder.glob(f"{name}_R*.yaml")) if (p.stem[-4:] == "_cpu") == (size == "cpu")]
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


def _file(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: missing; run tables from a clone of the project")
    return path


def _flat(node: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in node.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = _lists(value)
    return flat


def _lists(value):
    """Tuples become lists where a config is written and read again."""
    return [_lists(v) for v in value] if isinstance(value, list | tuple) else value
