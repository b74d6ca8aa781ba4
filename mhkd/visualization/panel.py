"""A panel: an image with coloured boxes and their labels, and the strips of text around panels."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from ..fonts import drawn, sans
from ..palette import CAPTION, MISSED, NOT_SCORED

Mark = tuple[np.ndarray, str, str]  # box XYXY, colour, label
Outline = tuple[np.ndarray, str]  # corners (n, 2), colour

LINE_PX, OUTLINE_PX = 3, 2
DASHES_PX = {MISSED: (10, 5), NOT_SCORED: (3, 5)}  # drawn and left out; the others are solid
LABEL_FONT_PX, LABEL_HEIGHT_PX = 11, 15
STRIP_FONT_PX = 17
GAP_PX = 8


def draw_panel(
    image_rgb: np.ndarray,
    size: tuple[int, int],
    marks: Sequence[Mark],
    scale: float,
    outlines: Sequence[Outline] = (),
) -> np.ndarray:
    """Draw marks on an image.

    Args:
        image_rgb: uint8, shape (H, W, 3).
        size: width and height to which it is brought.
        marks: their boxes are multiplied by ``scale``.
        scale: pixels of the panel per pixel of the boxes.
        outlines: drawn within the boxes, in their pixels.

    Returns:
        uint8 RGB.
    """
    filter_ = Image.Resampling.BOX if size[0] < image_rgb.shape[1] else Image.Resampling.BILINEAR
    panel = Image.fromarray(image_rgb).resize(size, filter_)
    draw, font = ImageDraw.Draw(panel), sans(LABEL_FONT_PX)
    for box, color, _ in marks:
        _draw_box(draw, box * scale, color)
    for corners, color in outlines:
        ring = np.concatenate([corners, corners[:1]]) * scale
        draw.line(ring.ravel().tolist(), color, OUTLINE_PX, joint="curve")
    for box, color, label in ((b, c, drawn(text)) for b, c, text in marks if text):
        # Beside the tissue, not on it; a miss below, as it often lies under a false positive.
        x0, y0, _, y1 = (box * scale).tolist()
        top = min(max(y1 if color == MISSED else y0 - LABEL_HEIGHT_PX, 1), size[1] - LABEL_HEIGHT_PX)
        width = font.getlength(label) + 2
        left = min(max(x0, 1), max(size[0] - 1 - width, 1))
        draw.rectangle((left, top, left + width, top + LABEL_HEIGHT_PX - 2), "black")
        lighter = tuple((c + 255) // 2 for c in ImageColor.getrgb(color))
        draw.text((left + 1, top + LABEL_HEIGHT_PX // 2), label, lighter, font, anchor="lm")
    return np.asarray(panel)


def _draw_box(draw: ImageDraw.ImageDraw, box: np.ndarray, color: str) -> None:
    x0, y0, x1, y1 = np.rint(box).astype(int).tolist()
    on, off = DASHES_PX.get(color, (max(x1 - x0, y1 - y0, 1), 0))
    half = LINE_PX // 2
    for x in range(x0, x1, on + off):
        for y in (y0, y1):
            draw.rectangle((x - half, y - half, min(x + on, x1) + half, y + half), color)
    for y in range(y0, y1, on + off):
        for x in (x0, x1):
            draw.rectangle((x - half, y - half, x + half, min(y + on, y1) + half), color)


def compose_pair(
    panels: Sequence[np.ndarray], title: str, captions: Sequence[str], legend: Sequence[tuple[str, str]]
) -> np.ndarray:
    """Put two panels side by side under a white strip: title and legend, then a caption for each panel.

    Args:
        panels: uint8 RGB, of one shape.
        title: the image's name.
        captions: of each panel.
        legend: colours and what they stand for.

    Returns:
        uint8 RGB.
    """
    font = sans(STRIP_FONT_PX)
    title, captions = drawn(title), [drawn(caption) for caption in captions]
    legend = [(color, drawn(text)) for color, text in legend]
    line = int(1.6 * STRIP_FONT_PX)
    height, width = panels[0].shape[:2]
    legend_width = sum(int(font.getlength(text)) + 3 * STRIP_FONT_PX for _, text in legend)
    title_width = int(font.getlength(title)) + 2 * STRIP_FONT_PX if title else 0
    one_row = title_width + legend_width <= 2 * width + GAP_PX
    rows = 2 if one_row else 3
    # A narrow image gets margins: the text must fit above it.
    text_widths = [legend_width // 2, title_width // 2, *(int(font.getlength(c)) for c in captions)]
    column = max(width, *text_widths)

    canvas = Image.new("RGB", (2 * column + GAP_PX, rows * line + height + GAP_PX), "white")
    draw = ImageDraw.Draw(canvas)
    middle = line // 2
    draw.text((4, middle), title, "black", font, anchor="lm")
    x, y = (title_width, middle) if one_row else (4, line + middle)
    for color, text in legend:
        half = STRIP_FONT_PX // 2
        draw.rectangle((x, y - half, x + 2 * half, y + half), fill=color, outline="black")
        draw.text((x + 3 * half, y), text, "black", font, anchor="lm")
        x += int(font.getlength(text)) + 3 * STRIP_FONT_PX
    for k, (panel, caption) in enumerate(zip(panels, captions)):
        x = k * (column + GAP_PX)
        draw.text((x + 4, (rows - 1) * line + middle), caption, CAPTION, font, anchor="lm")
        canvas.paste(Image.fromarray(panel), (x, rows * line))
    return np.asarray(canvas)
