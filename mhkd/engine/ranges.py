"""What each config key may hold."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from detectron2.config import CfgNode

from ..errors import InputError
from ..files import is_text
from ..slides.views import LARGEST_PX
from .keys import flat, get

NORMS = ("", "BN", "SyncBN", "FrozenBN", "GN", "nnSyncBN", "naiveSyncBN", "naiveSyncBN_N")
BOX_LOSSES = ("smooth_l1", "giou", "diou", "ciou")
MOST = 1_000_000  # of what is kept in memory; more is a slip
WIDEST = 65_536  # channels, pixels of a crop


class Rule(NamedTuple):
    """``allows`` says whether a value is good, ``text`` what is: "KEY value: must be <text>"."""

    allows: Callable[[Any], bool]
    text: str


def number(least: float = -math.inf, most: float = math.inf, text: str = "") -> Rule:
    """A finite number, bounds included."""
    if not text:
        text = f"at least {least:g}" + (f" and at most {most:g}" if most < math.inf else "")
    text = "a finite number" if (least, most) == (-math.inf, math.inf) else f"a number of {text}"
    return Rule(lambda v: is_number(v) and least <= v <= most, text)


def whole(least: int, most: int = 10**9) -> Rule:
    upto = f" and at most {most}" if most < 10**9 else ""
    return Rule(lambda v: _is_whole(v) and least <= v <= most, f"a whole number of at least {least}{upto}")


def one_of(*names: str) -> Rule:
    return Rule(lambda v: v in names, " or ".join(repr(n) for n in names))


def each(rule: Rule, count: int | None = None, levels: int = 1) -> Rule:
    """A list of ``count`` values (any number of them where None), or a list of lists of them."""

    def allows(values: Any) -> bool:
        if not isinstance(values, list | tuple) or (count is not None and len(values) != count):
            return False
        return all(map(allows_one, values))

    allows_one = rule.allows if levels == 1 else each(rule, None, levels - 1).allows
    lists = "a list of lists" if levels > 1 else f"a list of {count}" if count else "a list"
    return Rule(allows, f"{lists}, each {rule.text}")


POSITIVE = Rule(lambda v: is_number(v) and v > 0, "a number above 0")
SHARE = number(0, 1)
SHARE_ABOVE_0 = Rule(lambda v: is_number(v) and 0 < v <= 1, "a number above 0 and at most 1")
NAMES = Rule(
    lambda v: all(isinstance(n, str) and n for n in v) and len(set(v)) == len(v), "names, each of them once"
)
TEXTS = Rule(lambda v: NAMES.allows(v) and all(map(is_text, v)), "names of whole characters, each once")


def _spread(least: float) -> Rule:
    """Of which each image draws one."""
    pair = each(number(least, 10), 2)
    return Rule(
        lambda v: pair.allows(v) and v[0] <= v[1], f"two numbers from {least} to 10, the lesser first"
    )


RULES: tuple[tuple[Rule, tuple[str, ...]], ...] = (
    (whole(0), (
        "MHKD.LR_DECAY_EPOCHS", "SOLVER.REFERENCE_IMS_PER_BATCH",
        "SEED", "SOLVER.CHECKPOINT_PERIOD", "SOLVER.WARMUP_ITERS", "TEST.EVAL_PERIOD", "VIS_PERIOD",
        "MHKD.TEACHER_EPOCHS", "MHKD.STUDENT_EPOCHS", "DATALOADER.MAX_SKIPPED_IMAGES",
    )),
    (whole(1), ("MHKD.TEACHER_ITERS", "MHKD.STUDENT_ITERS", "SOLVER.ACCUMULATE_BATCHES")),
    (whole(0, 1024), ("DATALOADER.NUM_WORKERS",)),
    (whole(0, LARGEST_PX), ("INPUT.MIN_SIZE_TEST", "INPUT.TRAINED_SIZE_PX")),
    (whole(1, MOST), (
        "SOLVER.IMS_PER_BATCH", "TEST.DETECTIONS_PER_IMAGE", "INPUT.MAX_SIZE_TEST",
        "MODEL.RPN.BATCH_SIZE_PER_IMAGE", "MODEL.RPN.PRE_NMS_TOPK_TRAIN", "MODEL.RPN.PRE_NMS_TOPK_TEST",
        "MODEL.RPN.POST_NMS_TOPK_TRAIN", "MODEL.RPN.POST_NMS_TOPK_TEST",
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "MODEL.RETINANET.TOPK_CANDIDATES_TEST",
    )),
    (whole(0, 1024), (
        "MODEL.BFA.NUM_BLOCKS", "MODEL.ROI_BOX_HEAD.NUM_FC", "MODEL.ROI_BOX_HEAD.NUM_CONV",
        "MODEL.ROI_MASK_HEAD.NUM_CONV", "MODEL.RETINANET.NUM_CONVS", "MODEL.DETR.DENOISING_QUERIES",
    )),
    (whole(1, WIDEST), (
        "MODEL.BFA.CHANNELS", "MODEL.FPN.OUT_CHANNELS", "MODEL.RESNETS.NUM_GROUPS",
        "MODEL.RESNETS.WIDTH_PER_GROUP", "MODEL.RESNETS.RES2_OUT_CHANNELS", "MODEL.RESNETS.STEM_OUT_CHANNELS",
        "MODEL.ROI_BOX_HEAD.FC_DIM", "MODEL.ROI_BOX_HEAD.CONV_DIM", "MODEL.ROI_HEADS.NUM_CLASSES",
        "MODEL.DETR.HIDDEN_DIM", "MODEL.DETR.NUM_QUERIES", "MODEL.DETR.FEEDFORWARD_DIM",
    )),
    (whole(0, WIDEST), (
        "MODEL.STUDENT.STEM_OUT_CHANNELS", "MODEL.STUDENT.RES2_OUT_CHANNELS", "MODEL.STUDENT.FPN_CHANNELS",
        "MODEL.STUDENT.FC_DIM",
    )),
    (whole(1, 4), ("MODEL.STUDENT.STAGES",)),
    (whole(0, 64), (
        "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO", "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO",
    )),
    (whole(1, 64), (
        "INPUT.LR_FACTOR", "MODEL.BFA.SCALE", "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION",
        "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION", "MODEL.DETR.NUM_HEADS", "MODEL.DETR.ENCODER_LAYERS",
        "MODEL.DETR.DECODER_LAYERS",
    )),
    (whole(0, 5), ("MODEL.BACKBONE.FREEZE_AT",)),
    (number(0), (
        "SOLVER.BASE_LR", "SOLVER.WEIGHT_DECAY", "SOLVER.WEIGHT_DECAY_NORM", "SOLVER.BIAS_LR_FACTOR",
        "MODEL.RPN.LOSS_WEIGHT", "MODEL.RPN.BBOX_REG_LOSS_WEIGHT", "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_WEIGHT",
        "MODEL.RPN.SMOOTH_L1_BETA", "MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA", "MHKD.LR_MPP",
        "MHKD.TEACHER_LR_FACTOR",
    )),
    (Rule(lambda v: v is None or number(0).allows(v), "None or a number of at least 0"),
     ("SOLVER.WEIGHT_DECAY_BIAS",)),
    (Rule(lambda v: is_number(v) and 0 <= v < 1, "a number of at least 0 and below 1"),
     ("SOLVER.MOMENTUM", "SOLVER.EMA_DECAY", "MODEL.DETR.DROPOUT")),
    (POSITIVE, ("SOLVER.CLIP_GRADIENTS.CLIP_VALUE", "MHKD.TEMPERATURE")),
    (Rule(lambda v: v > 0, "a number above 0"), ("SOLVER.CLIP_GRADIENTS.NORM_TYPE",)),  # inf is a norm too
    (SHARE, (
        "INPUT.FLIP_PROB", "INPUT.SCANNER.PROB", "SOLVER.WARMUP_FACTOR",
        "MHKD.OUTPUT_SCORE_THRESH", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "MODEL.ROI_HEADS.NMS_THRESH_TEST",
        "MODEL.ROI_HEADS.POSITIVE_FRACTION", "MODEL.RPN.POSITIVE_FRACTION", "MODEL.RPN.NMS_THRESH",
        "MODEL.RETINANET.SCORE_THRESH_TEST", "MODEL.RETINANET.NMS_THRESH_TEST", "MODEL.RETINANET.PRIOR_PROB",
    )),
    (SHARE_ABOVE_0, ("SOLVER.GAMMA",)),
    (number(0, 1000), ("INPUT.SCANNER.BLUR_PX",)),
    (number(0, 255), ("INPUT.SCANNER.NOISE", "INPUT.AUG.BRIGHTNESS")),
    (whole(0, 100), ("INPUT.SCANNER.JPEG_QUALITY", "INPUT.AUG.JPEG_QUALITY")),
    (_spread(0.1), ("INPUT.AUG.SCALE",)),
    (_spread(0), ("INPUT.AUG.STAIN", "INPUT.AUG.SATURATION", "INPUT.AUG.CONTRAST")),
    (number(0, 180), ("INPUT.AUG.HUE",)),
    (SHARE, ("INPUT.AUG.CHANNEL",)),
    (number(0, 100), ("INPUT.AUG.BLUR_PX",)),
    (each(SHARE_ABOVE_0), ("MHKD.LR_STEPS",)),
    (each(SHARE), (
        "MODEL.RPN.IOU_THRESHOLDS", "MODEL.ROI_HEADS.IOU_THRESHOLDS", "MODEL.ROI_BOX_CASCADE_HEAD.IOUS",
    )),
    (each(number(), 3), ("MODEL.PIXEL_MEAN",)),
    (each(POSITIVE, 3), ("MODEL.PIXEL_STD",)),
    (each(POSITIVE, levels=2), ("MODEL.ANCHOR_GENERATOR.SIZES", "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS")),
    (NAMES, (
        "DATASETS.TRAIN", "DATASETS.TEST", "MHKD.UNLABELED", "MODEL.BFA.LEVELS", "MODEL.STUDENT.LEVELS",
    )),
    (TEXTS, ("MHKD.CLASSES",)),
    (Rule(lambda v: bool(v.strip()), "a folder's name"), ("OUTPUT_DIR",)),
    (Rule(lambda v: isinstance(v, str), "a dataset's name, or ''"), ("MHKD.CHOOSE_ON",)),
    (one_of("RGB", "BGR"), ("INPUT.FORMAT",)),
    (one_of("area", "lanczos"), ("INPUT.LR_FILTER",)),
    (one_of("upsampled", "native"), ("MODEL.STUDENT.INPUT",)),
    (one_of("config", "train"), ("INPUT.PIXEL_STATISTICS",)),
    (one_of("student", "teacher", "direct"), ("MHKD.EVAL",)),
    (one_of("target", "every"), ("MHKD.ATTENTION.CLASSES",)),
    (one_of("SGD", "Adam", "AdamW"), ("SOLVER.OPTIMIZER",)),
    (one_of("WarmupMultiStepLR", "WarmupCosineLR"), ("SOLVER.LR_SCHEDULER_NAME",)),
    (one_of("linear", "constant"), ("SOLVER.WARMUP_METHOD",)),
    (one_of("bfloat16", "float16"), ("SOLVER.AMP.DTYPE",)),
    (one_of("value", "norm", "full_model"), ("SOLVER.CLIP_GRADIENTS.CLIP_TYPE",)),
    (one_of(*NORMS), (
        "MODEL.RESNETS.NORM", "MODEL.FPN.NORM", "MODEL.BFA.NORM", "MODEL.ROI_BOX_HEAD.NORM",
        "MODEL.ROI_MASK_HEAD.NORM",
    )),
    (one_of("sum", "avg"), ("MODEL.FPN.FUSE_TYPE",)),
    (one_of(*BOX_LOSSES), ("MODEL.RPN.BBOX_REG_LOSS_TYPE", "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE")),
    (each(whole(1, 4), 5), ("MODEL.RESNETS.STRIDES",)),
    (Rule(lambda v: not v or each(whole(1, 4), 5).allows(v), "[] or a list of 5 whole numbers of 1 to 4"),
     ("MODEL.STUDENT.STRIDES",)),
    (Rule(lambda v: v in (18, 34, 50, 101, 152), "18, 34, 50, 101 or 152"), ("MODEL.RESNETS.DEPTH",)),
    (Rule(lambda v: v in (0, 18, 34, 50, 101, 152), "0, 18, 34, 50, 101 or 152"), ("MODEL.STUDENT.DEPTH",)),
)  # fmt: skip


def check_ranges(cfg: CfgNode) -> None:
    """Every key on its own; of an exported network too, whose schedule may be one of long ago.

    Raises:
        InputError: a key holds what cannot be meant; it names the key and what it may hold.
    """
    for key, value in flat(cfg).items():
        if value is None and key != "SOLVER.WEIGHT_DECAY_BIAS":
            raise InputError(f"{key} None: must have a value")
    for rule, keys in RULES:
        for key in keys:
            value = get(cfg, key)
            try:
                good = rule.allows(value)
            except (TypeError, AttributeError):  # of another type than it should be
                good = False
            if not good:
                raise InputError(f"{key} {shown(value)}: must be {rule.text}")


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def shown(value: Any) -> str:
    try:
        text = repr(list(value) if isinstance(value, Iterable) and not isinstance(value, str) else value)
    except ValueError:  # of a number with thousands of digits
        return "of thousands of digits"
    return text if len(text) <= 200 else text[:200] + " ..."
