"""Plain image files: PNG, JPEG and the like."""

import os
import struct
import warnings

import numpy as np
from PIL import Image, ImageOps

from ..errors import InputError
from ..files import refuse_pipe
from . import tiff

_ENDS = {  # how files begin and end
    b"\x89PNG": b"\0\0\0\0IEND\xaeB`\x82",
    b"\xff\xd8\xff": b"\xff\xd9",
}
# Others have readers of their own, that of EPS starts Ghostscript.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000")
MAX_PX = (
    178_956_970  # Pillow's own bound: few bytes may stand for many pixels, which are held several times over
)
MAX_SIDE_PX = 10**6  # each row takes memory of its own
_TAIL_BYTES = 2**16  # programs write that much after the end of an image at most


def read_rgb(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an 8-bit image file, its EXIF orientation applied.

    Args:
        path: an image file of one of FORMATS.

    Returns:
        uint8 RGB, shape (H, W, 3); transparent pixels are white.

    Raises:
        InputError: the file is missing, is no image, is cut short, or has more than 8 bits a channel.
    """
    with open_image(path) as image:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's on odd EXIF: the pixels are what counts
                ImageOps.exif_transpose(image, in_place=True)
            if "A" in image.mode or "transparency" in image.info:
                image = image if image.mode == "RGBA" else image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
            return np.array(image if image.mode == "RGB" else image.convert("RGB"))
        except Exception as e:  # decoders raise OSError, SyntaxError, ValueError, struct.error, ...
            raise InputError(
                f"{path}: cannot be decoded ({e}): it is damaged or cut short, restore it"
            ) from e


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """Open an image file and read its header only.

    Args:
        path: an image file of one of FORMATS.

    Returns:
        Not decoded yet; a context manager.

    Raises:
        InputError: the file is missing, is no image, or has more than 8 bits a channel.
    """
    try:
        refuse_pipe(path)
        Image.init()  # else formats are not known yet
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # of half of MAX_PX
            image = Image.open(path, formats=[f for f in FORMATS if f in Image.OPEN])
    except InputError:
        raise
    except FileNotFoundError as e:
        raise InputError(
            f"{path}: there is no such image: restore it, or correct file_name in the annotation file"
        ) from e
    except Exception as e:  # UnidentifiedImageError, DecompressionBombError, decoders' own
        raise InputError(f"{path}: is no image that can be read ({e}): restore or convert it") from e
    if image.width * image.height > MAX_PX or max(image.size) > MAX_SIDE_PX:
        image.close()
        raise InputError(
            f"{path}: has {image.width}x{image.height} px, more than {MAX_PX // 10**6} megapixels or longer "
            f"than {MAX_SIDE_PX} px: cut it into tiles, or make a tiled TIFF of it and read that as a slide"
        )
    # Pillow would clip grey to white, and of colours drop the lower eight bits, which may be all there is.
    if image.mode[0] in "IF" or any(";16" in str(tile) for tile in image.tile):
        image.close()
        raise InputError(f"{path}: has more than 8 bits a channel: convert it to 8 bits")
    return image


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Size of an image file as :func:`read_rgb` returns it, from its header alone.

    Args:
        path: an image file of one of FORMATS.

    Returns:
        Width and height in pixels.

    Raises:
        InputError: as :func:`open_image`.
    """
    with open_image(path) as image:
        width, height = image.size
        if image.format == "PNG" and not _may_be_turned(image, path):
            return width, height
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # as in read_rgb
                sideways = image.getexif().get(0x0112, 1) >= 5  # EXIF orientation: 5..8 swap the axes
        except (OSError, SyntaxError, ValueError, TypeError, struct.error):  # broken EXIF
            sideways = False
    return (height, width) if sideways else (width, height)


def _may_be_turned(png: Image.Image, path: str | os.PathLike[str]) -> bool:
    """Whether a PNG has EXIF or XMP, or anything after its pixels, which Pillow decodes them all to find."""
    if any("exif" in key or "xmp" in key for key in (str(k).lower() for k in png.info)):
        return True
    with open(path, "rb") as f:
        f.seek(8)
        pixels = False
        while len(head := f.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if pixels and kind not in (b"IDAT", b"IEND"):
                return True
            pixels = pixels or kind == b"IDAT"
            f.seek(length + 4, os.SEEK_CUR)
    return False


def check_whole(path: str | os.PathLike[str]) -> None:
    """Make sure that an image file is not cut short, without decoding it where its format tells.

    PNG and JPEG have a mark at their end, a TIFF says where its pixels are. Files of other formats are
    decoded, and those in which something follows the mark.

    Args:
        path: an image file, see :func:`open_image`.

    Raises:
        InputError: it is cut short, or cannot be read.
    """
    try:
        refuse_pipe(path)
        with open(path, "rb") as f:
            head = f.read(4)
            f.seek(max(0, f.seek(0, os.SEEK_END) - _TAIL_BYTES))
            tail = f.read()
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror})") from e
    if head in tiff.MAGIC:
        tiff.read_pages(path)
        return
    end = next((end for begin, end in _ENDS.items() if head.startswith(begin)), b"")
    if end and tail.endswith(end):
        return
    # A JPEG's missing rest is no error to its decoder where zeros stand for it.
    if head.startswith(b"\xff\xd8\xff") and end not in tail:
        raise InputError(f"{path}: is cut short, the mark of its end is missing: restore it")
    read_rgb(path)
