"""Whether config keys hold what they may and go together, before anything is trained or written."""

from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY

from ..data.semi_supervised import check_label_settings
from ..errors import InputError
from ..schedules import SCHEDULES, Schedule, Step, check_stage, get_schedule, plan_steps
from ..tasks import get_task
from .optimizer import with_ratio
from .ranges import Rule, check_ranges, each, is_number, shown


def check_settings(cfg: CfgNode, training: bool = True, processes: int = 1) -> None:
    """Every key is within its range, and they go together; of the device see :mod:`mhkd.engine.devices`.

    Args:
        training: False for a config with which trained weights are only used.
        processes: that a batch is split over.

    Raises:
        InputError: a key holds what cannot be meant; it names the key and what it may hold.
    """
    check_ranges(cfg)
    check_label_settings(cfg)
    _check_crop(cfg)
    schedule = get_schedule(cfg.MHKD.SCHEDULE, cfg.MHKD.STUDENT_START)
    _check_task(cfg, schedule)
    check_stage(schedule, cfg.MHKD.STAGE)
    if training:
        for step in steps_of(cfg):
            check_label_settings(with_ratio(cfg, step.stage))
        _check_trains(cfg, processes)
        _check_start(cfg, schedule)
        get_task(cfg).check_networks(cfg, schedule)


def steps_of(cfg: CfgNode) -> list[Step]:
    """What a config trains one after another: the teacher, unless it is given, and its schedule's steps."""
    schedule = get_schedule(cfg.MHKD.SCHEDULE, cfg.MHKD.STUDENT_START)
    teacher_iters = 0 if cfg.MODEL.TEACHER.WEIGHTS else cfg.MHKD.TEACHER_ITERS
    return plan_steps(schedule, teacher_iters, cfg.MHKD.STUDENT_ITERS, get_task(cfg).teacher_stage)


def of_training(cfg: CfgNode) -> bool:
    """Whether a config trains networks, and is not of one alone, as it is exported."""
    name = cfg.MODEL.META_ARCHITECTURE
    return name in META_ARCH_REGISTRY and hasattr(META_ARCH_REGISTRY.get(name), "apply_stage")


def _check_start(cfg: CfgNode, schedule: Schedule) -> None:
    """Nothing that is named to start from stays unused."""
    if cfg.MODEL.WEIGHTS and not schedule.uses_teacher:
        raise InputError(
            f"MODEL.WEIGHTS {cfg.MODEL.WEIGHTS}: starts the teacher, and schedule {schedule.name} has none: "
            "set MHKD.STUDENT_START teacher, or leave it out"
        )


def _check_task(cfg: CfgNode, schedule: Schedule) -> None:
    task, name = get_task(cfg), cfg.MHKD.TASK
    if schedule.task not in ("", name):
        own = [s.name for s in SCHEDULES.values() if s.task == name]
        raise InputError(
            f"MHKD.SCHEDULE {cfg.MHKD.SCHEDULE} is of MHKD.TASK {schedule.task}, not {name}: choose one of "
            f"{', '.join(own)}, or a .yaml file"
        )
    task.check_schedule(schedule)


def _check_trains(cfg: CfgNode, processes: int) -> None:
    batch = cfg.SOLVER.IMS_PER_BATCH
    if cfg.MHKD.KEEP_BEST and not (cfg.MHKD.CHOOSE_ON and cfg.TEST.EVAL_PERIOD):
        raise InputError(
            "MHKD.KEEP_BEST True: needs a split to choose on, MHKD.CHOOSE_ON, and iterations between scores, "
            "TEST.EVAL_PERIOD"
        )
    if cfg.MHKD.LR_DECAY_EPOCHS and cfg.SOLVER.LR_SCHEDULER_NAME == "WarmupCosineLR":
        raise InputError("MHKD.LR_DECAY_EPOCHS: a cosine has no decays: set it to 0, or WarmupMultiStepLR")
    if batch % processes:
        raise InputError(f"SOLVER.IMS_PER_BATCH {batch} must be a multiple of {processes} processes")
    name = cfg.MODEL.META_ARCHITECTURE
    pairs = {n: of for n, of in META_ARCH_REGISTRY if hasattr(of, "apply_stage")}
    trains = [n for n, of in pairs.items() if getattr(of, "task", "") in ("", cfg.MHKD.TASK)]
    if name not in trains:
        what = f"trains for MHKD.TASK {pairs[name].task}" if name in pairs else "trains nothing"
        raise InputError(
            f"MODEL.META_ARCHITECTURE {name!r}: {what}: for MHKD.TASK {cfg.MHKD.TASK} choose one of "
            f"{', '.join(trains)}; the config of an exported network is for --eval-only"
        )


def _check_crop(cfg: CfgNode) -> None:
    size, factor = cfg.INPUT.CROP.SIZE, cfg.INPUT.LR_FACTOR
    of_pixels = each(Rule(lambda s: is_number(s) and s >= 1 and s % factor == 0, ""), 2)
    if cfg.INPUT.CROP.ENABLED and not of_pixels.allows(size):
        raise InputError(
            f"INPUT.CROP.SIZE {shown(size)} must be multiples of INPUT.LR_FACTOR {factor}: height and width "
            "of the crop in HR pixels"
        )
