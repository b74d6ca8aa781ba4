"""A picture of the whole slide with its boxes or outlines, a legend and a scale bar."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...evaluation.detections import Detections
from ...fonts import drawn, printable, sans
from ...palette import RGB, class_colors
from ...slides.slide import Slide

MAX_PX = 2048
MIN_BOX_PX = 6  # smaller ones would not be seen
TITLE_EM = 30  # a longer title does not widen the picture: it is shortened in the middle


def draw_overview(slide: Slide, detections: Detections, title: str = "", max_px: int = MAX_PX) -> Image.Image:
    """Draw the slide and what was found on it.

    Args:
        slide: slide.
        detections: in its base pixels.
        title: which slide it is, and from which score on boxes are drawn.
        max_px: the longer side of the slide in the picture; it is never enlarged.

    Returns:
        RGB; under the slide a strip with the title, the classes' colours and counts, and a scale bar, as wide
        as these need.
    """
    extent_um = [n * m for n, m in zip(slide.size_px, slide.mpp_xy)]
    mpp = max(*slide.mpp_xy, max(extent_um) / max_px)
    width, height = slide.size_at(mpp)
    region = Image.fromarray(slide.read_region(0, 0, width, height, mpp, from_base=False))

    line = max(2, round(max(width, height) / 550))
    font_px = max(14, round(max(width, height) / 70))
    font = sans(font_px)
    strip, margin = 2 * font_px, font_px // 2
    colors = class_colors(detections.class_names)
    counts = np.bincount(detections.classes, minlength=len(colors)).tolist()
    legend = [(colors[c], drawn(f"{n} {c}")) for c, n in zip(detections.class_names, counts)]
    lengths = [font.getlength(text) + 3 * font_px for _, text in legend]
    length_um = _scale_bar_um(max([width, *lengths]) * mpp / 4)
    bar_px = length_um / mpp
    bar_text = f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} µm"
    bar = 2 * margin + bar_px + 10 + font.getlength(bar_text)
    needed = max(width, *lengths, bar)  # a narrow core is narrower than its legend
    title = _shortened(printable(title), max(needed, TITLE_EM * font_px) - 2 * margin, font)
    full_width = math.ceil(max(needed, font.getlength(title) + 2 * margin))
    rows = _rows(lengths, full_width)

    above = strip if title else 0
    canvas = Image.new("RGB", (full_width, height + above + strip * (max(rows, default=0) + 2)), "white")
    canvas.paste(region)
    draw = ImageDraw.Draw(canvas)
    scale = np.array(slide.mpp_xy * 2) / mpp
    _draw_boxes(draw, detections, scale, [colors[c] for c in detections.class_names], line, (width, height))
    draw.text((margin, height + strip // 2), title, "black", font, anchor="lm")
    x, row = float(margin), 0
    for (color, text), length, in_row in zip(legend, lengths, rows):
        if in_row != row:
            x, row = float(margin), in_row
        middle = height + above + strip * row + strip // 2
        draw.rectangle((x, middle - font_px // 2, x + font_px, middle + font_px // 2), color, "black")
        draw.text((x + 1.4 * font_px, middle), text, "black", font, anchor="lm")
        x += length
    middle = canvas.height - strip // 2
    draw.rectangle((margin, middle - line, margin + bar_px, middle + line), "black")
    draw.text((margin + bar_px + 10, middle), bar_text, "black", font, anchor="lm")
    return canvas


def _shortened(text: str, room_px: float, font: ImageFont.FreeTypeFont) -> str:
    """The text, or its begin and end with an ellipsis between, so that it fits."""
    shortened, kept = text, len(text)
    while kept and font.getlength(shortened) > room_px:
        kept -= 1
        shortened = text[: (kept + 1) // 2] + "…" + text[len(text) - kept // 2 :]
    return shortened


def _rows(lengths: Iterable[float], width: float) -> list[int]:
    """In which row of the legend each entry goes."""
    rows: list[int] = []
    used = 0.0
    for length in lengths:
        row = rows[-1] if rows else 0
        if used + length > width and used:
            row, used = row + 1, 0.0
        rows.append(row)
        used += length
    return rows


def _draw_boxes(
    draw: ImageDraw.ImageDraw,
    detections: Detections,
    scale: np.ndarray,
    colors: Sequence[RGB],
    line: int,
    size: tuple[int, int],
) -> None:
    """Or outlines. The best on top; a white rim parts a line from tissue of its colour."""
    if detections.outlines is not None:
        rings = [(np.array(ring) * scale[:2]).ravel().tolist() for ring in detections.rings()]
        for ring, c in zip(rings[::-1], detections.classes[::-1]):
            draw.line(ring, "white", line + 2, joint="curve")
            draw.line(ring, colors[c], line, joint="curve")
        return
    for (x0, y0, x1, y1), c in zip(detections.boxes_px[::-1] * scale, detections.classes[::-1]):
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        half_x, half_y = (max(v, MIN_BOX_PX) / 2 for v in (x1 - x0, y1 - y0))
        box = [
            *np.maximum(np.round((x - half_x, y - half_y)), 0).astype(int).tolist(),
            *np.minimum(np.round((x + half_x, y + half_y)), np.array(size) - 1).astype(int).tolist(),
        ]
        draw.rectangle(_grown(box, 1), outline="white", width=line + 2)
        draw.rectangle(box, outline=colors[c], width=line)


def _grown(box: Sequence[int], by: int) -> list[int]:
    return [box[0] - by, box[1] - by, box[2] + by, box[3] + by]


def _scale_bar_um(longest_um: float) -> float:
    """The greatest 1, 2 or 5 times a power of ten that is at most so long."""
    power = 10.0 ** math.floor(math.log10(longest_um))
    return max(k for k in (1, 2, 5) if k * power <= longest_um * (1 + 1e-9)) * power
