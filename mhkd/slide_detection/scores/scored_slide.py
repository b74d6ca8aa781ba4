"""Slides that ``mhkd detect`` has finished, beside their annotations."""

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from ...annotations import ClassMap, find_annotations, is_named_like
from ...annotations.class_map import REST
from ...errors import InputError
from ...evaluation.detections import Detections
from ...slides.slide import Slide
from ...tiling.fields import outside, shares_inside
from ...tiling.objects import read_objects
from ..exports import slide_image_id
from ..finished import FinishedSlide

ONE_CLASS = "glomerulus"
NO_CLASS = "(no class)"
MAX_STEPS = 256  # of an annotated field's edge, along a slide


@dataclass(frozen=True, eq=False)
class ScoredSlide:
    """What was found on a slide and what is there.

    Attributes:
        name: the slide's file name.
        slide: the slide.
        tissue_mm2: its tissue, or the area of the annotated fields; None: unknown.
        found: in base pixels; only what is in the annotated fields.
        boxes_px: of the annotated objects, float64, shape (M, 4), XYXY in base pixels.
        classes: of the annotated objects, int64, shape (M,), index into ``found.class_names``.
        ignored: bool, shape (M,): regions (crowds) in which nothing is scored.
        counts: what was left out of the annotations or is odd, in words.
        image_id: in COCO files; None: its position among the slides.
        doubt: why it may be the wrong slide; None: it is not doubted.
        outside_px: what lies outside the annotated fields, XYWH in base pixels.
    """

    name: str
    slide: Slide
    tissue_mm2: float | None
    found: Detections
    boxes_px: np.ndarray
    classes: np.ndarray
    ignored: np.ndarray
    counts: Counter[str]
    image_id: int | None = None
    doubt: str | None = None
    outside_px: Sequence[tuple[int, int, int, int]] = ()


def load_slides(
    finished: Sequence[FinishedSlide],
    annotations: str,
    class_map: ClassMap,
    slides_dir: str | None = None,
    one_class: bool = False,
    lowest_score: float = 0.0,
    damaged: Mapping[str, str] | None = None,
    within: Sequence[str] = (),
) -> tuple[list[ScoredSlide], dict[str, str], dict[str, str]]:
    """Read detections and annotations.

    Args:
        finished: from :func:`mhkd.slide_detection.finished.find_finished`.
        annotations: folder, or one file.
        class_map: from the annotations' class names to the student's.
        slides_dir: where the slides are now.
        one_class: all classes of both sides are one, "glomerulus".
        lowest_score: detections below it are left out.
        damaged: why other slides cannot be used, by name.
        within: classes of fields: a detection of which half or more lies outside them is left out.

    Returns:
        Slides to score; why others have no annotations, by name; and why others cannot be used. A slide whose
        annotation file is there and empty is one without glomeruli.

    Raises:
        InputError: nothing can be scored, students of different classes, or an annotated class that the
            student does not know.
    """
    class_names = finished[0].class_names
    for other in finished:
        if other.class_names != class_names:
            raise InputError(
                f"{other.folder}: its student finds {', '.join(other.class_names)}, that of "
                f"{finished[0].folder} {', '.join(class_names)}: score them apart"
            )
    known = (ONE_CLASS,) if one_class else class_names
    class_map = _with_the_rest(class_map, one_class)
    slides: list[ScoredSlide] = []
    unannotated: dict[str, str] = {}
    failed, unknown = dict(damaged or {}), Counter[str]()
    for one in finished:
        try:
            slide = one.open_slide(slides_dir)
            found = one.detections()
            found = found.select(found.scores >= np.float32(lowest_score))
            doubt = one.doubt(slide.path)
        except InputError as e:
            failed[one.name] = str(e)
            continue
        try:
            path = find_annotations(slide.path, annotations)
        except InputError as e:
            unannotated[one.name] = str(e)
            continue
        own = is_named_like(path, slide.path)
        only = len(finished) == 1 and not os.path.isdir(annotations)
        try:
            objects, read, counts, field = read_objects(
                slide, path, class_map, only_slide=only, within=within
            )
        except InputError as e:
            (failed if own or only else unannotated)[one.name] = str(e)
            continue
        if one_class:
            with_class = [o for o in objects if o[1] != NO_CLASS]
            if with_class and len(with_class) < len(objects):  # what has none is no glomerulus then
                counts["objects without a class left out"] += len(objects) - len(with_class)
                objects = with_class
            objects = [(geometry, ONE_CLASS, ignored) for geometry, _, ignored in objects]
            found = Detections(found.boxes_px, found.scores, np.zeros_like(found.classes), known)
        tissue_mm2, around = one.summary.get("tissue_mm2"), []
        if field is not None:
            inside = shares_inside(shapely.box(*found.boxes_px.T), field) > 0.5
            counts["detections outside the annotated fields left out"] += int((~inside).sum())
            found = found.select(inside)
            tissue_mm2 = round(field.area * math.prod(slide.mpp_xy) / 1e6, 4)
            around = outside(field, (0, 0, *slide.size_px), slide.mpp, MAX_STEPS)
        unknown.update(name for _, name, _ in objects if name not in known)
        geometry = [o[0] for o in objects]
        slides.append(
            ScoredSlide(
                name=one.name,
                slide=slide,
                tissue_mm2=tissue_mm2,
                found=found,
                boxes_px=np.array(shapely.bounds(geometry), np.float64).reshape(-1, 4),
                classes=np.array([known.index(n) if n in known else -1 for _, n, _ in objects], np.int64),
                ignored=np.array([i for _, _, i in objects], bool),
                counts=counts + read.counts,
                image_id=slide_image_id(one.name),
                doubt=doubt,
                outside_px=around,
            )
        )
    if unknown:
        raise InputError(
            f"the annotations have the classes {', '.join(sorted(unknown))}, which are not among those that "
            f"the student finds, {', '.join(class_names)}: say with --class from=to which of the student's "
            "each is ('' stands for objects without a class), drop it with --class from=, or score all "
            "classes as one with --one-class"
        )
    if not slides:
        reasons = "; ".join((*failed.values(), *unannotated.values()))
        raise InputError(f"{annotations}: no slide can be scored: {reasons}")
    return slides, unannotated, failed


def coco_of(slides: Sequence[ScoredSlide]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Slides as images of a COCO file, and their detections as COCO results.

    Returns:
        Boxes in base pixels; image ids are those of the slides' COCO results,
        category ids count from 1.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    class_names = slides[0].found.class_names
    results: list[dict[str, Any]] = []
    for position, one in enumerate(slides, 1):
        k = one.image_id or position
        width, height = one.slide.size_px
        images.append({"id": k, "file_name": one.name, "width": width, "height": height})
        sizes = np.hstack([one.boxes_px[:, :2], one.boxes_px[:, 2:] - one.boxes_px[:, :2]])
        for bbox, c, ignored in zip(sizes.tolist(), one.classes.tolist(), one.ignored):
            annotations.append(
                {"id": len(annotations) + 1, "image_id": k, "category_id": c + 1, "bbox": bbox,
                 "area": bbox[2] * bbox[3], "iscrowd": int(ignored)}
            )  # fmt: skip
        for x, y, w, h in one.outside_px:
            region = {"image_id": k, "bbox": [x, y, w, h], "area": w * h, "iscrowd": 1}
            for c in range(len(class_names)):
                annotations.append({"id": len(annotations) + 1, "category_id": c + 1, **region})
        boxes = one.found.boxes_px
        sizes = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
        for bbox, c, score in zip(sizes.tolist(), one.found.classes.tolist(), one.found.scores.tolist()):
            results.append({"image_id": k, "category_id": c + 1, "bbox": bbox, "score": score})
    categories = [{"id": c + 1, "name": name} for c, name in enumerate(class_names)]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def _with_the_rest(class_map: ClassMap, one_class: bool) -> ClassMap:
    """Names that the map does not mention are kept, so that they can be told."""
    mapping = dict(class_map.mapping)
    if REST not in mapping:
        if one_class:
            mapping[REST] = ONE_CLASS
        mapping.setdefault("", NO_CLASS)
    return ClassMap(mapping)
