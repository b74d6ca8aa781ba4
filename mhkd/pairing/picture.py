"""A picture to check a pair by: both scans as the squares of a chessboard, whole, and three tiles large.

Where the scans lie on each other, edges go on from square to square.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ..fonts import sans
from ..palette import FALSE_POSITIVE, FOUND
from ..slides.slide import Slide
from .alignment import Alignment, warped

_SIDE_PX = 1200  # of the overview
_SQUARE_PX = 50
_TILES, _TILE_PX = 3, 400


def draw_check(
    hr: Slide, lr: Slide, alignment: Alignment, side_px: int, checked: Sequence[dict[str, Any]], path: Path
) -> None:
    """Write a PNG.

    Args:
        hr, lr, alignment: the scans, and how they lie to each other.
        side_px: of a tile, LR base pixels.
        checked: tiles: ``x_px``, ``y_px``, ``error_um``, ``left_out``. Those left out are outlined red, the
            others blue; the three are those of the least, middle and greatest error that are kept.
        path: of the picture.
    """
    scale = max(1.0, max(lr.size_px) / _SIDE_PX)
    size = tuple(max(1, int(n / scale)) for n in lr.size_px)
    whole = Image.fromarray(_chessboard(hr, lr, alignment, (0, 0), (size[0], size[1]), scale))
    draw = ImageDraw.Draw(whole)
    for tile in sorted(checked, key=lambda t: bool(t["left_out"])):
        x, y = tile["x_px"] / scale, tile["y_px"] / scale
        box = (x, y, x + side_px / scale - 1, y + side_px / scale - 1)
        draw.rectangle(box, outline=FALSE_POSITIVE if tile["left_out"] else FOUND)
    kept = sorted((t for t in checked if not t["left_out"]), key=lambda t: t["error_um"])
    shown = [kept[k] for k in sorted({0, len(kept) // 2, len(kept) - 1})] if kept else []
    out = Image.new(
        "RGB", (max(whole.width, _TILES * _TILE_PX), whole.height + (_TILE_PX + 24 if shown else 0)), "white"
    )
    out.paste(whole)
    draw = ImageDraw.Draw(out)
    for k, tile in enumerate(shown):
        side = min(side_px, _TILE_PX // 2)
        start = tile["x_px"] + (side_px - side) // 2, tile["y_px"] + (side_px - side) // 2
        image = Image.fromarray(_chessboard(hr, lr, alignment, start, (side, side), 1.0, _SQUARE_PX // 2))
        out.paste(
            image.resize((_TILE_PX - 4,) * 2, Image.Resampling.NEAREST), (k * _TILE_PX, whole.height + 24)
        )
        draw.text((k * _TILE_PX, whole.height + 2), f"error {tile['error_um']:.2f} um", "black", sans(16))
    out.save(path, "PNG")


def _chessboard(
    hr: Slide, lr: Slide, alignment: Alignment, start: tuple[float, float], size: tuple[int, int],
    scale: float, square_px: int = _SQUARE_PX,
) -> np.ndarray:  # fmt: skip
    """``scale`` LR base pixels make a pixel."""
    mpp = lr.mpp * scale
    seen = lr.read_region(*start, *size, mpp, from_base=False)
    other = warped(hr, alignment, *start, size, (scale, scale), mpp, from_base=False)
    column: np.ndarray = np.arange(size[0]) // square_px
    row: np.ndarray = np.arange(size[1]) // square_px
    return np.where(((row[:, None] + column) % 2 == 0)[..., None], seen, other)
