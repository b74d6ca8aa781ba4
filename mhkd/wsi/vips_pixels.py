"""TIFFs that OpenSlide does not take, opened through large-image's libvips source."""

from mhkd.errors import InputError
from mhkd.wsi.ome import read_ome
from mhkd.wsi.windows import on_white, plausible_mpp, read_window

import numpy as np
import pyvips

_BLOCK_PX = 1024


class VipsPixels:
    """An opened TIFF, of which the base level is read."""

    downsamples = (1,)

    def __init__(self, path, source):
        """
        Raises:
            InputError: not 8-bit RGB, nor grey.
        """
        self.path = path
        self.size_px = (source.sizeX, source.sizeY)
        image = source._image
        known = image.get_typeof("image-description") != 0
        mpp, channels = read_ome(image.get("image-description") if known else None)
        if mpp is None:
            recorded = source.getNativeMagnification()
            mpp = tuple((recorded[k] or 0) * 1000 for k in ("mm_x", "mm_y"))
        self.mpp = plausible_mpp(mpp)
        if image.format != "uchar" or image.bands > 4 or image.interpretation in ("cmyk", "lab"):
            raise InputError(
                f"{path}: has {image.bands} channels of {image.format} ({image.interpretation}), not "
                "8-bit RGB: convert it to an RGB TIFF"
            )
        if image.bands < 3 <= (channels or 0):
            raise InputError(
                f"{path}: keeps its {channels} channels on separate pages: convert it to an RGB TIFF "
                "(datasets/prepare_hubmap.py does so for those of HuBMAP)"
            )

        # large-image opens files in libvips' default way, which makes up pixels for damaged ones.
        self._image = pyvips.Image.tiffload(path, fail_on="warning", revalidate=True)

    def read(self, downsample, x, y, width, height):
        """As :meth:`mhkd.wsi.openslide_pixels.OpenSlidePixels.read`."""
        return read_window(x, y, width, height, self.size_px, (_BLOCK_PX, _BLOCK_PX), self._part)

    def _part(self, _column, _row, left, top, right, bottom):
        width, height = right - left, bottom - top
        try:
            data = pyvips.Region.new(self._image).fetch(left, top, width, height)
        except pyvips.Error as e:
            raise InputError(
                f"{self.path}: its pixels at base pixel ({left}, {top}) are damaged: copy the slide again"
            ) from e
        return on_white(np.frombuffer(data, np.uint8).reshape(height, width, self._image.bands))
