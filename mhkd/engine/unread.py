"""Keys of Detectron2 that nothing here reads: setting one would change nothing, so it is refused."""

import logging
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from detectron2.config import CfgNode, get_cfg
from detectron2.utils import comm

from ..config import add_mhkd_config, load_cfg
from ..errors import InputError
from ..tasks import get_task
from ..yaml_files import one_line, read_config
from .keys import flat, get
from .settings import of_training

logger = logging.getLogger(__name__)

# Key, or the beginning of several -> what to do instead.
NEVER_READ = {
    "SOLVER.MAX_ITER": "set MHKD.TEACHER_ITERS and MHKD.STUDENT_ITERS",
    "SOLVER.STEPS": "set MHKD.LR_STEPS, shares of the iterations",
    "SOLVER.REFERENCE_WORLD_SIZE": "set SOLVER.IMS_PER_BATCH; for the rate, SOLVER.REFERENCE_IMS_PER_BATCH",
    "INPUT.RANDOM_FLIP": "set INPUT.FLIP_PROB",
    "INPUT.MIN_SIZE_TRAIN": "images are used at their own size; set INPUT.CROP",
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": "images are used at their own size; set INPUT.CROP",
    "INPUT.MAX_SIZE_TRAIN": "images are used at their own size; set INPUT.CROP",
    "INPUT.CROP.TYPE": "a crop is always absolute: set INPUT.CROP.SIZE in HR pixels",
    "INPUT.MASK_FORMAT": "outlines are polygons or masks, as they are annotated",
    "DATALOADER.SAMPLER_TRAIN": "images are drawn in shuffled epochs",
    "DATALOADER.REPEAT_THRESHOLD": "images are drawn in shuffled epochs",
    "DATALOADER.ASPECT_RATIO_GROUPING": "images are drawn in shuffled epochs",
    "DATASETS.PROPOSAL_FILES_": "proposals are the detector's own",
    "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_": "proposals are the detector's own",
    "MODEL.LOAD_PROPOSALS": "proposals are the detector's own",
    "MODEL.KEYPOINT_ON": "boxes are learned, keypoints are not",
    "MODEL.ROI_KEYPOINT_HEAD.": "boxes are learned, keypoints are not",
    "MODEL.SEM_SEG_HEAD.": "boxes are learned, segmentations are not",
    "MODEL.PANOPTIC_FPN.": "boxes are learned, segmentations are not",
    "MODEL.ANCHOR_GENERATOR.ANGLES": "boxes are not rotated",
    "TEST.AUG.MIN_SIZES": "images are scored at their own size",
    "TEST.AUG.MAX_SIZE": "images are scored at their own size",
    "TEST.AUG.FLIP": "TEST.AUG.ENABLED is about flips alone",
    "TEST.EXPECTED_RESULTS": "compare the scores in stage.json",
    "TEST.KEYPOINT_OKS_SIGMAS": "boxes are learned, keypoints are not",
    "TEST.PRECISE_BN.": "a norm's statistics stay as they were learned; set MODEL.RESNETS.NORM",
    "GLOBAL.HACK": "nothing takes its place",
}
# Where weights are only scored, these are read, or are the record of the training.
NOT_IN_TRAINING = {
    "MODEL.BFA.ENABLED": "the schedule decides: set MHKD.SCHEDULE",
    "INPUT.TRAINED_SIZE_PX": "it is taken from INPUT.MIN_SIZE_TEST",
    "MHKD.LR_MPP": "it is taken from the dataset: write mpp into its images",
}
# What is done anyway; earlier configs say so, or that of an exported classifier (images keep their size).
TRUE_ANYWAY = {
    "INPUT.CROP.TYPE": "absolute", "DATALOADER.ASPECT_RATIO_GROUPING": False, "INPUT.MIN_SIZE_TEST": 0,
}  # fmt: skip


def load_run_cfg(path: str | os.PathLike, options: Sequence = (), training: bool = True) -> CfgNode:
    """The config of a run: a file with the overrides KEY VALUE ... over it, and no key set that is not read.

    Raises:
        InputError: no such file, key or type of value; or see :func:`settle_unread`.
    """
    own, _ = read_config(path)
    cfg = load_cfg(path)
    beside = Path(path).parent / cfg.MODEL.WEIGHTS
    if not of_training(cfg):
        if beside.is_file():  # an exported network's config has their bare name
            cfg.MODEL.WEIGHTS = str(beside.absolute())
    elif not training:  # what its teacher started from; what is scored was trained, or is named
        cfg.MODEL.WEIGHTS = ""
    merge_options(cfg, options, path)
    settle_unread(cfg, [*flat(own), *options[::2]], path, training)
    return cfg


def merge_options(cfg: CfgNode, options: Sequence, source: str | os.PathLike) -> None:
    """``cfg.merge_from_list`` whose errors are one line.

    Args:
        source: what ``cfg`` is of, for error messages.
    """
    option = next((str(o) for o in options if str(o).startswith("--")), None)
    if option is not None:  # an odd one would be a length, two a key, one after OUTPUT_DIR a folder
        raise InputError(f"{option} stands behind KEY VALUE: options come before them")
    try:
        cfg.merge_from_list(_with_floats(cfg, options))
    except (LookupError, ValueError, AssertionError, TypeError, AttributeError, RecursionError) as e:
        raise InputError(f"{source} {' '.join(map(str, options))}: {one_line(e)}") from e


def _with_floats(cfg: CfgNode, options: Sequence) -> list:
    """KEY 2 as KEY 2.0 where the key's value is a float."""
    defaults, found = flat(cfg), list(options)
    for k, (key, value) in enumerate(zip(options[::2], options[1::2])):
        if type(defaults.get(key)) is float and re.fullmatch(r"[+-]?[0-9]{1,15}", str(value)):
            found[2 * k + 1] = float(value)
    return found


def settle_unread(
    cfg: CfgNode, by_user: Iterable[str], source: str | os.PathLike, training: bool = True
) -> None:
    """Give the keys that nothing reads their defaults, in place.

    One that is among ``by_user`` and has another value is an error, since its user expects something of it;
    of the others, which a ``_BASE_`` brings, one warning names all.

    Args:
        by_user: keys that a user's own file or overrides set.
        source: what ``cfg`` is of, for messages.
    """
    default = get_cfg()
    add_mhkd_config(default)
    values, defaults, by_user, inherited = flat(cfg), flat(default), set(by_user), []
    for key, instead in unread_keys(cfg, training).items():
        if values[key] == defaults[key]:
            continue
        if values[key] != TRUE_ANYWAY.get(key):
            if key in by_user:
                raise InputError(f"{key} {values[key]} ({source}): nothing reads it, so remove it: {instead}")
            inherited.append(key)
        parents, _, name = key.rpartition(".")
        (get(cfg, parents) if parents else cfg)[name] = get(default, key)
    if inherited and comm.is_main_process():
        logger.warning(f"{source}: its _BASE_ sets keys that nothing reads: {', '.join(inherited)}")


def unread_keys(cfg: CfgNode, training: bool = True) -> dict[str, str]:
    """The keys that nothing reads in a run of ``cfg``, and what to do instead of setting them."""
    unread = {**NEVER_READ, **get_task(cfg).never_read(cfg, training)}
    if training:
        unread |= NOT_IN_TRAINING
    starts = tuple(sorted(unread, key=len, reverse=True))
    found = {}
    for key in flat(cfg):
        start = next((s for s in starts if key == s or (s[-1] in "._" and key.startswith(s))), None)
        if start:
            found[key] = unread[start]
    return found
