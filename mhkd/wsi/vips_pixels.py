"""TIFFs that OpenSlide does not take, through large-image's libvips source."""

from mhkd.errors import InputError
from mhkd.wsi.ome import read_ome
from mhkd.wsi.windows import on_white, plausible_mpp, read_window, tile_cache, tile_cache_lock

from large_image.exceptions import TileSourceError


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
        self._source = source
        source.cache, source.cache_lock = tile_cache, tile_cache_lock
        image = source._image
        known = image.get_typeof("image-description") != 0
        mpp, channels = read_ome(image.get("image-description") if known else None)
        if mpp is None:
            recorded = source.getNativeMagnification()
            mpp = tuple((recorded[k] or 0) * 1000 for k in ("mm_x", "mm_y"))
        self.mpp = plausible_mpp(mpp)
        self._channels = image.bands
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

    def read(self, downsample, x, y, width, height):
        """As :meth:`mhkd.wsi.openslide_pixels.OpenSlidePixels.read`."""
        tile_px = (self._source.tileWidth, self._source.tileHeight)
        return read_window(x, y, width, height, self.size_px, tile_px, self._part)

    def _part(self, column, row, left, top, right, bottom):
        x, y = column * self._source.tileWidth, row * self._source.tileHeight
        try:
            # applyStyle: no colour management, so that every reader of a slide sees the same pixels.
            tile = self._source.getTile(
                column, row, self._source.levels - 1, numpyAllowed="always", applyStyle=False
            )
            cause = None
        except TileSourceError as e:
            tile, cause = None, e
        # What libvips cannot decode large-image turns into one channel of zeros.
        if tile is None or tile.shape[2] != self._channels:
            raise InputError(
                f"{self.path}: its tile at base pixel ({x}, {y}) is damaged: copy the slide again"
            ) from cause
        return on_white(tile[top - y : bottom - y, left - x : right - x])
