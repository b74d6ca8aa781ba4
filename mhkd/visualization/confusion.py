"""The confusion matrix as a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .figures import draw_title, writing_figure

INCH_PER_CLASS = 0.9


def plot_confusion(matrix: np.ndarray, class_names: Sequence[str], path: Path, title: str = "") -> Path:
    """Rows are what images are, columns what they are taken for; a cell has their number and its share of the
    row, which its colour shows.

    Args:
        matrix: numbers of images, shape (C, C), see :func:`mhkd.evaluation.class_scores.confusion`.
        class_names: of rows and columns.
        path: the PNG.
        title: above it.
    """
    matrix = np.asarray(matrix)
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    side = 2.2 + INCH_PER_CLASS * len(class_names)
    with writing_figure(path, (side + 0.6, side)) as figure:
        axes = figure.add_subplot()
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(matrix):
            color = "white" if share[row, column] > 0.5 else "black"
            text = f"{count}\n{100 * share[row, column]:.0f} %"
            axes.text(column, row, text, ha="center", va="center", color=color)
        place = np.arange(len(class_names))
        axes.set_xticks(place, class_names, rotation=30, ha="right")
        axes.set_yticks(place, class_names)
        axes.set_xlabel("taken for")
        axes.set_ylabel("is")
        draw_title(figure, title, size=10)
    return path
