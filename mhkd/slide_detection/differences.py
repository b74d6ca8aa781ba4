"""Whether the slides of one folder of results were all made the same way."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .finished import FinishedSlide


def differences(finished: Iterable[FinishedSlide]) -> list[str]:
    """How slides of one folder were made differently, so that they are not to be mixed.

    Returns:
        One line a setting that differs, with its values and the slides that have them.
    """
    lines = []
    for what, value in _SETTINGS.items():
        slides: dict[Any, list[str]] = {}
        for one in finished:
            slides.setdefault(value(one), []).append(one.name)
        if len(slides) > 1:
            said = "; ".join(f"{_text(v)} ({_some(names)})" for v, names in slides.items())
            lines.append(f"the slides were not all made with the same {what}: {said}")
    return lines


def _of(*keys: str) -> Callable[[FinishedSlide], Any]:
    """A function: what run.json has under these keys, one within the other; None where it has not."""

    def value(one: FinishedSlide) -> Any:
        found: Any = one.run
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, (str, int, float, type(None))) else repr(found)

    return value


_SETTINGS: dict[str, Callable[[FinishedSlide], Any]] = {
    "student": lambda one: one.student,
    "student that grades": _of("grade", "checksum"),
    "score threshold": lambda one: one.score_threshold,
    "lowest score kept": lambda one: one.keep_from_score,
    "overlap (um)": _of("parameters", "overlap_um"),
    "tile size (LR px)": _of("student", "tile_px"),
    "resolution of the student (um per LR px)": _of("student", "lr_mpp"),
    "average over flips": lambda one: bool(_of("student", "flips")(one)),
    "quality check (--qc)": lambda one: bool(_of("parameters", "qc")(one)),
    "choice of tissue only": _of("parameters", "tissue_only"),
}


def _text(value: Any) -> str:
    return "not recorded" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 4 else f"{len(names)} slides, {names[0]} among them"
