"""The config of one network alone, made of a training's."""

import math

from detectron2.config import CfgNode

from ..errors import InputError
from .shifted import stem_strides

RESNET_FPN = "build_resnet_fpn_backbone"
SHIFTED = "build_shifted_resnet_fpn_backbone"


def teacher_cfg(cfg: CfgNode) -> CfgNode:
    """The config of the teacher alone: a plain ``GeneralizedRCNN`` unless it trains without a student."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.META_ARCHITECTURE = cfg.MODEL.TEACHER.META_ARCHITECTURE
    cfg.MODEL.STUDENT.INPUT = "upsampled"  # if it is shown LR at all
    return cfg


def student_cfg(cfg: CfgNode, bfa: bool = False) -> CfgNode:
    """The config of the student alone: a ``StudentRCNN`` with a ``StudentBackbone``.

    Raises:
        InputError: a native one, whose levels or backbone do not go with the teacher's.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.META_ARCHITECTURE = "StudentRCNN"
    if cfg.MODEL.BACKBONE.NAME != "StudentBackbone":  # else: the config of an exported student
        if cfg.MODEL.STUDENT.INPUT == "native":
            _make_native(cfg)
        cfg.MODEL.STUDENT.BACKBONE = cfg.MODEL.BACKBONE.NAME
        cfg.MODEL.BACKBONE.NAME = "StudentBackbone"
    cfg.MODEL.BFA.ENABLED = bfa
    return cfg


def _make_native(cfg: CfgNode) -> None:
    """From the teacher's keys to those of a student whose levels lie where the teacher's do."""
    model, own = cfg.MODEL, cfg.MODEL.STUDENT
    if model.BACKBONE.NAME != RESNET_FPN:
        raise InputError(
            f"MODEL.STUDENT.INPUT native: is made for MODEL.BACKBONE.NAME {RESNET_FPN}, not for "
            f"{model.BACKBONE.NAME}: choose upsampled"
        )
    model.BACKBONE.NAME = SHIFTED
    resnets = model.RESNETS
    res2 = own.RES2_OUT_CHANNELS or resnets.RES2_OUT_CHANNELS
    resnets.WIDTH_PER_GROUP = max(resnets.WIDTH_PER_GROUP * res2 // resnets.RES2_OUT_CHANNELS, 1)
    resnets.RES2_OUT_CHANNELS = res2
    resnets.STEM_OUT_CHANNELS = own.STEM_OUT_CHANNELS or resnets.STEM_OUT_CHANNELS
    resnets.DEPTH = own.DEPTH or resnets.DEPTH
    model.FPN.OUT_CHANNELS = own.FPN_CHANNELS or model.FPN.OUT_CHANNELS
    model.ROI_BOX_HEAD.FC_DIM = own.FC_DIM or model.ROI_BOX_HEAD.FC_DIM

    finest = round(math.log2(stem_strides(cfg.INPUT.LR_FACTOR)[1]))
    of_teacher = sorted({*model.RPN.IN_FEATURES, *model.ROI_HEADS.IN_FEATURES}, key=_number)
    reached = [name for name in of_teacher if _number(name) >= finest]
    levels = sorted(own.LEVELS or reached, key=_number)
    numbers = [_number(name) for name in levels]
    if not set(levels) <= set(reached) or numbers != [numbers[0] + k for k in range(len(numbers))]:
        raise InputError(
            f"MODEL.STUDENT.LEVELS {levels}: must follow each other and be among {', '.join(reached)}, the "
            f"teacher's levels from a stride of {2**finest} HR pixels on"
        )
    stages = {f"res{k}": finest + k - 2 for k in range(2, own.STAGES + 2)}
    model.FPN.IN_FEATURES = [name for name, number in stages.items() if number in numbers]
    keys = [k for k, name in enumerate(model.RPN.IN_FEATURES) if name in levels]
    for key in ("SIZES", "ASPECT_RATIOS"):
        of_levels = model.ANCHOR_GENERATOR[key]
        if len(of_levels) > 1:  # one is all levels'
            model.ANCHOR_GENERATOR[key] = [of_levels[k] for k in keys]
    for node in (model.RPN, model.ROI_HEADS):
        node.IN_FEATURES = [name for name in node.IN_FEATURES if name in levels]
    if not (model.FPN.IN_FEATURES and model.RPN.IN_FEATURES and model.ROI_HEADS.IN_FEATURES):
        raise InputError(
            f"MODEL.STUDENT.INPUT native: at INPUT.LR_FACTOR {cfg.INPUT.LR_FACTOR} its {own.STAGES} stages "
            f"begin at a stride of {2**finest} HR pixels, and of these levels it has none that both "
            "MODEL.RPN and MODEL.ROI_HEADS look at (IN_FEATURES): choose upsampled, or change "
            "MODEL.STUDENT.LEVELS or STAGES"
        )


def _number(level: str) -> int:
    """Of "p3", whose stride is 2^3, 3."""
    if not (level[:1] == "p" and level[1:].isdigit()):
        raise InputError(f"{level!r} is no level of a feature pyramid: levels are called p2, p3, ...")
    return int(level[1:])
