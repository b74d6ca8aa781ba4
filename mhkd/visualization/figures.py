"""matplotlib's figures as files."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from ..files import replacing


@contextlib.contextmanager
def without_formulas() -> Iterator[None]:
    """Texts that are made within are drawn as they are: names may have ``$``."""
    with rc_context({"text.parse_math": False}):
        yield


def draw_title(figure: Figure, title: str, size: float = 12) -> None:
    """Over the whole width, in as many lines as it takes."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=size, wrap=True)


@contextlib.contextmanager
def writing_figure(path: Path, size_inch: tuple[float, float]) -> Iterator[Figure]:
    """A figure to draw on, without pyplot; the PNG is written at the end."""
    with without_formulas():
        figure = Figure(size_inch, layout="constrained", dpi=130)
        yield figure
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png")
