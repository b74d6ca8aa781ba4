"""A training that has diverged says so, and its checkpoint does not replace a good one."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import nn

from ..errors import InputError
from ..files import write_json
from ..schedules import Step
from .resume import TEACHER_WEIGHTS, final_file, within_step_files

EXPLODED = 1000  # times the losses of a step's first iteration
_NAMED = 4  # images that the error names


class Diverged(InputError):
    """Losses, gradients or weights are no longer finite."""


def replay_file(cfg: CfgNode, suffix: str) -> Path:
    """``OUTPUT_DIR/diverged<suffix>``, of processes but the first ``.rank1`` and so on, as of the log."""
    rank = comm.get_rank()
    return Path(cfg.OUTPUT_DIR, f"diverged{suffix}" + (f".rank{rank}" if rank else ""))


def diverged(
    cfg: CfgNode,
    steps: Sequence[Step],
    step: Step,
    iteration: int,
    what: str,
    losses: Mapping[str, float],
    images: Sequence[tuple[int, str]],
) -> Diverged:
    """The error that says what is no longer finite, and what to do. ``diverged.json`` keeps it for a replay.

    Args:
        steps: all of the schedule, of which ``step`` diverged.
        losses: the last that there were.
        images: draw and file name of those of the iteration.
    """
    files = [*within_step_files(cfg), *(final_file(cfg, s) for s in reversed(steps))]
    kept = next((f for f in files if f.is_file()), None)
    teacher = Path(cfg.OUTPUT_DIR, TEACHER_WEIGHTS)
    with_teacher = bool(step.stage.student) and teacher.is_file()
    record, state = replay_file(cfg, ".json"), replay_file(cfg, ".pth")
    content = {
        "step": step.folder,
        "iteration": iteration,
        "not_finite": what,
        "losses": {k: v if math.isfinite(v) else str(v) for k, v in losses.items()},
        "seed": cfg.SEED,
        "images": [{"draw": draw, "file_name": name} for draw, name in images],
        "state": state.name if state.is_file() else None,
        "checkpoint": str(kept) if kept else None,
    }
    write_json(content, record)
    shown = ", ".join(name for _, name in images[:_NAMED])
    shown += f" and {len(images) - _NAMED} more" if images[_NAMED:] else ""
    return Diverged(
        f"step {step.folder} diverged at iteration {iteration}: {what} not finite; losses: "
        f"{_named(losses) or 'none yet'}; images: {shown or 'none yet'} (see {record}). "
        f"Lower SOLVER.BASE_LR ({cfg.SOLVER.BASE_LR:g}) or "
        + _clipping(cfg)
        + (", in another OUTPUT_DIR" if kept else "")
        + (f" with MODEL.TEACHER.WEIGHTS {teacher}" if with_teacher else "")
        + (f"; {kept} is sound, and --resume without changes goes on from it" if kept else "")
    )


def _named(losses: Mapping[str, float]) -> str:
    """The losses that are not finite first, "loss_cls nan, loss_box_reg inf, ..."."""
    ordered = sorted(losses.items(), key=lambda item: math.isfinite(item[1]))
    return ", ".join(f"{name} {value:.4g}" for name, value in ordered)


@torch.no_grad()
def loss_with(weights_of: nn.Module, forward: Callable[[], Mapping[str, torch.Tensor]]) -> float:
    """The sum of the losses that ``forward`` gives with the present weights, infinity where it raises.

    Leaves no trace in ``weights_of``'s buffers or in the metrics.
    """
    before = {name: buffer.clone() for name, buffer in weights_of.named_buffers()}
    try:
        with EventStorage():
            total = float(sum(forward().values()))
    except Exception:  # as in training, see Diverged
        total = math.inf
    for name, buffer in weights_of.named_buffers():
        buffer.copy_(before[name])
    return total if math.isfinite(total) else math.inf


def _clipping(cfg: CfgNode) -> str:
    clip = cfg.SOLVER.CLIP_GRADIENTS
    if not clip.ENABLED:
        return "set SOLVER.CLIP_GRADIENTS.ENABLED True"
    return f"SOLVER.CLIP_GRADIENTS.CLIP_VALUE ({clip.CLIP_VALUE:g})"
