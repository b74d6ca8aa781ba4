"""Opens a slide file and hands out windows of its pixels; everything format-specific ends here.

OpenSlide comes first: it is the one reader that refuses damaged tiles instead of inventing pixels.
libvips serves the TIFFs that OpenSlide does not take (striped, planar), Pillow plain PNG and JPEG.
Both OpenSlide and libvips are opened through large-image.
"""

import logging

from mhkd.errors import InputError
from mhkd.wsi.heads import read_head
from mhkd.wsi.images import read_rgb
from mhkd.wsi.openslide_pixels import OpenSlidePixels
from mhkd.wsi.vips_pixels import VipsPixels

import large_image
import numpy as np
import openslide
import pyvips
from large_image.exceptions import TileSourceError
from large_image_source_openslide import OpenslideFileTileSource
from large_image_source_vips import VipsFileTileSource

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_JPEG = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")

# By default large-image keeps libvips away from files by the end of their name; we go by content.
large_image.config.setConfig("source_vips_ignored_names", "")
logging.getLogger("large_image").setLevel(logging.CRITICAL)  # its errors reach the user through ours


def open_pixels(path):
    """Open a slide or a plain image.

    Args:
        path (str): whatever OpenSlide opens, a TIFF that libvips opens, PNG or JPEG.

    Returns:
        OpenSlidePixels, VipsPixels or ImagePixels: with ``size_px`` (width, height), ``mpp`` ((x, y)
        micrometres per pixel or None), ``downsamples`` (of its levels, whole numbers, ascending from 1)
        and ``read(downsample, x, y, width, height)``.

    Raises:
        InputError: the file is missing, empty, damaged, or of a format that none of them takes.
    """
    magic, _ = read_head(path, "slide", "copy the slide again", 8)
    try:
        return OpenSlidePixels(path, OpenslideFileTileSource(path, noCache=True))
    except TileSourceError:
        _reject_if_damaged(path)
    if magic.startswith(_TIFF):
        try:
            return VipsPixels(path, VipsFileTileSource(path, noCache=True))
        except InputError:  # which is a ValueError
            raise
        except (TileSourceError, pyvips.Error, ValueError, OSError) as e:
            raise InputError(
                f"{path}: neither OpenSlide nor libvips can open this TIFF: it is damaged or cut "
                "short "
                "(copy it again), or compressed in a way they do not know (convert it)"
            ) from e
    if magic.startswith(_PNG_JPEG):
        return ImagePixels(path)
    raise InputError(
        f"{path}: is no slide or image that OpenSlide, libvips or Pillow know, whatever its name "
        "says: "
        "convert it to a tiled pyramidal TIFF"
    )


def _reject_if_damaged(path):
    """large-image also refuses files for reasons of its own; only OpenSlide's word means damage."""
    try:
        openslide.OpenSlide(path).close()
    except openslide.OpenSlideUnsupportedFormatError:
        return
    except openslide.OpenSlideError as e:
        raise InputError(f"{path}: is damaged or cut short ({e}): copy the slide again") from e


class ImagePixels:
    """A plain PNG or JPEG, decoded once and held in memory."""

    mpp = None  # the resolution in such files is one of print
    downsamples = (1,)

    def __init__(self, path):
        self.path = path
        self._image = read_rgb(path)
        self.size_px = (self._image.shape[1], self._image.shape[0])

    def read(self, downsample, x, y, width, height):
        """As :meth:`OpenSlidePixels.read`."""
        out = np.full((height, width, 3), 255, np.uint8)
        x0, x1 = max(x, 0), min(x + width, self.size_px[0])
        y0, y1 = max(y, 0), min(y + height, self.size_px[1])
        if x0 < x1 and y0 < y1:
            out[y0 - y : y1 - y, x0 - x : x1 - x] = self._image[y0:y1, x0:x1]
        return out
