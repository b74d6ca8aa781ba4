"""What large-image finds out about a slide that OpenSlide opens: its scanned part and its readable levels.

The one place that uses what large-image keeps to itself; a test reads slides of known bounds and levels with
it for the versions that it names.
"""

import logging
import os
from dataclasses import dataclass

from large_image.exceptions import TileSourceError
from large_image_source_openslide import OpenslideFileTileSource

__all__ = ["Canvas", "TileSourceError", "read_canvas"]

logging.getLogger("large_image").setLevel(logging.CRITICAL)  # its errors reach the user through ours


@dataclass(frozen=True)
class Canvas:
    """A slide's canvas, of which scanners record what they have scanned.

    Attributes:
        size_px: width and height of the scanned part in base pixels; of the canvas where none is recorded.
        origin_px: its top left corner on the canvas; None where none is recorded.
        mpp: micrometres per base pixel along x and y, 0 where they are not recorded.
        levels: OpenSlide's numbers of the levels that can be read.
    """

    size_px: tuple[int, int]
    origin_px: tuple[int, int] | None
    mpp: tuple[float, float]
    levels: frozenset[int]


def read_canvas(path: str | os.PathLike[str]) -> Canvas:
    """Open a slide with large-image.

    Raises:
        TileSourceError: large-image refuses it, not only for damage.
    """
    source = OpenslideFileTileSource(path, noCache=True)
    bounds, recorded = source._bounds, source.getNativeMagnification()
    return Canvas(
        size_px=(source.sizeX, source.sizeY),
        origin_px=(bounds["x"], bounds["y"]) if bounds else None,
        mpp=((recorded["mm_x"] or 0) * 1000, (recorded["mm_y"] or 0) * 1000),
        levels=frozenset(level["svslevel"] for level in source._svslevels),
    )
