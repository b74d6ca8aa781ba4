"""Images of a dataset with their annotated boxes, HR beside LR, one under the other."""

from collections import Counter

import numpy as np

from ..palette import NOT_SCORED, class_colors, hex_color
from .overlay import compose_pair, draw_panel

PANEL_PX = 768  # the longer side
ROW_GAP_PX = 8


def draw_row(hr_image, lr_image, annotations, class_names, title="", captions=("HR", "LR")):
    """One image: HR beside LR, both with its boxes, and what their colours stand for.

    Args:
        hr_image (ndarray): uint8 RGB, shape (H, W, 3).
        lr_image (ndarray): uint8 RGB, of any smaller size; drawn as large as the HR image
            (bilinear, as the student gets it).
        annotations (list[dict]): ``bbox`` and ``bbox_mode`` in HR pixels, ``category_id``,
            ``iscrowd``; those to be ignored are drawn dotted and grey.
        class_names (dict[int, str] or list[str]): by ``category_id``.
        title (str): the image's name.
        captions (tuple[str, str]): what is written above either panel.

    Returns:
        ndarray: uint8 RGB.
    """
    from detectron2.structures import BoxMode

    names = dict(class_names if hasattr(class_names, "keys") else enumerate(class_names))
    colors = {c: hex_color(rgb) for c, rgb in class_colors(names.values()).items()}
    marks, counts = [], Counter()
    for a in annotations:
        name = None if a.get("iscrowd") else names[a["category_id"]]
        counts[name] += 1
        box = np.array(BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS))
        marks.append((box, colors.get(name, NOT_SCORED), ""))
    legend = [(color, f"{counts[c]} {c}") for c, color in colors.items()]
    if counts[None]:
        legend.append((NOT_SCORED, f"{counts[None]} ignored"))

    scale = PANEL_PX / max(hr_image.shape[:2])
    size = (round(hr_image.shape[1] * scale), round(hr_image.shape[0] * scale))
    panels = [draw_panel(image, size, marks, scale) for image in (hr_image, lr_image)]
    return compose_pair(panels, title, captions, legend)


def stack_rows(rows):
    """Rows of :func:`draw_row` as one sheet.

    Args:
        rows (list[ndarray]): uint8 RGB of any sizes, at least one.

    Returns:
        ndarray: uint8 RGB.
    """
    height = sum(r.shape[0] + ROW_GAP_PX for r in rows)
    sheet = np.full((height, max(r.shape[1] for r in rows), 3), 255, np.uint8)
    y = 0
    for row in rows:
        sheet[y : y + row.shape[0], : row.shape[1]] = row
        y += row.shape[0] + ROW_GAP_PX
    return sheet


def select_evenly(entries, limit, class_of):
    """Images that show a dataset: every slide and every class in turn, one empty image.

    Args:
        entries (list[dict]): Detectron2 dataset dicts.
        limit (int): at most so many.
        class_of (callable): dataset dict -> iterable of the classes in it, none for empty images.

    Returns:
        list[dict]: in the order of ``entries``.
    """
    classes = [set(class_of(e)) or {None} for e in entries]
    slides = [e.get("slide", e["file_name"]) for e in entries]
    shown_slides, shown_classes = Counter(), Counter()
    left, chosen = set(range(len(entries))), []
    while left and len(chosen) < limit:
        # The rarest class so far, on the slide that was shown least; of equals, apart from others.
        def rank(k):
            apart = min((abs(k - c) for c in chosen), default=0)
            rarest = min(shown_classes[c] * (1 if c is not None else limit) for c in classes[k])
            return (rarest, shown_slides[slides[k]], -apart, k)

        k = min(left, key=rank)
        left.remove(k)
        chosen.append(k)
        shown_slides[slides[k]] += 1
        shown_classes.update(classes[k])
    return [entries[k] for k in sorted(chosen)]
