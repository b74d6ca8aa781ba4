"""JPEG tiles of a TIFF, decoded straight from the file: several times as fast as through OpenSlide.

Most slides are pyramids of such tiles (Aperio SVS, generic tiled TIFF). The decoder is libjpeg-turbo, as
in OpenSlide, and as strict: whatever it does not like is left to OpenSlide to decide about.
"""

import os

import numpy as np
import simplejpeg
import tifftools

MAX_TILE_PX = 2048  # side; memory

_SOI = b"\xff\xd8"
_JPEG, _CHUNKY = 7, 1  # compression, planar configuration
# TIFF's photometric interpretation, in JPEG's own words: an Adobe segment with its colour transform.
_ADOBE = {
    photometric: b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])
    for photometric, transform in ((2, 0), (6, 1))  # RGB, YCbCr
}


class JpegTiles:
    """One page of a TIFF. Made by :func:`find_pages`."""

    def __init__(self, file, tags):
        """
        Args:
            file (file object): the TIFF, open for reading, unbuffered.
            tags (dict): of the page, from tifftools.

        Raises:
            LookupError: no page of JPEG tiles in colour, or one of a layout that is not known here.
        """
        get = {t: tags[t.value]["data"] for t in tifftools.Tag if t.value in tags}
        tag = tifftools.Tag
        self.size_px = (get[tag.ImageWidth][0], get[tag.ImageLength][0])
        self.tile_px = (get[tag.TileWidth][0], get[tag.TileLength][0])
        across, down = (-(-n // t) for n, t in zip(self.size_px, self.tile_px))
        offsets, sizes = (np.array(get[t], np.int64) for t in (tag.TileOffsets, tag.TileByteCounts))
        if not (
            get[tag.Compression][0] == _JPEG
            and get[tag.SamplesPerPixel][0] == 3
            and tuple(get[tag.BitsPerSample]) == (8, 8, 8)
            and get.get(tag.PlanarConfig, (_CHUNKY,))[0] == _CHUNKY
            and max(self.tile_px) <= MAX_TILE_PX
            and len(offsets) == len(sizes) == across * down
        ):
            raise LookupError
        self._offsets, self._sizes = offsets.reshape(down, across), sizes.reshape(down, across)
        self._file = file
        tables = bytes(get.get(tag.JPEGTables, b""))[2:-2]  # less the marks of begin and end
        self._head = _SOI + _ADOBE[get[tag.Photometric][0]] + tables

    def tile(self, column, row):
        """Pixels of one tile.

        Args:
            column, row (int): which.

        Returns:
            ndarray or None: uint8 RGB, of the full tile size also at the page's edges; None if there are
            no data, or none that decode without a complaint.
        """
        size = int(self._sizes[row, column])
        pixels = np.empty((*self.tile_px[::-1], 3), np.uint8)
        if size > 2 * pixels.nbytes:
            return None
        data = os.pread(self._file.fileno(), size, int(self._offsets[row, column]))
        if len(data) != size or data[:2] != _SOI:
            return None
        try:  # into a buffer: a tile may claim to be larger than it should
            decoded = simplejpeg.decode_jpeg(self._head + data[2:], "RGB", buffer=pixels, strict=True)
        except ValueError:
            return None
        return pixels if decoded.shape == pixels.shape else None


def find_pages(path, tiff=None):
    """The pages of JPEG tiles of a TIFF.

    Args:
        path (str): file.
        tiff (dict, optional): what ``tifftools.read_tiff`` says of it.

    Returns:
        dict[tuple[int, int], JpegTiles]: by width and height, those that no other page shares.
    """
    pages, seen = {}, set()
    try:
        file = open(path, "rb", buffering=0)  # noqa: SIM115  (closed with the last page)
        ifds = (tiff or tifftools.read_tiff(path))["ifds"]
    except (OSError, tifftools.TifftoolsError, KeyError, ValueError):
        return {}
    for ifd in ifds:
        try:
            page = JpegTiles(file, ifd["tags"])
        except (LookupError, TypeError, ValueError, OverflowError):
            continue
        if page.size_px in seen:
            pages.pop(page.size_px, None)
        else:
            pages[page.size_px] = page
        seen.add(page.size_px)
    return pages
