"""Writes a small slide as Hamamatsu's scanners do: a TIFF with one strip of JPEG and NDPI's own tags."""

import io
import struct

import numpy as np
from PIL import Image

LONG, FLOAT, SIGNED = 4, 11, 9


def write_ndpi(path, size_px, offset_nm=None, mpp=0.5):
    """A grey slide with a dark spot.

    Args:
        path: where to.
        size_px: width and height.
        offset_nm: of the slide's middle from the glass', x and y; None: not recorded.
        mpp: micrometres per pixel along x, half as many along y.
    """
    pixels = np.full((size_px[1], size_px[0], 3), 200, np.uint8)
    pixels[10:20, 30:60] = 90
    jpeg = io.BytesIO()
    Image.fromarray(pixels).save(jpeg, "JPEG", quality=95)
    strip = jpeg.getvalue()
    tags = [(256, LONG, size_px[0]), (257, LONG, size_px[1]), (258, LONG, 8), (259, LONG, 7), (262, LONG, 6)]
    tags += [(273, LONG, 8), (277, LONG, 3), (278, LONG, size_px[1]), (279, LONG, len(strip))]
    tags += [(282, FLOAT, 1e4 / mpp), (283, FLOAT, 2e4 / mpp), (296, LONG, 3)]  # a centimetre
    tags += [(65420, LONG, 1), (65421, FLOAT, 20.0)]  # it is an NDPI, and its lens
    if offset_nm:
        tags += [(65422, SIGNED, offset_nm[0]), (65423, SIGNED, offset_nm[1])]
    tags += [(65424, SIGNED, 0)]  # focal plane
    codes = {LONG: "I", FLOAT: "f", SIGNED: "i"}
    entries = b"".join(struct.pack(f"<HHI{codes[kind]}", tag, kind, 1, value) for tag, kind, value in tags)
    directory = 8 + len(strip)
    with open(path, "wb") as f:
        f.write(struct.pack("<2sHI", b"II", 42, directory) + strip)
        f.write(struct.pack("<H", len(tags)) + entries + struct.pack("<Q", 0))
