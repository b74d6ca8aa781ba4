"""What a step was made with: recorded beside it, and compared before anything is built on it."""

import functools
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog

from ..config import load_cfg, parse_cfg
from ..data.registrar import annotation_files, image_files
from ..errors import InputError
from ..files import read_json, sha256
from ..schedules import Step, get_schedule
from ..tasks import get_task
from .checkpoint import load_file
from .exported import export_cfg
from .keys import flat
from .pretrained.files import local_file
from .unread import NEVER_READ

# Whatever is not named here decides what is trained. A name that ends in "." or "_" stands for all such keys.
# Iterations, losses and parts are compared step by step, data and given weights by their content.
MAY_CHANGE = (
    "OUTPUT_DIR", "MODEL.DEVICE", "MODEL.WEIGHTS", "MODEL.TEACHER.WEIGHTS", "DATALOADER.NUM_WORKERS",
    "DATALOADER.MAX_SKIPPED_IMAGES",
    "SOLVER.CHECKPOINT_PERIOD", "TEST.EVAL_PERIOD", "TEST.AUG.ENABLED", "VIS_PERIOD", "CUDNN_BENCHMARK",
    "VERSION",
    "MHKD.SCHEDULE", "MHKD.STUDENT_START", "MHKD.STAGE", "MHKD.EVAL", "MHKD.CHOOSE_ON", "MHKD.KEEP_BEST",
    "MHKD.CLASSES", "MHKD.LR_MPP", "MHKD.CUT.", "MHKD.ORDERED_CLASSES", "MHKD.TEACHER_ITERS",
    "MHKD.STUDENT_ITERS", "MHKD.TEACHER_EPOCHS", "MHKD.STUDENT_EPOCHS", *NEVER_READ,
)  # fmt: skip
# The LR factor moves the teacher's crops by less than an LR pixel.
NOT_OF_TEACHER = (
    "MODEL.STUDENT.", "MODEL.BFA.", "MHKD.OUTPUT_SCORE_THRESH", "MHKD.LR_RESTART", "MHKD.LABELED_SHARE",
    "MHKD.TEACHER_LR_FACTOR", "MHKD.UNLABELED", "MHKD.UNLABELED_RATIO", "MHKD.TEMPERATURE", "MHKD.ATTENTION.",
    "INPUT.LR_", "INPUT.SCANNER.",
)  # fmt: skip
# What a description of a step leaves out where it is this.
_USUAL: dict[str, Any] = {
    "labels": True, "unlabeled_ratio": None, "relative_to": "", "student_start": "scratch"
}  # fmt: skip
# A teacher of before it was recorded started from none.
_UNRECORDED = {"MODEL.WEIGHTS": "none"}
Version = tuple[str, int, int]  # path, time of the last change in ns, bytes


def differences(asked: CfgNode, recorded: CfgNode, of_teacher: bool = False) -> list[str]:
    """The settings in which two configs would train differently, "KEY was ..., asked for ...".

    Args:
        of_teacher: compare only what the teacher's own training depends on.
    """
    may_change = MAY_CHANGE + (NOT_OF_TEACHER if of_teacher else ())
    mine, theirs = flat(asked), flat(recorded)
    keys = [k for k in sorted(mine | theirs) if not _is_among(k, may_change)]
    return _named({k: mine.get(k) for k in keys}, {k: theirs.get(k) for k in keys})


def settings_differences(step: Step, asked: CfgNode, recorded: CfgNode, within: bool = False) -> list[str]:
    """The same for one step; its iterations, losses and parts are :func:`plan_differences`.

    Args:
        within: it is half trained: nothing may change, also not what a finished teacher does not depend on.
    """
    of_student = bool(step.stage.student)
    different: list[str] = []
    if of_student and not asked.MHKD.LR_RESTART:  # one course of the rate through all of the student's steps
        iterations = (c.MHKD.STUDENT_ITERS for c in (asked, recorded))
        different = _named(*({"MHKD.STUDENT_ITERS": n} for n in iterations))
    if of_student:  # one built with BFA starts from other random weights, and the next step may want it
        built = (_builds_bfa(c) for c in (asked, recorded))
        different += _named(*({"whether the student was built with BFA": b} for b in built))
    if within:
        return different + differences(asked, recorded)
    network = "student" if of_student else "teacher"
    asked, recorded = (export_cfg(c, network, step.stage.bfa) for c in (asked, recorded))
    return different + differences(asked, recorded, of_teacher=not of_student)


def _builds_bfa(cfg: CfgNode) -> bool | None:
    """None of a schedule that is not there any more."""
    try:
        return get_schedule(cfg.MHKD.SCHEDULE).uses_bfa
    except InputError:
        return None


def plan_differences(asked: dict[str, Any], recorded: dict[str, Any]) -> list[str]:
    """The same of two descriptions of a step, see :meth:`mhkd.schedules.Step.describe`."""
    keys = list(_USUAL | asked)
    return _named({k: (_USUAL | asked)[k] for k in keys}, {k: (_USUAL | recorded).get(k) for k in keys})


def source_differences(asked: dict[str, str], recorded: dict[str, str] | None) -> list[str]:
    """The same of two results of :func:`sources`; what older versions did not record is not compared."""
    recorded = _UNRECORDED | (recorded or {})
    both = [k for k in asked if k in recorded]
    return _named({k: asked[k] for k in both}, {k: recorded[k] for k in both})


def step_differences(step: Step, cfg: CfgNode, folder: Path, conventions: bool = True) -> list[str]:
    """In what the finished step in ``folder`` differs from ``step`` trained with ``cfg``.

    Args:
        conventions: compare :func:`convention_differences`, too.

    Raises:
        InputError: its record cannot be read.
    """
    report = read_json(folder / "stage.json", dict, "move it away to have that step scored again")
    different = plan_differences(step.describe(), report)
    network = "student" if step.stage.student else "teacher"
    exported, checkpoint = folder / network / "config.yaml", folder / "model_final.pth"
    if exported.is_file():
        recorded = load_cfg(exported, allow_base=False)
    elif checkpoint.is_file():
        recorded = parse_cfg(load_file(checkpoint).get("cfg", ""), checkpoint)
    else:
        return [*different, f"{exported} is missing"]
    different += settings_differences(step, cfg, recorded)
    different += source_differences(sources(cfg, step), report.get("sources"))
    return different + (convention_differences(report, [step], cfg) if conventions else [])


def convention_differences(record: Mapping[str, Any], steps: Iterable[Step], cfg: CfgNode) -> list[str]:
    """Whether a training of before the task's conventions would be another one now.

    Args:
        record: what it left, ``stage.json`` or a training checkpoint.
        steps: those that it trained; only what uses annotations differs.

    Returns:
        The difference in words, or nothing.
    """
    if not any(s.stage.labels for s in steps):
        return []
    return get_task(cfg).convention_differences(record, cfg)


def other_settings(path: Path, different: list[str], remedy: str) -> InputError:
    """The error that names the differences, the first of them at least."""
    shown = "; ".join(different[:4]) + (f" and {len(different) - 4} more" if len(different) > 4 else "")
    return InputError(f"{path}: was trained with other settings: {shown}. {remedy}")


def sources(cfg: CfgNode, step: Step | None = None) -> dict[str, str]:
    """What is not in a config but decides weights all the same: the content of the data, of a given teacher,
    and of the weights that one's own starts from.

    Args:
        step: only what this step looks at; the teacher's own knows no unlabelled images.

    Returns:
        JSON-ready; checksums of annotation files, of the names and sizes of images, of the file of weights
        (as long as it is there).
    """
    found = {}
    of_student = step is None or bool(step.stage.student)
    for name in (*cfg.DATASETS.TRAIN, *(cfg.MHKD.UNLABELED if of_student else ())):
        files = annotation_files(name)
        if files:
            found[f"annotations of {name}"] = _checksum(files[0])
        found |= {f"{os.path.basename(other)} of {name}": _checksum(other) for other in files[1:]}
        for view in ("HR", "LR") if of_student else ("HR",):
            found[f"{view} images of {name}"] = _images_checksum(name, view, *map(_version, files))
    if of_student and os.path.isfile(cfg.MODEL.TEACHER.WEIGHTS):
        found["MODEL.TEACHER.WEIGHTS"] = _checksum(cfg.MODEL.TEACHER.WEIGHTS)
    if (step is None or not step.stage.student) and not cfg.MODEL.TEACHER.WEIGHTS:
        found |= _start_weights(cfg.MODEL.WEIGHTS)
    return found


def _start_weights(name: str) -> dict[str, str]:
    if not name:
        return _UNRECORDED
    path = local_file(name)
    return {"MODEL.WEIGHTS": _checksum(str(path))} if path.is_file() else {}


def _named(asked: Mapping[str, Any], recorded: Mapping[str, Any]) -> list[str]:
    return [f"{k} was {recorded[k]}, asked for {asked[k]}" for k in asked if asked[k] != recorded[k]]


def _is_among(key: str, names: Iterable[str]) -> bool:
    return any(key.startswith(n) if n.endswith((".", "_")) else key == n for n in names)


def _version(path: str) -> Version:
    stat = os.stat(path)
    return os.path.abspath(path), stat.st_mtime_ns, stat.st_size


def _checksum(path: str) -> str:
    return _checksum_of_version(_version(path))


@functools.lru_cache(maxsize=256)
def _checksum_of_version(version: Version) -> str:
    return _short(sha256(version[0]))


@functools.lru_cache(maxsize=256)
def _images_checksum(name: str, view: str, *_versions: Version) -> str:
    """Of names and sizes, which are cheap to look at."""
    files = image_files(DatasetCatalog.get(name), view)
    listed = [(os.path.basename(p), os.path.getsize(p) if os.path.exists(p) else None) for p in files]
    return _short(hashlib.sha256(json.dumps(sorted(listed, key=str)).encode()).hexdigest())


def _short(checksum: str) -> str:
    return f"sha256 {checksum[:16]}"
