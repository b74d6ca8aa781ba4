"""The errors on a slide, on one sheet: false positives red, missed glomeruli yellow, found ones green."""

import os

from mhkd.visualization.contact_sheet import stack_rows
from mhkd.visualization.matching import assign, hits_and_misses
from mhkd.visualization.overlay import GREEN, GREY, RED, YELLOW, draw_panel

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

CROP_PX, GAP_PX, COLUMNS = 240, 6, 6
SURROUNDINGS_UM = 500  # side of a crop: a glomerulus of 200 and what lies around it
FONT_PX = 17
SIDES = np.array([0, 0, CROP_PX, CROP_PX])


def draw_error_sheet(one, score_threshold=0.5, limit=24):
    """Crops around each error, the most confident false positives first, then the largest that were missed.

    Args:
        one (ScoredSlide): slide, detections and annotations; matched by class at IoU 0.5.
        score_threshold (float): detections with a lower score are left out.
        limit (int): at most so many crops of either kind.

    Returns:
        ndarray or None: uint8 RGB; None if nothing is wrong.

    Raises:
        InputError: the slide is damaged.
    """
    found = one.found.select(one.found.scores >= np.float32(score_threshold))
    columns = (found.boxes_px, found.scores, found.classes)
    assigned = assign(*columns, one.boxes_px, one.classes, 0.5, one.ignored)
    hit, missed = hits_and_misses(assigned, one.ignored)
    false = assigned < 0
    if not false.any() and not missed.any():
        return None
    names = found.class_names if len(found.class_names) > 1 else [""] * len(found.class_names)
    marks = [(box, GREY, "not scored") for box in one.boxes_px[one.ignored]]
    for box, score, c, is_hit, is_false in zip(found.boxes_px, found.scores, found.classes, hit, false):
        color = GREEN if is_hit else RED if is_false else GREY
        marks.append((box, color, f"{score:.2f} {names[c]}".strip()))
    marks += [(b, YELLOW, names[c]) for b, c in zip(one.boxes_px[missed], one.classes[missed])]

    order = np.argsort(-found.scores[false], kind="stable")[:limit]
    wrong = found.boxes_px[false][order]
    size = np.prod(one.boxes_px[missed][:, 2:] - one.boxes_px[missed][:, :2], axis=1)
    lost = one.boxes_px[missed][np.argsort(-size, kind="stable")[:limit]]
    title = f"{one.name}, score ≥ {score_threshold:g}: {hit.sum()} found"
    rows = [_strip(title, GREEN)]
    for boxes, total, what, color in (
        (wrong, false.sum(), "false positives", RED), (lost, missed.sum(), "missed", YELLOW)
    ):  # fmt: skip
        more = f" ({len(boxes)} shown)" if len(boxes) < total else ""
        rows.append(_strip(f"{total} {what}{more}", color))
        crops = [_crop(one.slide, box, marks) for box in boxes]
        rows += [_side_by_side(crops[k : k + COLUMNS]) for k in range(0, len(crops), COLUMNS)]
    return stack_rows(rows)


def _crop(slide, box, marks):
    """Tissue around a box, with every mark in sight."""
    x_mpp, y_mpp = slide.mpp_xy
    side_um = max(SURROUNDINGS_UM, 1.5 * max((box[2] - box[0]) * x_mpp, (box[3] - box[1]) * y_mpp))
    mpp = side_um / CROP_PX
    scale = np.array([x_mpp, y_mpp] * 2) / mpp  # crop pixels per base pixel
    corner = (box[:2] + box[2:]) / 2 - side_um / 2 / np.array([x_mpp, y_mpp])
    pixels = slide.read_region(*corner, CROP_PX, CROP_PX, mpp, from_base=False)
    placed = [((b - np.tile(corner, 2)) * scale, color, label) for b, color, label in marks]
    middle = (box - np.tile(corner, 2)) * scale
    # Of the others, which have crops of their own, only the colours.
    inside = [
        (b, color, label if _overlap(b, middle) else "") for b, color, label in placed if _overlap(b, SIDES)
    ]
    return draw_panel(pixels, (CROP_PX, CROP_PX), inside, 1.0)


def _overlap(box, other):
    return (box[2:] > other[:2]).all() and (box[:2] < other[2:]).all()


def _side_by_side(crops):
    row = np.full((CROP_PX, COLUMNS * (CROP_PX + GAP_PX), 3), 255, np.uint8)
    for k, crop in enumerate(crops):
        x = k * (CROP_PX + GAP_PX)
        row[:, x : x + CROP_PX] = crop
    return row


def _strip(text, color):
    font_file = os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    font = ImageFont.truetype(font_file, FONT_PX)
    strip = Image.new("RGB", (COLUMNS * (CROP_PX + GAP_PX), int(1.8 * FONT_PX)), "white")
    draw = ImageDraw.Draw(strip)
    middle, half = strip.height // 2, FONT_PX // 2
    draw.rectangle((4, middle - half, 4 + 2 * half, middle + half), color, "black")
    draw.text((4 + 3 * half, middle), text, "black", font, anchor="lm")
    return np.asarray(strip)
