"""How far a tile is off, and whether it is to be used."""

from typing import Any

import numpy as np

from ..slides.slide import Slide
from .align import Aligned
from .patches import on_slide

MIN_FOUND = 0.5  # share of a tile's held-out squares
# Why a tile is left out.
UNKNOWN, BEYOND, NOT_THERE = "cannot be checked", "error above the limit", "not whole on the HR slide"


def check_tile(
    hr: Slide, lr: Slide, tile: dict[str, Any], side_px: int, aligned: Aligned, limit_um: float
) -> dict[str, Any]:
    """Look at the squares that a tile touches, or that are beside these if none of them was held out.

    Args:
        hr, lr, aligned: the scans, and how they lie to each other.
        tile: ``x_px`` and ``y_px``, LR base pixels.
        side_px: LR base pixels.
        limit_um: greatest error.

    Returns:
        ``x_px``, ``y_px``, ``file_name`` (empty), ``error_um`` (root mean square of the squares that were
        held out; None: none was found), ``squares`` (their number) and ``left_out``: why, or "".
    """
    x, y = round(tile["x_px"]), round(tile["y_px"])
    cell = np.array(aligned.lattice.cell_px)
    first = np.maximum(np.array([x, y]) // cell, 0).astype(int)
    last = np.ceil(np.array([x + side_px, y + side_px]) / cell).astype(int)
    near = slice(first[1], last[1]), slice(first[0], last[0])
    is_tissue = aligned.is_tissue[near]
    if not (is_tissue & aligned.held_out[near]).any():  # a small tile: those beside it
        near = slice(max(first[1] - 1, 0), last[1] + 1), slice(max(first[0] - 1, 0), last[0] + 1)
    error_px, wanted = aligned.error_px[near], aligned.is_tissue[near] & aligned.held_out[near]
    found = wanted & ~np.isnan(error_px)
    error_um = None
    if found.any():
        error_um = round(float(np.sqrt(np.mean(error_px[found] ** 2))) * lr.mpp, 3)
    corners = np.argwhere(is_tissue)[:, None, ::-1] + np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) + first
    corners = np.clip(corners.reshape(-1, 2) * cell, (x, y), (x + side_px, y + side_px))
    if not on_slide(hr, aligned.alignment, corners).all():
        left_out = NOT_THERE
    elif error_um is None or found.sum() < MIN_FOUND * wanted.sum():
        left_out = UNKNOWN
    else:
        left_out = BEYOND if error_um > limit_um else ""
    place = {"x_px": x, "y_px": y, "file_name": ""}
    return {**place, "error_um": error_um, "squares": int(found.sum()), "left_out": left_out}
