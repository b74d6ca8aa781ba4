"""Opens a slide file and hands out windows of its pixels; everything format-specific ends here.

OpenSlide comes first: it is the one reader that refuses damaged tiles instead of inventing pixels.
libvips serves the TIFFs that OpenSlide does not take (striped, planar), Pillow plain PNG and JPEG.
Both OpenSlide and libvips are reached through large-image.
"""

import logging
import math
import os
import sys
import threading

from mhkd.errors import InputError
from mhkd.wsi.images import read_rgb
from mhkd.wsi.ome import read_ome

import cachetools
import cv2
import large_image
import numpy as np
import openslide
from large_image.exceptions import TileSourceError
from large_image_source_openslide import OpenslideFileTileSource
from large_image_source_vips import VipsFileTileSource

TILE_CACHE_BYTES = 64 * 2**20  # decoded tiles, per process, all slides together
OPENSLIDE_CACHE_BYTES = (
    16 * 2**20
)  # OpenSlide's own, per process: large-image's tiles may cut its tiles
# Scanners do not go coarser; what a file claims beyond this is a print resolution (72 dpi is 353
# um).
MAX_SLIDE_MPP = 40.0

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_JPEG = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")

_tile_cache = cachetools.LRUCache(
    TILE_CACHE_BYTES, getsizeof=lambda v: getattr(v, "nbytes", sys.getsizeof(v))
)
_tile_cache_lock = threading.RLock()
_openslide_cache = openslide.OpenSlideCache(OPENSLIDE_CACHE_BYTES)

# By default large-image keeps libvips away from files by the end of their name; we go by content.
large_image.config.setConfig("source_vips_ignored_names", "")
logging.getLogger("large_image").setLevel(
    logging.CRITICAL
)  # its errors reach the user through ours


def open_pixels(path):
    """Open a slide or a plain image.

    Args:
        path (str): whatever OpenSlide opens, a TIFF that libvips opens, PNG or JPEG.

    Returns:
        TiledPixels or ImagePixels: with ``size_px`` (width, height), ``mpp`` ((x, y) micrometres
        per pixel or None), ``downsamples`` (of its levels, ascending, powers of two from 1) and
        ``read(downsample, x, y, width, height)``.

    Raises:
        InputError: the file is missing, empty, damaged, or of a format that none of them takes.
    """
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as f:
            magic = f.read(8)
    except FileNotFoundError as e:
        raise InputError(f"{path}: there is no such slide: restore it or correct the path") from e
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror})") from e
    if size == 0:
        raise InputError(f"{path}: the file is empty (0 bytes): copy the slide again")

    try:
        return TiledPixels(path, OpenslideFileTileSource(path, noCache=True))
    except TileSourceError:
        _reject_if_damaged(path)
    if magic.startswith(_TIFF):
        try:
            return TiledPixels(path, VipsFileTileSource(path, noCache=True))
        except InputError:  # which is a ValueError
            raise
        except (TileSourceError, ValueError, OSError) as e:
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


class TiledPixels:
    """A slide that large-image opened, read tile by tile from levels that are in the file."""

    def __init__(self, path, source):
        self.path = path
        self.size_px = (source.sizeX, source.sizeY)
        self._source = source
        self._is_openslide = isinstance(source, OpenslideFileTileSource)
        source.cache, source.cache_lock = _tile_cache, _tile_cache_lock
        top = source.levels - 1
        self.downsamples = [1]
        if self._is_openslide:
            source._openslide.set_cache(_openslide_cache)
            # scale 1: the level is in the file; others large-image would make up from a finer one
            self.downsamples = sorted(
                2 ** (top - z) for z, level in enumerate(source._svslevels) if level["scale"] == 1
            )
        self.mpp = self._recorded_mpp()
        self._check_pixel_format()

    def read(self, downsample, x, y, width, height):
        """Pixels of one level.

        Args:
            downsample (int): one of ``downsamples``; pixel (i, j) of that level covers the base
                pixels from (i, j) * downsample to (i + 1, j + 1) * downsample.
            x, y, width, height (int): the window in pixels of the level; it may lie outside the
                slide.

        Returns:
            ndarray: uint8 RGB, shape (height, width, 3), white outside the slide and where it has
                no data.

        Raises:
            InputError: a tile in the window is damaged.
        """
        out = np.full((height, width, 3), 255, np.uint8)
        tile_w, tile_h = self._source.tileWidth, self._source.tileHeight
        level_w, level_h = (math.ceil(s / downsample) for s in self.size_px)
        x0, x1 = max(x, 0), min(x + width, level_w)
        y0, y1 = max(y, 0), min(y + height, level_h)
        if x0 >= x1 or y0 >= y1:
            return out
        for ty in range(y0 // tile_h, (y1 - 1) // tile_h + 1):
            for tx in range(x0 // tile_w, (x1 - 1) // tile_w + 1):
                left, top = max(x0, tx * tile_w), max(y0, ty * tile_h)
                right, bottom = min(x1, (tx + 1) * tile_w), min(y1, (ty + 1) * tile_h)
                tile = self._tile(downsample, tx, ty)
                tile = tile[
                    top - ty * tile_h : bottom - ty * tile_h,
                    left - tx * tile_w : right - tx * tile_w,
                ]
                out[top - y : bottom - y, left - x : right - x] = _on_white(tile)
        return out

    def _tile(self, downsample, tx, ty):
        z = self._source.levels - 1 - (downsample.bit_length() - 1)
        try:
            # applyStyle: no colour management, so that every reader of a slide sees the same
            # pixels.
            tile = self._source.getTile(tx, ty, z, numpyAllowed="always", applyStyle=False)
        except (TileSourceError, openslide.OpenSlideError) as e:
            tile = None
            cause = e
        else:
            cause = None
        # What libvips cannot decode large-image turns into one channel of zeros.
        if tile is None or tile.shape[2] != self._channels:
            raise InputError(
                f"{self.path}: its tile at base pixel ({tx * self._source.tileWidth * downsample}, "
                f"{ty * self._source.tileHeight * downsample}) is damaged: copy the slide again"
            ) from cause
        return tile

    def _recorded_mpp(self):
        mpp, _ = read_ome(self._description())
        if mpp is None:
            recorded = self._source.getNativeMagnification()
            mpp = tuple((recorded[k] or 0) * 1000 for k in ("mm_x", "mm_y"))
        return mpp if all(0 < v <= MAX_SLIDE_MPP for v in mpp) else None

    def _description(self):
        if self._is_openslide:
            return self._source._openslide.properties.get("tiff.ImageDescription")
        image = self._source._image
        known = image.get_typeof("image-description") != 0
        return image.get("image-description") if known else None

    def _check_pixel_format(self):
        if self._is_openslide:
            self._channels = 4
            return
        image = self._source._image
        self._channels = image.bands
        if image.format != "uchar" or image.bands > 4 or image.interpretation in ("cmyk", "lab"):
            raise InputError(
                f"{self.path}: has {image.bands} channels of {image.format} "
                f"({image.interpretation}), not "
                "8-bit RGB: convert it to an RGB TIFF"
            )
        channels = read_ome(self._description())[1]
        if image.bands < 3 <= (channels or 0):
            raise InputError(
                f"{self.path}: keeps its {channels} channels on separate pages: convert it to an RGB TIFF "
                "(datasets/prepare_hubmap.py does so for those of HuBMAP)"
            )


class ImagePixels:
    """A plain PNG or JPEG, decoded once and held in memory."""

    mpp = None  # the resolution in such files is one of print
    downsamples = (1,)

    def __init__(self, path):
        self.path = path
        self._image = read_rgb(path)
        self.size_px = (self._image.shape[1], self._image.shape[0])

    def read(self, downsample, x, y, width, height):
        """As :meth:`TiledPixels.read`."""
        out = np.full((height, width, 3), 255, np.uint8)
        x0, x1 = max(x, 0), min(x + width, self.size_px[0])
        y0, y1 = max(y, 0), min(y + height, self.size_px[1])
        if x0 < x1 and y0 < y1:
            out[y0 - y : y1 - y, x0 - x : x1 - x] = self._image[y0:y1, x0:x1]
        return out


def _on_white(tile):
    """uint8 (h, w, 1 to 4) to RGB over white; the last of an even number of channels is alpha."""
    channels = tile.shape[2]
    colour = tile[..., : 1 if channels < 3 else 3]
    if channels % 2 == 0 and tile[..., -1].min() < 255:
        alpha = tile[..., -1:].astype(np.uint16)
        colour = ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return (
        colour if channels >= 3 else cv2.cvtColor(np.ascontiguousarray(colour), cv2.COLOR_GRAY2RGB)
    )
