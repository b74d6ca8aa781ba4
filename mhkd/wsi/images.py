"""Plain image files: PNG, JPEG and whatever else Pillow opens."""

import struct
import warnings

from mhkd.errors import InputError

import numpy as np
from PIL import Image, ImageOps


def read_rgb(path):
    """Read an 8-bit image file, its EXIF orientation applied.

    Args:
        path (str): any image file that Pillow opens.

    Returns:
        ndarray: uint8 RGB, shape (H, W, 3); transparent pixels are white.

    Raises:
        InputError: the file is missing, is no image, is cut short, or has more than 8 bits a
            channel.
    """
    with open_image(path) as image:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's on odd EXIF: the pixels are what counts
                image = ImageOps.exif_transpose(image)
            if "A" in image.mode or "transparency" in image.info:
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, (255, 255, 255, 255))
                image = Image.alpha_composite(white, image)
            return np.array(image.convert("RGB"))
        except Exception as e:  # decoders raise OSError, SyntaxError, ValueError, struct.error, ...
            raise InputError(
                f"{path}: cannot be decoded ({e}): it is damaged or cut short, restore it"
            ) from e


def open_image(path):
    """Open an image file and read its header only.

    Args:
        path (str): any image file that Pillow opens.

    Returns:
        PIL.Image.Image: not decoded yet; a context manager.

    Raises:
        InputError: the file is missing, is no image, or has more than 8 bits a channel.
    """
    try:
        image = Image.open(path)
    except FileNotFoundError as e:
        raise InputError(
            f"{path}: there is no such image: restore it, or correct file_name in the annotation "
            "file"
        ) from e
    except Exception as e:  # UnidentifiedImageError, DecompressionBombError, decoders' own
        raise InputError(
            f"{path}: is no image that can be read ({e}): restore or convert it"
        ) from e
    if image.mode[0] in "IF":  # Pillow would clip these to white
        image.close()
        raise InputError(
            f"{path}: has more than 8 bits a channel ({image.mode}): convert it to 8 bits"
        )
    return image


def image_size(path):
    """Size of an image file as :func:`read_rgb` returns it, from its header alone.

    Args:
        path (str): any image file that Pillow opens.

    Returns:
        tuple[int, int]: width and height in pixels.

    Raises:
        InputError: as :func:`open_image`.
    """
    with open_image(path) as image:
        width, height = image.size
        try:
            sideways = image.getexif().get(0x0112, 1) >= 5  # EXIF orientation: 5..8 swap the axes
        except (OSError, SyntaxError, ValueError, TypeError, struct.error):  # broken EXIF
            sideways = False
    return (height, width) if sideways else (width, height)
