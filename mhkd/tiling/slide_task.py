"""What ``mhkd tile`` does with one slide; one task of one process.

The result, a *part* of the dataset, is kept in ``<work>/<key>.json``, where the key stands for the
content of the slide and of its annotations and for every parameter. A part that is there is not
made again, neither after an interruption nor when slides are added to a finished dataset.
"""

import hashlib
import json
import logging
import os
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from PIL import Image

from ..annotations import ClassMap, find_annotations, read_with
from ..errors import InputError
from ..files import WriteError, read_json, replacing_folder, sha256, write_json
from ..slides.file_names import slide_name
from ..slides.slide import Slide, open_slide, slide_with_mpp
from ..slides.slide_table import mpp_of, row_of
from ..slides.views import read_view
from ..version import __version__
from .cut import Cut, cut_images
from .layout import Layout, lay_tiles
from .objects import SlideObject, read_objects


@dataclass(frozen=True)
class TileOptions:
    """What happens to every slide.

    Attributes:
        layout: where tiles lie, or how images of a class each are cut.
        class_map: names of classes.
        annotations: folder, or one file; default: beside each slide.
        slide_mpp: base resolution of slides that do not record it, of
            all or by file name.
        override_slide_mpp: the same, instead of what slides record.
        point_diameter_um: points become circles of this size.
        tiles: "regions", read from the slides when they are used, or "png", HR and LR files,
            each resampled from the slide's base level.
        lr_filter: of the LR files, "area" or "lanczos".
        verify: read every tile once, so that damage shows now.
        annotated: False: no annotations are looked for, and tiles are without objects.
        labels: the class of all images of a slide, by its file name, whatever is annotated.
        within: classes of fields: only what is in one is annotated, see :mod:`mhkd.tiling.fields`.
    """

    layout: Layout | Cut
    class_map: ClassMap
    annotations: str | None = None
    slide_mpp: float | dict[str, float] | None = None
    point_diameter_um: float | None = None
    tiles: str = "regions"
    lr_filter: str = "area"
    verify: bool = False
    annotated: bool = True
    override_slide_mpp: float | dict[str, float] | None = None
    labels: dict[str, str] | None = None
    within: tuple[str, ...] = ()

    @property
    def lr_factor(self) -> int:
        """Of LR files; images with a class each have none."""
        return 1 if isinstance(self.layout, Cut) else self.layout.lr_factor

    def of_slide(self, path: str) -> "TileOptions":
        """With the resolutions and the class that are given for one slide."""
        name = self.labels and row_of(self.labels, path)
        return replace(
            self,
            labels=None if self.labels is None else ({path: name} if name else {}),
            slide_mpp=mpp_of(self.slide_mpp, path),
            override_slide_mpp=mpp_of(self.override_slide_mpp, path),
        )

    def parameters(self) -> dict[str, Any]:
        """All that decides about the result, apart from the files' contents."""
        own = ("slide_mpp", "override_slide_mpp", "point_diameter_um", "tiles", "lr_filter", "verify")
        classes = {"class_map": self.class_map.mapping, "classes": self.class_map.classes}
        labels = {} if self.labels is None else {"labels": self.labels}
        within = {"within": list(self.within)} if self.within else {}
        return {**asdict(self.layout), **classes, **{k: getattr(self, k) for k in own}, **labels, **within}


def tile_slide(path: str, work: str, options: TileOptions, only_slide: bool = False) -> dict[str, Any]:
    """Make the part of one slide, or find it made.

    Args:
        path: slide.
        work: work folder.
        options: how.
        only_slide: there is no other.

    Returns:
        The part without its tiles: ``slide_file``, ``annotation_file``, ``part_file`` (the
        whole), ``sha256``, ``annotation_sha256``, ``format`` (None without annotations, as is
        ``annotation_file``), ``size_px``, ``mpp`` (None: not known), ``slide_mpp`` (None where the slide
        records it), ``annotated`` (objects, or images, of each class), ``counts`` (what was left out or is
        odd, in words; 0 of what is said of the slide), ``folder`` (of its pictures, or None). If the slide or
        its annotations cannot be used, ``slide_file`` and ``error``.

    Raises:
        WriteError: the work folder cannot be written to, which is no fault of the slide.
    """
    try:
        with _quiet_readers():
            annotations = find_annotations(path, options.annotations) if options.annotated else None
            sums = {"sha256": sha256(path), "annotation_sha256": annotations and sha256(annotations)}
            names = annotations and read_with(annotations)
            key = _key(path, {**sums, "names_sha256": sha256(names)} if names else sums, options)
            part_file = os.path.join(work, f"{key}.json")
            folder = f"{slide_name(path)}_{key[:8]}" if options.tiles == "png" else None
            if not _is_made(part_file, work, folder):
                explicit = only_slide and not os.path.isdir(options.annotations or ".")
                made = {**sums, **_make_part(path, annotations, explicit, folder, work, options)}
                write_json({**made, "crc32": _crc32(made)}, part_file, indent=None)
        part = read_json(part_file, dict, "give the same command again")
    except WriteError:
        raise
    except Exception as e:  # whatever is wrong with one slide, the others are not lost
        fault = str(e) if isinstance(e, InputError) else f"{path}: {type(e).__name__}: {e}"
        return {"slide_file": path, "error": fault}
    del part["tiles"], part["crc32"]
    return {**part, "slide_file": path, "annotation_file": annotations, "part_file": part_file}


def _is_made(part_file: str, work: str, folder: str | None) -> bool:
    """Whether the part is there as it was written, and its pictures: in the work folder, or published.

    Args:
        folder: of its pictures, if it has any.
    """
    try:
        part = read_json(part_file, dict, "")
    except InputError:
        return False
    if part.pop("crc32", None) != _crc32(part) or part.get("folder") != folder:
        return False
    places = (work, os.path.join(os.path.dirname(work), "images"))
    return folder is None or any(os.path.isdir(os.path.join(p, folder)) for p in places)


def _crc32(part: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(part).encode())


def _make_part(
    path: str, annotations: str | None, explicit: bool, folder: str | None, work: str, options: TileOptions
) -> dict[str, Any]:
    cut = options.layout if isinstance(options.layout, Cut) else None
    slide_class = None if options.annotated else ""
    if options.labels is not None:
        slide_class = options.labels.get(path)
        if slide_class is None:
            raise InputError(f"{path}: has no row in the table of --labels: add it")
    given = mpp_of(options.slide_mpp, path), mpp_of(options.override_slide_mpp, path)
    slide, remark = slide_with_mpp(path, *given)
    mpp_is_known = slide.slide_mpp is not None or slide.pixels.mpp is not None
    if cut and not (mpp_is_known or cut.in_um or options.point_diameter_um):
        slide = open_slide(path, 1.0)  # what is cut is told in pixels
    objects: list[SlideObject] = []
    counts: Counter[str] = Counter()
    annotation_format = field = None
    if annotations:
        objects, read, counts, field = read_objects(
            slide, annotations, options.class_map, options.point_diameter_um, explicit, cut is None,
            options.within,
        )  # fmt: skip
        counts, annotation_format = counts + read.counts, read.format
    if remark:
        counts[remark] = 0
    if isinstance(options.layout, Cut):
        tiles = list(cut_images(slide, objects, options.layout, slide_class, counts, mpp_is_known))
        found = Counter(t["class"] for t in tiles if t["class"])
    else:
        tiles = list(lay_tiles(slide, objects, options.layout, lambda text: counts.update({text: 0}), field))
        found = Counter(name for _, name, _ in objects)
    shown = (o for t in tiles for o in t.get("objects", ()))
    large = {(o["class"], *o["object_px"]) for o in shown if "object_px" in o}
    for name, width, height in sorted(large):
        size = f"{width:.0f}x{height:.0f} px, of the class {name!r}"
        what = (
            f"objects larger than a tile ({size}): a region of interest? Drop it with --class, or give its "
        )
        counts[f"{what}class to --within if only what lies in it is annotated"] += 1
    if folder:
        _write_pictures(tiles, slide, os.path.join(work, folder), options)
    elif options.verify:
        for tile in tiles:
            read_view(_entry(tile, slide), "hr")
    return {
        "format": annotation_format,
        "size_px": list(slide.size_px),
        "mpp": list(slide.mpp_xy) if mpp_is_known else None,
        "slide_mpp": slide.slide_mpp if mpp_is_known else None,
        "annotated": dict(sorted(found.items())),
        "counts": dict(sorted(counts.items())),
        "folder": folder,
        "tiles": tiles,
    }


def _write_pictures(tiles: list[dict[str, Any]], slide: Slide, folder: str, options: TileOptions) -> None:
    """Adds ``file_name`` and ``lr_file_name``; the folder is there once all files are."""
    with replacing_folder(folder) as temporary:
        for number, tile in enumerate(tiles, 1):
            entry = _entry(tile, slide)
            for key, view, name in (
                ("file_name", "hr", f"{number:06d}.png"),
                ("lr_file_name", "lr", f"{number:06d}_lr.png"),
            ):
                pixels = read_view(entry, view, options.lr_factor, options.lr_filter)
                Image.fromarray(pixels).save(temporary / name)
                tile[key] = f"images/{os.path.basename(folder)}/{name}"


def _entry(tile: dict[str, Any], slide: Slide) -> dict[str, Any]:
    region: dict[str, Any] = {"slide_file": slide.path, "slide_mpp": slide.slide_mpp}
    region.update({"x_px": tile["x_px"], "y_px": tile["y_px"], "mpp": tile["mpp"] or slide.mpp})
    return {"file_name": slide.path, "width": tile["width"], "height": tile["height"], "region": region}


def _key(path: str, sums: dict[str, str | None], options: TileOptions) -> str:
    name = {"version": __version__, "slide": os.path.basename(path)}
    text = json.dumps({**name, **sums, **options.parameters()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def _quiet_readers() -> Iterator[None]:
    """Their warnings are counts too, and are reported together at the end."""
    readers = logging.getLogger("mhkd.annotations")
    level = readers.level
    readers.setLevel(logging.ERROR)
    try:
        yield
    finally:
        readers.setLevel(level)
