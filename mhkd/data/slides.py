"""From slides and their annotations to a dataset: tiles on a grid, read from the slide when needed.

The tiles are COCO image entries with a ``region`` (see datasets/README.md). They can be registered
as they are, or written to ``annotations_<split>.json``, which the registrar of folders then finds.
"""

import functools
import inspect
import json
import logging
import math
import os
import random
from collections import Counter
from collections.abc import Mapping

from mhkd.data.coco import coco_to_dicts
from mhkd.errors import InputError
from mhkd.wsi.geojson import read_geojson
from mhkd.wsi.slide import open_slide
from mhkd.wsi.tissue import tissue_mask

import shapely
from detectron2.data import DatasetCatalog, MetadataCatalog

logger = logging.getLogger(__name__)

MASK_PX_PER_TILE = 32  # resolution of the tissue mask
MIN_TISSUE = 0.05  # share of a tile
MIN_OBJECT_PX = 1.0  # width and height of an object, or of what a tile shows of it


def register_slides(name, slides, annotations_dir=None, *, mpp, lr_factor, classes, **options):
    """Register slides with QuPath annotations as a Detectron2 dataset of tiles.

    Nothing is read before the dataset is used; then the tiles are laid out once, and their pixels
    are read from the slides by :func:`mhkd.data.views.read_view`. A dataset of that name is
    replaced.

    Args:
        name (str): for ``cfg.DATASETS``.
        slides, annotations_dir, mpp, lr_factor, classes, **options: see :func:`slides_to_coco`.
    """
    class_map = _class_map(classes)
    slides = [os.path.abspath(s) for s in slides]
    options = {"mpp": mpp, "lr_factor": lr_factor, "classes": classes, **options}
    inspect.signature(slides_to_coco).bind(slides, annotations_dir, **options)  # a misspelt option
    content = functools.cache(lambda: slides_to_coco(slides, annotations_dir, **options))

    def load():
        return coco_to_dicts(content(), name, "", id_map)

    thing_classes = list(dict.fromkeys(class_map.values()))
    id_map = {k + 1: k for k in range(len(thing_classes))}
    if name in DatasetCatalog:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(
        thing_classes=thing_classes,
        thing_dataset_id_to_contiguous_id=id_map,
        evaluator_type="coco",
    )


def slides_to_coco(
    slides,
    annotations_dir=None,
    *,
    mpp,
    lr_factor,
    tile_size_px,
    classes,
    overlap_um=0.0,
    slide_mpp=None,
    min_visible=0.5,
    keep_empty=1.0,
    tissue_only=True,
):
    """Lay tiles over slides and put the annotations into them.

    Args:
        slides (list[str]): slide files, no two of the same name.
        annotations_dir (str, optional): folder with ``<slide's name>.geojson`` for every slide; by
            default each slide's own folder.
        mpp (float): HR resolution of the tiles, micrometres per pixel.
        lr_factor (int): HR pixels per LR pixel; must divide ``tile_size_px``.
        tile_size_px (int): side of a tile in HR pixels. Tiles that overhang the slide are white
            there.
        classes (list[str] or dict[str, str]): classes of the dataset, as the annotations call them,
            or a map from the annotations' names (None: objects without a class) to the dataset's.
            Objects of other classes are left out, with a warning.
        overlap_um (float): overlap of neighbouring tiles in micrometres.
        slide_mpp (float, optional): base resolution of slides that do not record it.
        min_visible (float): an object cut by a tile's edge counts in that tile if at least this
            share of its area is visible; otherwise it is marked as ignored (``iscrowd`` 1).
        keep_empty (float): share of the tiles without an object that are kept, evenly spread.
        tissue_only (bool): leave out empty tiles that show hardly any tissue.

    Returns:
        dict: COCO content; the slides' paths are as they were given.

    Raises:
        InputError: a slide or annotation file is missing or damaged, a slide has no resolution, a
            parameter makes no sense, or no object is of any of the classes.
    """
    grid = _Grid(mpp, tile_size_px, overlap_um, lr_factor)
    class_map = _class_map(classes)
    category_ids = {c: k + 1 for k, c in enumerate(dict.fromkeys(class_map.values()))}
    for what, share in (("min_visible", min_visible), ("keep_empty", keep_empty)):
        if not 0 <= share <= 1:
            raise InputError(f"{what} is {share}: it must be a share between 0 and 1")
    twice = [n for n, k in Counter(map(slide_name, slides)).items() if k > 1]
    if twice or not slides:
        fault = (
            f"two slides are called {twice[0]!r}: rename one" if twice else "there are no slides"
        )
        raise InputError(f"{fault}: annotations and splits go by the slides' names")

    images, annotations, others = [], [], Counter()
    for path in slides:
        slide = open_slide(path, slide_mpp)
        objects = []
        for geometry, class_name in read_geojson(annotation_file(path, annotations_dir)):
            if class_name in class_map:
                objects.append((geometry, category_ids[class_map[class_name]]))
            else:
                others[class_name] += 1
        objects = _on_slide(objects, slide, path)
        empty = 0
        for region, found in _tiles(slide, objects, grid, min_visible, tissue_only):
            if not found:
                empty += 1  # every (1 / keep_empty)th of them
                if math.floor(empty * keep_empty) == math.floor((empty - 1) * keep_empty):
                    continue
            if slide_mpp is not None:
                region["slide_mpp"] = slide_mpp
            image = {
                "id": len(images) + 1,
                "file_name": path,
                "width": tile_size_px,
                "height": tile_size_px,
                "mpp": mpp,
                "slide": slide_name(path),
                "region": {"slide_file": path, **region},
            }
            images.append(image)
            for obj in found:
                annotations.append({"id": len(annotations) + 1, "image_id": image["id"], **obj})
    _report_others(others, class_map, bool(annotations))
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": c} for c, i in category_ids.items()],
    }


def write_coco(content, json_file):
    """Write COCO content, with paths relative to the file's folder.

    Args:
        content (dict): from :func:`slides_to_coco`.
        json_file (str): ``<root>/<name>/annotations_<split>.json`` for the registrar to find it.
    """
    folder = os.path.dirname(os.path.abspath(json_file))
    os.makedirs(folder, exist_ok=True)
    images = []
    for image in content["images"]:
        path = os.path.relpath(image["region"]["slide_file"], folder)
        region = {**image["region"], "slide_file": path}
        images.append({**image, "file_name": path, "region": region})
    temporary = f"{json_file}.{os.getpid()}.tmp"
    with open(temporary, "w", encoding="utf-8") as f:
        json.dump({**content, "images": images}, f)
    os.replace(temporary, json_file)


def split_by_slide(slides, sizes, seed=0):
    """Divide slides into splits at random; the order in which they are given does not matter.

    Args:
        slides (list[str]): slide files.
        sizes (dict[str, float] or dict[str, int]): share of each split (summing to 1; each split
            gets at least one slide) or its number of slides (the rest is left out).
        seed (int): the same seed gives the same split.

    Returns:
        dict[str, list[str]]: slides of each split, disjoint, sorted.

    Raises:
        InputError: fewer slides than the splits need, or shares that do not sum to 1.
    """
    slides = sorted(set(slides))
    if all(isinstance(v, int) for v in sizes.values()):
        counts = dict(sizes)
    else:
        if abs(sum(sizes.values()) - 1) > 1e-6 or min(sizes.values()) < 0:
            raise InputError(f"the shares of the splits, {dict(sizes)}, must sum to 1")
        counts = {k: max(1, math.floor(v * len(slides))) for k, v in sizes.items()}
        by_remainder = sorted(sizes, key=lambda k: sizes[k] * len(slides) - counts[k], reverse=True)
        for k in by_remainder[: max(0, len(slides) - sum(counts.values()))]:
            counts[k] += 1
        largest = max(counts, key=counts.get)
        counts[largest] -= max(0, sum(counts.values()) - len(slides))
    if min(counts.values()) < 0 or sum(counts.values()) > len(slides) or 0 in counts.values():
        raise InputError(f"{len(slides)} slides cannot be divided into {dict(sizes)}: add slides")
    random.Random(seed).shuffle(slides)
    splits, first = {}, 0
    for split, count in counts.items():
        splits[split] = sorted(slides[first : first + count])
        first += count
    return splits


def slide_name(path):
    """A slide's name: its file name without the suffix (".ome.tiff" counts as one)."""
    stem = os.path.splitext(os.path.basename(path))[0]
    return stem[:-4] if stem.lower().endswith(".ome") else stem


def annotation_file(slide_path, annotations_dir=None):
    """Where the annotations of a slide are expected."""
    folder = annotations_dir or os.path.dirname(slide_path)
    return os.path.join(folder, slide_name(slide_path) + ".geojson")


class _Grid:
    def __init__(self, mpp, tile_size_px, overlap_um, lr_factor):
        if not (math.isfinite(mpp) and mpp > 0):
            raise InputError(f"mpp is {mpp}: it must be a positive number")
        if tile_size_px < 1 or lr_factor < 1 or tile_size_px % lr_factor:
            raise InputError(
                f"tile_size_px {tile_size_px} must be a multiple of lr_factor {lr_factor}"
            )
        step_px = tile_size_px - round(overlap_um / mpp)
        if not 1 <= step_px <= tile_size_px:
            raise InputError(
                f"overlap_um is {overlap_um}: it must be at least 0 and less than a tile, "
                f"{tile_size_px * mpp:g} um"
            )
        self.mpp, self.tile_size_px, self.step_px = mpp, tile_size_px, step_px

    def starts(self, n_px):
        """Where tiles begin along an axis of n_px HR pixels, so that together they cover it."""
        count = max(1, math.ceil((n_px - self.tile_size_px) / self.step_px - 1e-9) + 1)
        return [k * self.step_px for k in range(count)]


def _tiles(slide, objects, grid, min_visible, tissue_only):
    """Yields (region without its slide_file, annotations in the tile) row by row."""
    base_px = [grid.mpp / m for m in slide.mpp_xy]  # base pixels per HR pixel, along x and y
    size_hr = [n / b for n, b in zip(slide.size_px, base_px, strict=True)]
    geometries = [
        shapely.transform(geometry, lambda xy: xy / base_px) for geometry, _ in objects
    ]  # in HR pixels of the slide
    tree = shapely.STRtree(geometries)
    mask_mpp = grid.mpp * grid.tile_size_px / MASK_PX_PER_TILE
    mask = tissue_mask(slide, mask_mpp) if tissue_only else None
    for y in grid.starts(size_hr[1]):
        for x in grid.starts(size_hr[0]):
            tile = shapely.box(x, y, x + grid.tile_size_px, y + grid.tile_size_px)
            found = []
            for k in sorted(tree.query(tile)):
                obj = _clipped(geometries[k], tile, x, y, min_visible)
                if obj:
                    found.append({"category_id": objects[k][1], **obj})
            if not found and mask is not None:
                i, j = (round(v * grid.mpp / mask_mpp) for v in (y, x))
                part = mask[i : i + MASK_PX_PER_TILE, j : j + MASK_PX_PER_TILE]
                if part.sum() < MIN_TISSUE * MASK_PX_PER_TILE**2:
                    continue
            yield {"x_px": x * base_px[0], "y_px": y * base_px[1], "mpp": grid.mpp}, found


def _clipped(geometry, tile, x, y, min_visible):
    """COCO annotation of the part of an object that lies in a tile; None if there is none."""
    part = geometry if tile.covers(geometry) else geometry.intersection(tile)
    if not part.area > 0:
        return None
    part = shapely.transform(part, lambda xy: xy - (x, y))
    left, top, right, bottom = part.bounds
    visible = part.area / geometry.area
    if min(right - left, bottom - top) < MIN_OBJECT_PX:
        return None
    outlines = [
        [round(v, 1) for v in shapely.get_coordinates(p.exterior)[:-1].ravel().tolist()]
        for p in shapely.get_parts(part)
        if p.area > 0
    ]
    return {
        "bbox": [round(v, 2) for v in (left, top, right - left, bottom - top)],
        "area": round(part.area, 1),
        "iscrowd": int(visible < min_visible),
        "segmentation": outlines,
    }


def _on_slide(objects, slide, path):
    slide_box = shapely.box(0, 0, *slide.size_px)
    inside = [(g, c) for g, c in objects if g.intersects(slide_box)]
    if objects and not inside:
        raise InputError(
            f"{path}: all {len(objects)} of its annotated objects lie outside the slide: are they "
            "of "
            "another slide, or not in base pixels?"
        )
    if len(inside) < len(objects):
        logger.warning("%s: %d objects outside the slide", path, len(objects) - len(inside))
    return inside


def _class_map(classes):
    class_map = dict(classes) if isinstance(classes, Mapping) else {c: c for c in classes}
    if isinstance(classes, str) or not class_map or not all(class_map.values()):
        raise InputError(f"classes is {classes!r}: it must be a list of names, or a map to names")
    return class_map


def _report_others(others, class_map, any_found):
    found = ", ".join(f"{n} of class {c!r}" for c, n in sorted(others.items(), key=str))
    if not any_found and others:
        raise InputError(
            f"no annotated object is of the classes {sorted(map(str, class_map))}; there are "
            f"{found}: "
            "correct the class names"
        )
    if others:
        logger.warning("objects left out: %s", found)
