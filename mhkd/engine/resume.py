"""Where a training in OUTPUT_DIR goes on, and whether it is the one that is asked for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from ..config import parse_cfg
from ..errors import InputError
from ..schedules import Step
from .checkpoint import Damaged, load_file
from .finite import not_finite
from .record import (
    convention_differences,
    other_settings,
    plan_differences,
    settings_differences,
    source_differences,
    sources,
    step_differences,
)

TEACHER_WEIGHTS = "0_teacher/teacher/model_final.pth"  # in OUTPUT_DIR, of a training with its own teacher
_ALWAYS = ("iteration", "seconds", "plan", "stage", "cfg")
_WITHIN = ("optimizer", "scheduler", "scaler")


@dataclass
class Start:
    """The iteration to start from; the checkpoint there, None at the very beginning, and its path.

    ``unscored`` is a step that was trained to its end, but not exported and scored; ``damaged`` are newer
    checkpoints that cannot be used, and why.
    """

    iteration: int = 0
    state: dict[str, Any] | None = None
    path: Path | None = None
    unscored: Step | None = None
    damaged: dict[Path, str] = field(default_factory=dict)

    @property
    def within_step(self) -> bool:
        return self.state is not None and "optimizer" in self.state


def checkpoint_file(cfg: CfgNode) -> Path:
    """Within a step."""
    return Path(cfg.OUTPUT_DIR, "checkpoint.pth")


def previous_file(cfg: CfgNode) -> Path:
    """The one before, which is gone on from where that is damaged."""
    return Path(cfg.OUTPUT_DIR, "checkpoint_previous.pth")


def within_step_files(cfg: CfgNode) -> list[Path]:
    """Those of the two that there are, the newer first."""
    return [path for path in (checkpoint_file(cfg), previous_file(cfg)) if path.is_file()]


def final_file(cfg: CfgNode, step: Step) -> Path:
    """Both networks at a step's end."""
    return Path(cfg.OUTPUT_DIR, step.folder, "model_final.pth")


def done_file(cfg: CfgNode, step: Step) -> Path:
    """Written last: its presence says that the step is finished."""
    return Path(cfg.OUTPUT_DIR, step.folder, "stage.json")


def left_over(folder: Path, steps: list[Step]) -> list[str]:
    """Finished steps in ``folder`` that are none of ``steps``."""
    return sorted({p.parent.name for p in folder.glob("*_*/stage.json")} - {s.folder for s in steps})


def find_start(
    cfg: CfgNode,
    steps: list[Step],
    resume: bool,
    processes: int | None = None,
    until: int | None = None,
    remedy: str = "",
) -> Start:
    """Look at OUTPUT_DIR, writing nothing.

    Args:
        steps: all of the schedule.
        processes: that are going to train; None: not known yet.
        until: the iteration to train to; None: the end.
        remedy: what to do about other settings.

    Raises:
        InputError: it holds a training and ``resume`` is False; or one that was made with other settings,
            data or teacher; or a finished step's weights are gone or damaged; or there is no checkpoint that
            is not.
    """
    out, within = Path(cfg.OUTPUT_DIR), within_step_files(cfg)
    final = [s for s in steps if final_file(cfg, s).is_file()]
    done = [s for s in steps if done_file(cfg, s).is_file()]
    others = set(left_over(out, steps)) - {"0_teacher"}  # nothing rests on one that is not asked for
    if not (within or final or done or others):
        return Start()
    if not resume:
        raise InputError(
            f"{out} holds a training already: add --resume to go on with it, or choose another OUTPUT_DIR"
        )
    remedy = remedy or _remedy(cfg)
    if others:
        raise other_settings(out, [f"it has {', '.join(sorted(others))} of another schedule"], remedy)
    for step in done:
        different = step_differences(step, cfg, out / step.folder, conventions=False)
        if different:
            raise other_settings(out / step.folder, different, remedy)
    if done and not within and done[-1] not in final:
        raise InputError(
            f"{final_file(cfg, done[-1])}: missing, though {done[-1].folder} is finished and the next step "
            f"starts from it; restore it, or move {out / done[-1].folder} away to train that step again"
        )
    state, path, damaged = _newest(cfg, within, final)
    start = Start(state["iteration"], state, path, damaged=damaged)
    for step in final:
        if step not in done and start.iteration == step.end:
            start.unscored = step
    different = _state_differences(cfg, steps, start, state, path, processes)
    if until is None or start.iteration < until:
        begun = [s for s in steps if s.start < start.iteration]
        different += convention_differences(state, begun, cfg)
    if different:
        raise other_settings(path, different, remedy)
    bad = not_finite(state["model"])
    if bad:
        raise InputError(
            f"{path}: its weights are not finite (e.g. {bad[0]}), the training had diverged: move it "
            "away to go on from what was before it, or choose another OUTPUT_DIR and a lower SOLVER.BASE_LR"
        )
    return start


def _newest(
    cfg: CfgNode, within: list[Path], final: list[Step]
) -> tuple[dict[str, Any], Path, dict[Path, str]]:
    """The newest checkpoint that is whole, by its own count of iterations, its path, and those damaged.

    Raises:
        InputError: there is none, or a finished step would have to be trained again.
    """
    ends = [final_file(cfg, step) for step in final]
    found: list[tuple[dict[str, Any], Path]] = []
    damaged: dict[Path, str] = {}
    for path in within:
        try:
            found.append((_load(path, path, ends), path))
            break
        except Damaged as e:
            damaged[path] = str(e)
    for path in ends[-1:]:
        try:
            found.append((_load(path, path.parent, ends[:-1]), path))
        except Damaged as e:
            if not found or found[0][0]["iteration"] <= final[-1].start:
                raise InputError(_without(e, path.parent, ends[:-1])) from e
            damaged[path] = str(e)
    if not found:
        path, reason = next(iter(damaged.items()))
        raise InputError(_without(reason, path, []))
    return *max(found, key=lambda pair: pair[0]["iteration"]), damaged  # of equal ones the step's own


def _load(path: Path, unit: Path, earlier: list[Path]) -> dict[str, Any]:
    """A checkpoint; raises Damaged, or another InputError with what to do, see :func:`_without`."""
    try:
        state = load_file(path)
        needed = (*_ALWAYS, *(_WITHIN if "optimizer" in state else ()))
        lacks = ", ".join(k for k in needed if k not in state)
        if lacks:
            raise InputError(f"{path}: not a training checkpoint of this project: it has no {lacks}")
    except Damaged:
        raise
    except InputError as e:
        raise InputError(_without(e, unit, earlier)) from e
    return state


def _without(reason: object, unit: Path, earlier: list[Path]) -> str:
    """``reason``, and that ``unit`` has to be out of the way to go on from the last of ``earlier``."""
    return (
        f"{reason}; restore it from a copy; without one, move {unit} away: the same command then goes on "
        f"from {earlier[-1] if earlier else 'the beginning'}"
    )


def _state_differences(
    cfg: CfgNode,
    steps: list[Step],
    start: Start,
    state: dict[str, Any],
    path: Path,
    processes: int | None,
) -> list[str]:
    """In what the steps up to the checkpoint, ``state`` at ``path``, differ from those that are asked for."""
    reached = [s for s in steps if s.start < start.iteration]
    trained = state["plan"][: len(reached)]
    if len(trained) != len(reached) or reached[-1].position != state["stage"]:
        return [f"its steps were {', '.join(p['step'] for p in state['plan'])}"]
    for step, found in zip(reached, trained):
        different = plan_differences(step.describe(), found)
        if different:
            return [f"{found['step']}: {different[0]}", *different[1:]]
    if not (start.within_step or start.unscored):
        return []  # its own record was compared
    recorded, step = parse_cfg(state["cfg"], path), reached[-1]
    different = settings_differences(step, cfg, recorded, start.within_step)
    different += source_differences(sources(cfg, step), state.get("sources"))
    if start.within_step and processes and state.get("processes", processes) != processes:
        different.append(f"the number of processes was {state['processes']}, asked for {processes}")
    return different


def _remedy(cfg: CfgNode) -> str:
    teacher = Path(cfg.OUTPUT_DIR, TEACHER_WEIGHTS)
    kept = f" (its teacher can go along: MODEL.TEACHER.WEIGHTS {teacher})" if teacher.is_file() else ""
    return f"Ask for those to go on with it, or use another OUTPUT_DIR{kept}"
