"""Whether a slide is like what the student was trained on, so that a wrong stain gives no quiet nonsense."""

import logging

import numpy as np

from ..slides.colour import colour_of, evenly_spaced, median_colour
from ..slides.slide import Slide
from ..training_data import UNSURE
from .grid import Grid
from .search import read_tile
from .student import Student

logger = logging.getLogger(__name__)
TILES = 32  # that are looked at
_COLOUR = "its colour is far from that of the student's training data, so what is found may be wrong: "
_SCORES = "the student is far less sure than of its validation images, so what is found may be wrong: "


def unlike_training(slide: Slide, grid: Grid, student: Student) -> list[str]:
    """What is to be said of the slide's colour, at most one line, which is logged too.

    Args:
        slide: slide.
        grid: tiles over its tissue; of many, 32 are measured, and a measure's median is the slide's.
        student: who is to search it; one that records nothing of its training data says nothing.
    """
    if student.training is None or not len(grid.corners):
        return []
    chosen = evenly_spaced(len(grid.corners), TILES)
    colours = [colour_of(read_tile(slide, grid, student, k)) for k in chosen]
    stained = [colour for colour in colours if colour]
    if not stained:
        far = ["hardly a pixel is stained"]
    else:
        far = student.training.far_in_colour(median_colour(stained))
    if not far:
        return []
    return _said(slide, _COLOUR + "; ".join(far))


def unlike_scores(slide: Slide, scores: np.ndarray, keep_from_score: float, student: Student) -> list[str]:
    """What is to be said of the scores of all that is kept, at most one line, which is logged too.

    Args:
        slide: slide.
        scores: of what was found, one an object.
        keep_from_score: the lowest that is kept; above 0.2 nothing can be said.
        student: who found it.
    """
    if student.training is None or keep_from_score > UNSURE[0]:
        return []
    far = student.training.far_in_scores(scores)
    return _said(slide, _SCORES + far) if far else []


def is_likeness(remark: str) -> bool:
    """Whether a slide's remark is one of these."""
    return remark.startswith((_COLOUR, _SCORES))


def _said(slide: Slide, remark: str) -> list[str]:
    logger.warning(f"{slide.path}: {remark}")
    return [remark]
