"""A panel: an image with coloured boxes and their labels, and the strips of text around panels.

What Detectron2's Visualizer keeps to itself (the size of its font, the darker colour of a label) is used here
and nowhere else; tests/visualization/test_panel.py names the version.
"""

import os
from collections.abc import Sequence

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..palette import CAPTION, MISSED, NOT_SCORED

Mark = tuple[np.ndarray, str, str]  # box XYXY, colour, label

LINE_STYLES = {MISSED: "--", NOT_SCORED: ":"}  # the others are solid
LABEL_PT = 8
LABEL_HEIGHT_PX, LABEL_WIDTH_PX = 15, 7  # of a letter of it at the Visualizer's 100 dpi
STRIP_FONT_PX = 17
GAP_PX = 8


def draw_panel(
    image_rgb: np.ndarray, size: tuple[int, int], marks: Sequence[Mark], scale: float
) -> np.ndarray:
    """Draw marks on an image.

    Args:
        image_rgb: uint8, shape (H, W, 3).
        size: width and height to which it is brought.
        marks: their boxes are multiplied by ``scale``.
        scale: pixels of the panel per pixel of the boxes.

    Returns:
        uint8 RGB.
    """
    from detectron2.utils.visualizer import Visualizer  # only where something is drawn

    filter_ = cv2.INTER_AREA if size[0] < image_rgb.shape[1] else cv2.INTER_LINEAR
    visualizer = Visualizer(cv2.resize(image_rgb, size, interpolation=filter_))
    visualizer._default_font_size = LABEL_PT  # private: draw_box takes the width of its lines from it
    for box, color, _ in marks:
        style = LINE_STYLES.get(color, "-")
        visualizer.draw_box(box * scale, alpha=1, edge_color=color, line_style=style)
    for box, color, label in (m for m in marks if m[2]):
        # Beside the tissue, not on it; a miss below, as it often lies under a false positive.
        x0, y0, _, y1 = box * scale
        y = np.clip(y1 if color == MISSED else y0 - LABEL_HEIGHT_PX, 1, size[1] - LABEL_HEIGHT_PX)
        cut = x0 + LABEL_WIDTH_PX * len(label) > size[0]
        visualizer.draw_text(
            label,
            (size[0] - 1 if cut else max(x0, 1), y),
            color=visualizer._change_color_brightness(color, brightness_factor=0.5),
            font_size=LABEL_PT,
            horizontal_alignment="right" if cut else "left",
        )
    return visualizer.get_output().get_image()


def strip_font(size_px: int) -> ImageFont.FreeTypeFont:
    """The font that matplotlib brings."""
    path = os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(path, size_px)


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
    font = strip_font(STRIP_FONT_PX)
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
