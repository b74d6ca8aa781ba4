"""From slides and their annotations to a dataset: tiles that are read from the slide when needed.

The tiles are COCO image entries with a ``region`` (see datasets/README.md). They can be registered
as they are, or written to ``annotations_<split>.json``, which the registrar of folders then finds.
``mhkd tile`` does the latter for many slides (:mod:`mhkd.tiling.tile`).
"""

import functools
import inspect
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..annotations import ClassMap, find_annotations
from ..coco.read import coco_to_dicts
from ..coco.rle import rectangle_rle
from ..errors import InputError
from ..files import write_text
from ..slides.file_names import slide_name
from ..slides.slide import slide_with_mpp
from ..system import relative_path
from .layout import Layout, lay_tiles
from .objects import read_objects
from .splits import split_by_slide

__all__ = ["register_slides", "slides_to_coco", "split_by_slide", "write_coco"]
logger = logging.getLogger(__name__)


def register_slides(
    name: str,
    slides: Sequence[str],
    annotations_dir: str | None = None,
    *,
    mpp: float,
    lr_factor: int,
    classes: Sequence[str] | Mapping[str, str],
    **options: Any,
) -> None:
    """Register annotated slides as a Detectron2 dataset of tiles.

    Nothing is read before the dataset is used; then the tiles are laid out once, and their pixels
    are read from the slides by :func:`mhkd.slides.views.read_view`. A dataset of that name is
    replaced.

    Args:
        name: for ``cfg.DATASETS``.
        slides, annotations_dir, mpp, lr_factor, classes, **options: see :func:`slides_to_coco`.
    """
    from detectron2.data import DatasetCatalog, MetadataCatalog  # laying tiles does without

    thing_classes = _classes(classes)[1]
    slides = [os.path.abspath(s) for s in slides]
    options = {"mpp": mpp, "lr_factor": lr_factor, "classes": classes, **options}
    inspect.signature(slides_to_coco).bind(slides, annotations_dir, **options)  # a misspelt option
    content = functools.cache(lambda: slides_to_coco(slides, annotations_dir, **options))

    def load() -> list[dict[str, Any]]:
        return coco_to_dicts(content(), name, "", id_map)

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
    slides: Sequence[str],
    annotations_dir: str | None = None,
    *,
    mpp: float,
    lr_factor: int,
    tile_size_px: int,
    classes: Sequence[str] | Mapping[str, str],
    overlap_um: float = 0.0,
    slide_mpp: float | None = None,
    override_slide_mpp: float | None = None,
    min_visible: float = 0.5,
    keep_empty: float = 1.0,
    tissue_only: bool = True,
    within: Sequence[str] = (),
) -> dict[str, Any]:
    """Lay tiles over slides on a grid and put the annotations into them.

    Args:
        slides: slide files, no two of the same name.
        annotations_dir: folder with the annotations of every slide, see
            :func:`mhkd.annotations.find_annotations`; by default each slide's own folder.
        classes: classes of the dataset, as the annotations call them,
            or a map from the annotations' names (None: objects without a class) to the dataset's.
            Objects of other classes are left out, with a warning.
        slide_mpp: base resolution of slides that do not record it.
        override_slide_mpp: base resolution of the slides, instead of what they record.
        mpp, lr_factor, tile_size_px, overlap_um, min_visible, keep_empty, tissue_only: see
            :class:`mhkd.tiling.layout.Layout`.
        within: classes of fields; only what is in one is annotated, see :mod:`mhkd.tiling.fields`.

    Returns:
        COCO content; the slides' paths are as they were given.

    Raises:
        InputError: a slide or annotation file is missing or damaged, a slide has no resolution, a
            parameter makes no sense, or no object is of any of the classes.
    """
    layout = Layout(
        mpp=mpp,
        lr_factor=lr_factor,
        tile_size_px=tile_size_px,
        overlap_um=overlap_um,
        min_visible=min_visible,
        keep_empty=keep_empty,
        tissue_only=tissue_only,
    )
    class_map, names = _classes(classes)
    check_names(slides)
    parts: list[dict[str, Any]] = []
    others: Counter[str] = Counter()
    for path in slides:
        slide, remark = slide_with_mpp(path, slide_mpp, override_slide_mpp)
        if remark:
            logger.warning("%s: %s", path, remark)
        file = find_annotations(path, annotations_dir)
        found, _, counts, field = read_objects(slide, file, class_map, within=within)
        others += counts
        warn = functools.partial(logger.warning, "%s: %s", path)
        tiles = list(lay_tiles(slide, found, layout, warn, field))
        parts.append({"slide_file": path, "slide_mpp": slide.slide_mpp, "tiles": tiles})
    records = list(coco_records(parts, {c: k + 1 for k, c in enumerate(names)}))
    annotations = [a for _, found in records for a in found]
    if others:
        left_out = ", ".join(f"{n} {what}" for what, n in sorted(others.items()))
        if not annotations:
            raise InputError(
                f"no annotated object is of the classes {names} ({left_out}): correct the class names"
            )
        logger.warning("%s", left_out)
    return {
        "images": [image for image, _ in records],
        "annotations": annotations,
        "categories": [{"id": k + 1, "name": c} for k, c in enumerate(names)],
    }


def coco_records(
    parts: Iterable[Mapping[str, Any]], category_ids: Mapping[str, int]
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Number the tiles of slides and their objects.

    Args:
        parts: one a slide: ``slide_file``, ``tiles`` (from
            :func:`mhkd.tiling.layout.lay_tiles`; of tiles that are files also ``file_name`` and
            ``lr_file_name``, and ``more`` keys of the image), optionally ``slide_mpp`` and ``patient``.
        category_ids: id of each class.

    Yields:
        A COCO image entry and its annotations; those of what lies outside the annotated fields, crowds of
        every class, have ``outside_field`` 1.
    """
    image_id = annotation_id = 0
    for part in parts:
        name = slide_name(part["slide_file"])
        for tile in part["tiles"]:
            image_id += 1
            place = {k: tile[k] for k in ("x_px", "y_px", "mpp")}
            region = {"slide_file": part["slide_file"], **place}
            if part.get("slide_mpp") is not None:
                region["slide_mpp"] = part["slide_mpp"]
            image = {
                "id": image_id,
                "file_name": tile.get("file_name", part["slide_file"]),
                "width": tile["width"],
                "height": tile["height"],
                "mpp": tile["mpp"],
                "slide": name,
            }
            if part.get("patient"):
                image["patient"] = part["patient"]
            if "file_name" in tile:
                image["lr_file_name"] = tile["lr_file_name"]
                image["origin"] = region  # for the reader: what is trained on are the files
                image.update(tile.get("more", {}))
            else:
                image["region"] = region
            annotations: list[dict[str, Any]] = []
            for obj in tile["objects"]:
                annotation_id += 1
                keys = {"id": annotation_id, "image_id": image_id}
                keys["category_id"] = category_ids[obj["class"]]
                for key in ("bbox", "area", "iscrowd", "segmentation", "object_px"):
                    if key in obj:
                        keys[key] = obj[key]
                annotations.append(keys)
            # A crowd has a class, as a detection does: what is not annotated may be of any.
            for bbox in tile.get("outside", ()):
                mask = rectangle_rle(bbox, (tile["height"], tile["width"]))
                for category_id in category_ids.values():
                    annotation_id += 1
                    annotations.append(
                        {"id": annotation_id, "image_id": image_id, "category_id": category_id,
                         "bbox": list(bbox), "area": bbox[2] * bbox[3], "iscrowd": 1, "segmentation": mask,
                         "outside_field": 1}
                    )  # fmt: skip
            yield image, annotations


def write_coco(content: Mapping[str, Any], json_file: str | os.PathLike[str]) -> None:
    """Write COCO content, with paths relative to the file's folder.

    Args:
        content: from :func:`slides_to_coco`.
        json_file: ``<root>/<name>/annotations_<split>.json`` for the registrar to find it.
    """
    folder = os.path.dirname(os.path.abspath(json_file))
    images = []
    for image in content["images"]:
        path = relative_path(image["region"]["slide_file"], folder)
        region = {**image["region"], "slide_file": path}
        images.append({**image, "file_name": path, "region": region})
    write_text(json.dumps({**content, "images": images}), json_file)


def check_names(slides: Sequence[str]) -> None:
    """Annotations and splits find slides by their names.

    Raises:
        InputError: there are no slides, or two of the same name.
    """
    twice = [n for n, k in Counter(map(slide_name, slides)).items() if k > 1]
    if twice or not slides:
        fault = f"two slides are called {twice[0]!r}: rename one" if twice else "there are no slides"
        raise InputError(f"{fault}: annotations and splits go by the slides' names")


def _classes(classes: Sequence[str] | Mapping[str, str]) -> tuple[ClassMap, list[str]]:
    """The class map that drops whatever is not mentioned, and the dataset's classes in order."""
    mapping = dict(classes) if isinstance(classes, Mapping) else {c: c for c in classes}
    if isinstance(classes, str) or not mapping or not all(mapping.values()):
        raise InputError(f"classes is {classes!r}: it must be a list of names, or a map to names")
    names = list(dict.fromkeys(mapping.values()))
    if isinstance(classes, Mapping):
        return ClassMap({"*": None, **mapping}), names
    return ClassMap(classes=names), names
