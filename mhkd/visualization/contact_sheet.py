"""Images of a dataset with their annotated boxes, HR beside LR, one under the other."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..palette import NOT_SCORED, class_colors, hex_color
from .panel import Mark, compose_pair, draw_panel

PANEL_PX = 768  # the longer side
ROW_GAP_PX = 8


def draw_row(
    hr_image: np.ndarray,
    lr_image: np.ndarray,
    annotations: Iterable[dict[str, Any]],
    class_names: Mapping[int, str] | Sequence[str],
    title: str = "",
    captions: tuple[str, str] = ("HR", "LR"),
    own_class: str | None = None,
) -> np.ndarray:
    """Draw one image: HR beside LR, both with its boxes, and what their colours stand for; or its own class.

    Args:
        hr_image: uint8 RGB, shape (H, W, 3).
        lr_image: uint8 RGB, of any smaller size; drawn as large as the HR image (bilinear, as the student
            gets it).
        annotations: ``bbox`` (XYWH in HR pixels), ``category_id``, ``iscrowd``; those to be
            ignored are drawn dotted and grey.
        class_names: by ``category_id``.
        title: the image's name.
        captions: what is written above either panel.
        own_class: of an image with a class instead of boxes.

    Returns:
        uint8 RGB.
    """
    names = dict(class_names if isinstance(class_names, Mapping) else enumerate(class_names))
    colors = {c: hex_color(rgb) for c, rgb in class_colors(names.values()).items()}
    marks: list[Mark] = []
    counts: Counter[str | None] = Counter()  # None: ignored
    for a in annotations:
        name = None if a.get("iscrowd") else names[a["category_id"]]
        counts[name] += 1
        x, y, w, h = a["bbox"]
        box = np.array([x, y, x + w, y + h])
        marks.append((box, NOT_SCORED if name is None else colors[name], ""))
    legend = [(color, f"{counts[c]} {c}") for c, color in colors.items()]
    if own_class is not None:
        legend = [(colors[own_class], own_class)] if own_class else []
    if counts[None]:
        legend.append((NOT_SCORED, f"{counts[None]} ignored"))

    scale = PANEL_PX / max(hr_image.shape[:2])
    size = (round(hr_image.shape[1] * scale), round(hr_image.shape[0] * scale))
    panels = [draw_panel(image, size, marks, scale) for image in (hr_image, lr_image)]
    return compose_pair(panels, title, captions, legend)


def stack_rows(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Put rows of :func:`draw_row` on one sheet.

    Args:
        rows: uint8 RGB of any sizes, at least one.

    Returns:
        uint8 RGB.
    """
    height = sum(r.shape[0] + ROW_GAP_PX for r in rows)
    sheet = np.full((height, max(r.shape[1] for r in rows), 3), 255, np.uint8)
    y = 0
    for row in rows:
        sheet[y : y + row.shape[0], : row.shape[1]] = row
        y += row.shape[0] + ROW_GAP_PX
    return sheet


def select_evenly(
    entries: Sequence[dict[str, Any]], limit: int, class_of: Callable[[dict[str, Any]], Iterable[str]]
) -> list[dict[str, Any]]:
    """Choose images that show a dataset: every slide and every class in turn, one empty image.

    Args:
        entries: Detectron2 dataset dicts.
        limit: at most so many.
        class_of: from a dataset dict to the classes in it, none for empty images.

    Returns:
        In the order of ``entries``.
    """
    classes: list[set[str | None]] = [{*class_of(e)} or {None} for e in entries]
    slides = [e.get("slide", e["file_name"]) for e in entries]
    shown_slides: Counter[str] = Counter()
    shown_classes: Counter[str | None] = Counter()
    left, chosen = set(range(len(entries))), list[int]()
    while left and len(chosen) < limit:
        # The rarest class so far, on the slide that was shown least; of equals, apart from others.
        def rank(k: int) -> tuple[int, int, int, int]:
            apart = min((abs(k - c) for c in chosen), default=0)
            rarest = min(shown_classes[c] * (1 if c is not None else limit) for c in classes[k])
            return (rarest, shown_slides[slides[k]], -apart, k)

        k = min(left, key=rank)
        left.remove(k)
        chosen.append(k)
        shown_slides[slides[k]] += 1
        shown_classes.update(classes[k])
    return [entries[k] for k in sorted(chosen)]
