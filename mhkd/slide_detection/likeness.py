"""Whether a slide is like what the student was trained on, so that a wrong stain gives no quiet nonsense."""

import logging

from ..slides.colour import colour_of, evenly_spaced, median_colour
from ..slides.slide import Slide
from .grid import Grid
from .search import read_tile
from .student import Student

logger = logging.getLogger(__name__)
TILES = 32  # that are looked at


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
    remark = (
        "its colour is far from that of the student's training data, so what is found may be wrong: "
        f"{'; '.join(far)}"
    )
    logger.warning(f"{slide.path}: {remark}")
    return [remark]
