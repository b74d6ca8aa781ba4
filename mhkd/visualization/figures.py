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


@contextlib.contextmanager
def writing_figure(path: Path, size_inch: tuple[float, float]) -> Iterator[Figure]:
    """A figure to draw on, without pyplot; the PNG is written at the end."""
    with without_formulas():
        figure = Figure(size_inch, layout="constrained", dpi=130)
        yield figure
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png")
