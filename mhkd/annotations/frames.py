"""From which point of the slide a tool counts its pixels.

Some slides (MIRAX, Hamamatsu, Leica) carry more canvas than was scanned and record the bounds of
what was (``openslide.bounds-x`` ...). QuPath crops to the bounds and counts from their corner
(unless the slide was imported with --no-crop), and so does large-image, hence :class:`Slide` and
the Digital Slide Archive, where the bounds lie within the canvas. ASAP counts from the corner of
the canvas, and Aperio's slides have no bounds. Masks and COCO images are held against the size of
the slide instead.
"""

import openslide

from ..errors import InputError

_FROM_BOUNDS = {"QuPath GeoJSON"}
_FROM_CANVAS = {"ASAP XML", "Aperio ImageScope XML"}
_KEYS = tuple(f"openslide.bounds-{k}" for k in ("x", "y", "width", "height"))


def tool_offset_px(file_format, slide):
    """What to add to a tool's coordinates to get base pixels of a slide.

    Args:
        file_format (str): one of ``FORMATS``.
        slide (mhkd.slides.slide.Slide): slide.

    Returns:
        tuple[float, float]: x and y in base pixels.
    """
    if file_format not in _FROM_BOUNDS | _FROM_CANVAS:
        return (0.0, 0.0)
    try:
        with openslide.OpenSlide(slide.path) as opened:
            properties = dict(opened.properties)
    except (openslide.OpenSlideError, OSError):  # a plain image has no bounds
        return (0.0, 0.0)
    return offset_between(file_format, properties, slide.size_px)


def offset_between(file_format, properties, size_px):
    """As :func:`tool_offset_px`, from what OpenSlide says of the slide.

    Args:
        file_format (str): one of ``FORMATS``.
        properties (Mapping): OpenSlide's properties of the slide.
        size_px (tuple[int, int]): the slide's size as :class:`Slide` has it: cropped or not.

    Returns:
        tuple[float, float]: x and y in base pixels.
    """
    try:
        x, y, width, height = (int(properties[k]) for k in _KEYS)
    except (KeyError, ValueError):
        return (0.0, 0.0)
    slide_origin = (x, y) if tuple(size_px) == (width, height) else (0, 0)
    tool_origin = (x, y) if file_format in _FROM_BOUNDS else (0, 0)
    return tuple(float(t - s) for t, s in zip(tool_origin, slide_origin))


def scale_to_slide(path, image_px, slide_px):
    """Base pixels per pixel of an image or mask of the whole slide.

    Args:
        path (str): of the annotations, for the message.
        image_px, slide_px (tuple[int, int]): widths and heights.

    Returns:
        tuple[float, float]: along x and y. A whole number where the size agrees with one, be it
        that the image's last pixel was cut or filled up.

    Raises:
        InputError: the image is larger than the slide or has other proportions.
    """
    ratios = [s / i for s, i in zip(slide_px, image_px)]
    whole = round(min(ratios, key=lambda r: abs(r - round(r))))
    if whole >= 1 and all(s // whole == i or -(-s // whole) == i for s, i in zip(slide_px, image_px)):
        return (float(whole), float(whole))
    # a free size is rounded to whole pixels: the proportions may be off by one of them
    off_px = abs(ratios[0] / ratios[1] - 1) * min(image_px)
    if min(ratios) < 1 or off_px > 1.5:
        raise InputError(
            f"{path}: its image of {image_px[0]}x{image_px[1]} px is not one of a slide of "
            f"{slide_px[0]}x{slide_px[1]} px: are these the annotations of another slide?"
        )
    return tuple(ratios)
