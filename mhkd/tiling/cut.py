"""Images of a class each, cut from slides: around objects, around tissue, or a slide as a whole.

A class is that of the object; of sections and whole slides that which is annotated on most of them; or,
whatever is annotated, that which a table gives the slide.
"""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import shapely

from ..coco.schema import is_number
from ..errors import InputError
from ..files import read_json, write_json
from ..slides.slide import Slide
from ..slides.tissue import little_tissue, mask_mpp, tissue_boxes, tissue_mask
from .layout import MAX_IMAGE_PX
from .objects import SlideObject

CUT_FILE = "cut.json"  # in a dataset's folder
LEAST_PX = 2  # a pixel alone shows nothing
SECTION_MASK_MPP = 8.0  # resolution at which sections are looked for: a tubule is several pixels wide
Box = tuple[float, float, float, float]  # x, y, width, height in base pixels


@dataclass(frozen=True)
class Cut:
    """How slides, or the images of a COCO dataset, are cut into images of a class each.

    Attributes:
        mode: "centred", one image an object, moved to stay on the slide; "section", one a piece of tissue; or
            "whole", one a slide.
        mpp: HR resolution, micrometres per pixel; None: that of the base level.
        field_um: of "centred": side of the square around an object's middle.
        field_boxes: the same, as a multiple of the longer side of the object's box.
        min_tissue_um2, max_hole_um2: see :func:`mhkd.slides.tissue.tissue_mask`.
    """

    mode: str = "centred"
    mpp: float | None = None
    field_um: float | None = None
    field_boxes: float | None = None
    min_tissue_um2: float = 0.0
    max_hole_um2: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in ("centred", "section", "whole"):
            raise InputError(
                f"--mode {self.mode} is of tiles to detect in: with --task classification choose centred, "
                "section or whole"
            )
        fields = [f for f in (self.field_um, self.field_boxes) if f is not None]
        if self.mode == "centred" and len(fields) != 1:
            raise InputError(
                "--mode centred: give the field with --field-um or with --field-boxes, one of them"
            )
        if self.mode != "centred" and fields:
            raise InputError(f"--mode {self.mode}: has no --field-um or --field-boxes, which are of centred")

    @property
    def in_um(self) -> bool:
        """Whether a slide's resolution must be known."""
        return self.mode == "section" or self.mpp is not None or self.field_um is not None

    def field(
        self, bounds: Sequence[float], size_px: Sequence[int], mpp_xy: tuple[float, float] | None
    ) -> Box:
        """The square around an object, in whole base pixels.

        Args:
            bounds: x0, y0, x1, y1 of the object, base pixels.
            size_px: of the slide.
            mpp_xy: of its base level; None: not known, and nothing of the cut is in micrometres.
        """
        mpp_xy = mpp_xy or (1.0, 1.0)
        if self.field_um is not None:
            side_um = self.field_um
        else:
            sides_um = ((bounds[k + 2] - bounds[k]) * mpp_xy[k] for k in range(2))
            side_um = (self.field_boxes or 1) * max(sides_um)
        corner, size = [], []
        for k in range(2):
            side = max(1, round(side_um / mpp_xy[k]))
            middle = (bounds[k] + bounds[k + 2]) / 2
            corner.append(float(round(max(0, min(middle - side / 2, size_px[k] - side)))))
            size.append(side)
        return corner[0], corner[1], size[0], size[1]

    def image(self, box: Box, mpp_xy: tuple[float, float] | None, where: str) -> dict[str, Any]:
        """A box as an image: ``x_px``, ``y_px`` (base pixels), ``mpp``, ``width``, ``height`` (HR pixels).

        ``mpp`` is None where the slide's is: then its pixels are base pixels.

        Raises:
            InputError: it is too large.
        """
        mpp = mpp_xy and (self.mpp or math.sqrt(mpp_xy[0] * mpp_xy[1]))
        width, height = (
            max(1, round(n * m / (mpp or 1))) for n, m in zip(box[2:], mpp_xy or (1.0, 1.0), strict=True)
        )
        if width * height > MAX_IMAGE_PX:
            raise InputError(
                f"{where}: as one image of {width}x{height} px it is too large "
                f"({MAX_IMAGE_PX / 2**20:.0f} megapixels at most): read it coarser (--mpp), or correct its "
                "resolution (--slide-mpp)"
            )
        return {"x_px": box[0], "y_px": box[1], "mpp": mpp, "width": width, "height": height}


def write_cut(cut: Cut, folder: str) -> None:
    """Record how the dataset in ``folder`` was cut, so that its student can cut slides the same way."""
    write_json(asdict(cut), os.path.join(folder, CUT_FILE))


def read_cut(folder: str) -> Cut | None:
    """What :func:`write_cut` recorded; None of a dataset of image files.

    Raises:
        InputError: it cannot be read.
    """
    path = os.path.join(folder, CUT_FILE)
    if not os.path.lexists(path):
        return None
    content = read_json(path, dict, "remove it")
    numbers = {key: value for key, value in content.items() if key != "mode"}
    try:
        if not all(value is None or is_number(value) for value in numbers.values()):
            raise ValueError("what is no number")
        return Cut(**content)
    except (ValueError, TypeError) as e:
        raise InputError(f"{path}: does not say how the images were cut ({e}): remove it") from e


def cut_images(
    slide: Slide,
    objects: Sequence[SlideObject],
    cut: Cut,
    slide_class: str | None,
    counts: Counter[str],
    mpp_is_known: bool = True,
) -> Iterator[dict[str, Any]]:
    """The images of one slide.

    Args:
        slide: slide.
        objects: geometry in base pixels, class and whether it is to be ignored, which such an object then is.
        cut: how.
        slide_class: the class of every image, "" for none; None: as annotated.
        counts: what is left out is added, in words.
        mpp_is_known: False: what the slide says of its resolution is not meant.

    Yields:
        As :meth:`Cut.image`, and ``class``.

    Raises:
        InputError: the slide cannot be read, or an image is too large.
    """
    size_px, mpp_xy = slide.size_px, slide.mpp_xy if mpp_is_known else None
    kept = [(geometry, name) for geometry, name, ignored in objects if not ignored]
    found: list[tuple[Box, str]]
    if cut.mode == "centred":
        fields = ((cut.field(geometry.bounds, size_px, mpp_xy), name) for geometry, name in kept)
        found = one_class_each(fields, slide_class, counts)
    else:
        boxes = [(0.0, 0.0, float(size_px[0]), float(size_px[1]))]
        if cut.mode == "section":
            boxes = _sections(slide, cut, counts)
        found = []
        for box in boxes:
            name = _most_of(box, kept) if slide_class is None else slide_class
            if name is None:
                counts["images without an annotated class left out"] += 1
            else:
                found.append((box, name))
    yield from large_enough(({**cut.image(box, mpp_xy, slide.path), "class": n} for box, n in found), counts)


def large_enough(images: Iterable[dict[str, Any]], counts: Counter[str]) -> Iterator[dict[str, Any]]:
    """Those that show something; the others are left out and counted."""
    for image in images:
        if min(image["width"], image["height"]) >= LEAST_PX:
            yield image
        else:
            counts[f"images of fewer than {LEAST_PX} px a side left out"] += 1


def one_class_each(
    fields: Iterable[tuple[Box, str]], slide_class: str | None, counts: Counter[str]
) -> list[tuple[Box, str]]:
    """The fields of objects, from top to bottom, each once; one of two classes is left out and counted."""
    classes: dict[Box, set[str]] = defaultdict(set)
    for box, name in fields:
        classes[box].add(name if slide_class is None else slide_class)
    two = [box for box, names in classes.items() if len(names) > 1]
    if two:
        counts["places with objects of two classes left out"] += len(two)
    found = sorted((box for box in classes if box not in two), key=lambda b: (b[1], b[0], b[2:]))
    return [(box, min(classes[box])) for box in found]


def _sections(slide: Slide, cut: Cut, counts: Counter[str]) -> list[Box]:
    """Boxes around tissue, base pixels."""
    mpp = mask_mpp(slide, SECTION_MASK_MPP)
    mask = tissue_mask(slide, mpp, cut.min_tissue_um2, cut.max_hole_um2)
    if remark := little_tissue(mask, mpp):
        counts[remark] = 0
    scale = [mpp / m for m in slide.mpp_xy] * 2
    found = []
    for box in tissue_boxes(mask):
        x0, y0, x1, y1 = np.minimum(np.round(box * scale), [*slide.size_px] * 2).tolist()
        found.append((x0, y0, x1 - x0, y1 - y0))
    return found


def _most_of(box: Box, objects: Sequence[tuple[Any, str]]) -> str | None:
    """The class with most annotated area in a box; of equals the first by name."""
    x, y, width, height = box
    areas: Counter[str] = Counter()
    for geometry, name in objects:
        areas[name] += shapely.clip_by_rect(geometry, x, y, x + width, y + height).area
    found = sorted((-area, name) for name, area in areas.items() if area > 0)
    return found[0][1] if found else None
