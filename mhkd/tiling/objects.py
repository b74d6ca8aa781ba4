"""The annotated objects of a slide, under the class names of the dataset."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from ..annotations import AnnotationSet, ClassMap, belongs_to, read_annotations
from ..errors import InputError
from ..slides.slide import Slide
from .fields import by_field, take_fields

# Glomeruli are 50 to 400 um wide, tufts and sections of them a little less. Beyond this the
# resolution is wrong by a power of ten, or the objects are of another kind.
PLAUSIBLE_WIDTH_UM = (20, 1000)
SlideObject = tuple[BaseGeometry, str, bool]  # outline in base pixels, class, to be ignored


def read_objects(
    slide: Slide,
    path: str,
    class_map: ClassMap,
    point_diameter_um: float | None = None,
    only_slide: bool = False,
    check_width: bool = True,
    within: Sequence[str] = (),
) -> tuple[list[SlideObject], AnnotationSet, Counter[str], BaseGeometry | None]:
    """Read the annotations of a slide.

    Args:
        slide: slide.
        path: of the annotations.
        class_map: names, merges and drops classes.
        point_diameter_um: points become circles of this size.
        only_slide: the user said that the file belongs to this slide, whatever its name.
        check_width: say where objects are of a size that no glomerulus has.
        within: classes of fields, as the file calls them: only what is in one is annotated.

    Returns:
        The objects, each its geometry in base pixels,
        class and whether it is to be ignored; the file's content, with counts of its own; what
        was left out for its class or place, or is odd, in words; and the fields, None without ``within``.

    Raises:
        InputError: see :func:`mhkd.annotations.read_annotations`; or the file is of another
            slide, or the slide has no resolution, or no field.
    """
    mpp = slide.mpp
    diameter_px = None if point_diameter_um is None else point_diameter_um / mpp
    found = read_annotations(path, slide, point_diameter_px=diameter_px)
    if not (only_slide or belongs_to(found, slide.path)):
        raise InputError(
            f"{slide.path}: has no annotations of its own; {path} ({found.format}) is named like "
            "another slide: add what is missing, or rename it"
        )
    found, field = take_fields(found, within, slide)
    kept, counts = class_map.apply(found)
    objects = by_field([(a.geometry, name, a.iscrowd) for a, name in kept], field, counts)
    areas = shapely.area([geometry for geometry, _, ignored in objects if not ignored])
    if len(areas) and check_width:
        width_um = 2 * math.sqrt(np.median(areas) / math.pi) * mpp
        if not PLAUSIBLE_WIDTH_UM[0] <= width_um <= PLAUSIBLE_WIDTH_UM[1]:
            what = (
                f"objects whose median width is {width_um:.0f} um at {mpp:.4g} um per pixel, "
                "which no glomeruli have (is the slide's resolution right? if not: --override-slide-mpp)"
            )
            counts[what] += len(areas)
    return objects, found, Counter({what: n for what, n in counts.items() if n}), field
