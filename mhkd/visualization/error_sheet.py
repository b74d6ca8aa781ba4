"""The errors on a slide, on one sheet, in the colours of the overlays.

Each crop has the number that its box has in ``glomeruli.csv`` and on the page, and a scale bar.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from ..errors import InputError
from ..evaluation.matching import judge
from ..files import fitting_name, replacing
from ..fonts import drawn, sans
from ..palette import FALSE_POSITIVE, FOUND, MISSED, NOT_SCORED, OTHER_CLASS
from ..slide_detection.scores.scored_slide import ScoredSlide
from ..slides.slide import Slide
from .contact_sheet import stack_rows
from .panel import Mark, draw_panel

CROP_PX, GAP_PX, COLUMNS = 240, 6, 6
SURROUNDINGS_UM = 500  # side of a crop: a glomerulus of 200 and what lies around it
BAR_UM = 100
FONT_PX, SMALL_FONT_PX = 17, 13
SIDES = np.array([0, 0, CROP_PX, CROP_PX])

logger = logging.getLogger(__name__)


def write_error_sheets(
    slides: Sequence[ScoredSlide], folder: Path, score_threshold: float, limit: int
) -> None:
    """Write a sheet for each slide with an error, ``<slide>.png``.

    What an earlier scoring left of the others goes. A slide that turns out to be damaged has none, with a
    warning.
    """
    for one in tqdm(slides, desc="sheets", unit="slide"):
        path = folder / fitting_name(one.name, ".png")
        try:
            sheet = draw_error_sheet(one, score_threshold, limit)
        except InputError as e:
            logger.warning("no sheet of its errors: %s", e)
            continue
        if sheet is None:
            if os.path.exists(path):
                os.remove(path)  # of an earlier scoring
            continue
        with replacing(path) as temporary:
            # Level 1 takes a third of the time.
            Image.fromarray(sheet).save(temporary, format="PNG", compress_level=1)


def draw_error_sheet(one: ScoredSlide, score_threshold: float = 0.5, limit: int = 24) -> np.ndarray | None:
    """Draw crops around each error.

    The most confident false positives come first, then those of another class, then the largest that were
    missed.

    Args:
        one: slide, detections and annotations; matched by class at IoU 0.5.
        score_threshold: detections with a lower score are left out.
        limit: at most so many crops of each kind.

    Returns:
        uint8 RGB; None if nothing is wrong.

    Raises:
        InputError: the slide is damaged.
    """
    at = np.flatnonzero(one.found.scores >= np.float32(score_threshold))
    found = one.found.select(at)
    columns = (found.boxes_px, found.scores, found.classes)
    verdicts = judge(*columns, one.boxes_px, one.classes, one.ignored)
    hit, false, other, missed = verdicts.hit, verdicts.false, verdicts.confused, verdicts.missed
    if not (false.any() or other.any() or missed.any()):
        return None

    names: Sequence[str] = found.class_names if len(found.class_names) > 1 else [""] * len(found.class_names)
    colors = np.select([hit, false, other], [FOUND, FALSE_POSITIVE, OTHER_CLASS], NOT_SCORED).tolist()
    labels = [f"{score:.2f} {names[c]}".strip() for score, c in zip(found.scores, found.classes)]
    for k in np.flatnonzero(other):
        labels[k] += f" for {names[one.classes[verdicts.confused_with[k]]]}"
    marks: list[Mark] = [(box, NOT_SCORED, "not scored") for box in one.boxes_px[one.ignored]]
    marks += zip(found.boxes_px, colors, labels)
    marks += [(b, MISSED, names[c]) for b, c in zip(one.boxes_px[missed], one.classes[missed])]

    by_score = np.argsort(-found.scores, kind="stable")
    size = np.prod(one.boxes_px[:, 2:] - one.boxes_px[:, :2], axis=1)
    by_size = np.argsort(-size, kind="stable")
    rows = [_strip(f"{one.name}, score ≥ {score_threshold:g}: {hit.sum()} found", FOUND)]
    for what, color, boxes, order, numbers in (
        ("false positives", FALSE_POSITIVE, found.boxes_px, by_score[false[by_score]], at + 1),
        ("found as another class", OTHER_CLASS, found.boxes_px, by_score[other[by_score]], at + 1),
        ("missed", MISSED, one.boxes_px, by_size[missed[by_size]], None),
    ):
        if what == "found as another class" and not len(order):
            continue
        more = f" ({limit} shown)" if limit < len(order) else ""
        rows.append(_strip(f"{len(order)} {what}{more}", color))
        crops = [
            _crop(one.slide, boxes[k], marks, f"{numbers[k]}" if numbers is not None else "")
            for k in order[:limit]
        ]
        rows += [_side_by_side(crops[k : k + COLUMNS]) for k in range(0, len(crops), COLUMNS)]
    return stack_rows(rows)


def _crop(slide: Slide, box: np.ndarray, marks: Sequence[Mark], number: str) -> np.ndarray:
    """Tissue around a box, with every mark in sight, the box's number and a scale bar."""
    x_mpp, y_mpp = slide.mpp_xy
    side_um = max(SURROUNDINGS_UM, 1.5 * max((box[2] - box[0]) * x_mpp, (box[3] - box[1]) * y_mpp))
    mpp = side_um / CROP_PX
    scale = np.array([x_mpp, y_mpp] * 2) / mpp  # crop pixels per base pixel
    corner = (box[:2] + box[2:]) / 2 - side_um / 2 / np.array([x_mpp, y_mpp])
    pixels = slide.read_region(corner[0], corner[1], CROP_PX, CROP_PX, mpp, from_base=False)
    placed = [((b - np.tile(corner, 2)) * scale, color, label) for b, color, label in marks]
    middle = (box - np.tile(corner, 2)) * scale
    # Of the others, which have crops of their own, only the colours.
    inside = [
        (b, color, label if _overlap(b, middle) else "") for b, color, label in placed if _overlap(b, SIDES)
    ]
    crop = Image.fromarray(draw_panel(pixels, (CROP_PX, CROP_PX), inside, 1.0))
    draw, font = ImageDraw.Draw(crop), sans(SMALL_FONT_PX)
    if number:
        draw.rectangle((0, 0, font.getlength(number) + 8, SMALL_FONT_PX + 6), "white")
        draw.text((4, SMALL_FONT_PX // 2 + 3), number, "black", font, anchor="lm")
    text, bar_px = f"{BAR_UM} µm", BAR_UM / mpp
    top = CROP_PX - SMALL_FONT_PX - 8
    draw.rectangle((0, top, bar_px + font.getlength(text) + 14, CROP_PX), "white")
    draw.rectangle((4, CROP_PX - 9, 4 + bar_px, CROP_PX - 6), "black")
    draw.text((bar_px + 9, (top + CROP_PX) // 2), text, "black", font, anchor="lm")
    return np.asarray(crop)


def _overlap(box: np.ndarray, other: np.ndarray) -> bool:
    return bool((box[2:] > other[:2]).all() and (box[:2] < other[2:]).all())


def _side_by_side(crops: Sequence[np.ndarray]) -> np.ndarray:
    row = np.full((CROP_PX, COLUMNS * (CROP_PX + GAP_PX), 3), 255, np.uint8)
    for k, crop in enumerate(crops):
        x = k * (CROP_PX + GAP_PX)
        row[:, x : x + CROP_PX] = crop
    return row


def _strip(text: str, color: str) -> np.ndarray:
    font = sans(FONT_PX)
    strip = Image.new("RGB", (COLUMNS * (CROP_PX + GAP_PX), int(1.8 * FONT_PX)), "white")
    draw = ImageDraw.Draw(strip)
    middle, half = strip.height // 2, FONT_PX // 2
    draw.rectangle((4, middle - half, 4 + 2 * half, middle + half), color, "black")
    draw.text((4 + 3 * half, middle), drawn(text), "black", font, anchor="lm")
    return np.asarray(strip)
