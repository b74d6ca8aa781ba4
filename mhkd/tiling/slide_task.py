"""What ``mhkd tile`` does with one slide; one task of one process.

The result, a *part* of the dataset, is kept in ``<work>/<key>.json``, where the key stands for the
content of the slide and of its annotations and for every parameter. A part that is there is not
made again, neither after an interruption nor when slides are added to a finished dataset.
"""

import hashlib
import json
import logging
import os
import shutil
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from PIL import Image

from ..annotations import ClassMap
from ..errors import InputError
from ..files import sha256
from ..slides.file_names import slide_name
from ..slides.slide import slide_with_mpp
from ..slides.slide_table import mpp_of
from ..slides.views import read_view
from ..version import __version__
from .layout import Layout, lay_tiles
from .objects import annotation_file, read_objects


@dataclass(frozen=True)
class TileOptions:
    """What happens to every slide.

    Attributes:
        layout (Layout): where tiles lie.
        class_map (ClassMap): names of classes.
        annotations (str, optional): folder, or one file; default: beside each slide.
        slide_mpp (float or dict[str, float], optional): base resolution of slides that do not record it, of
            all or by file name.
        override_slide_mpp (float or dict[str, float], optional): the same, instead of what slides record.
        point_diameter_um (float, optional): points become circles of this size.
        tiles (str): "regions", read from the slides when they are used, or "png", HR and LR files,
            each resampled from the slide's base level.
        lr_filter (str): of the LR files, "area" or "lanczos".
        verify (bool): read every tile once, so that damage shows now.
        annotated (bool): False: no annotations are looked for, and tiles are without objects.
    """

    layout: Layout
    class_map: ClassMap
    annotations: str | None = None
    slide_mpp: float | dict | None = None
    point_diameter_um: float | None = None
    tiles: str = "regions"
    lr_filter: str = "area"
    verify: bool = False
    annotated: bool = True
    override_slide_mpp: float | dict | None = None

    def of_slide(self, path):
        """TileOptions: with the resolutions that are given for one slide."""
        given = {k: mpp_of(getattr(self, k), path) for k in ("slide_mpp", "override_slide_mpp")}
        return replace(self, **given)

    def parameters(self):
        """dict: all that decides about the result, apart from the files' contents."""
        own = ("slide_mpp", "override_slide_mpp", "point_diameter_um", "tiles", "lr_filter", "verify")
        classes = {"class_map": self.class_map.mapping, "classes": self.class_map.classes}
        return {**asdict(self.layout), **classes, **{k: getattr(self, k) for k in own}}


def tile_slide(path, work, options, only_slide=False):
    """Make the part of one slide, or find it made.

    Args:
        path (str): slide.
        work (str): work folder.
        options (TileOptions): how.
        only_slide (bool): there is no other.

    Returns:
        dict: the part without its tiles: ``slide_file``, ``annotation_file``, ``part_file`` (the
        whole), ``sha256``, ``annotation_sha256``, ``format`` (None without annotations, as is
        ``annotation_file``), ``size_px``, ``mpp``, ``slide_mpp`` (None where the slide records it),
        ``annotated`` (objects of each class), ``counts`` (what was left out or is odd, in words; 0 of what is
        said of the slide), ``folder`` (of its pictures, or None). If the slide or its annotations cannot be
        used, ``slide_file`` and ``error``.
    """
    try:
        with _quiet_readers():
            annotations = annotation_file(path, options.annotations) if options.annotated else None
            sums = {"sha256": sha256(path), "annotation_sha256": annotations and sha256(annotations)}
            key = _key(path, sums, options)
            part_file = os.path.join(work, f"{key}.json")
            if not _is_made(part_file, work):
                explicit = only_slide and not os.path.isdir(options.annotations or ".")
                made = _make_part(path, annotations, explicit, key, work, options)
                _write_json({**sums, **made}, part_file)
        with open(part_file, encoding="utf-8") as f:
            part = json.load(f)
    except Exception as e:  # whatever is wrong with one slide, the others are not lost
        fault = str(e) if isinstance(e, InputError) else f"{path}: {type(e).__name__}: {e}"
        return {"slide_file": path, "error": fault}
    del part["tiles"]
    return {**part, "slide_file": path, "annotation_file": annotations, "part_file": part_file}


def _is_made(part_file, work):
    """Whether the part is there, and its pictures: in the work folder, or published already."""
    try:
        with open(part_file, encoding="utf-8") as f:
            folder = json.load(f)["folder"]
    except (OSError, ValueError, LookupError):
        return False
    places = (work, os.path.join(os.path.dirname(work), "images"))
    return folder is None or any(os.path.isdir(os.path.join(p, folder)) for p in places)


def _make_part(path, annotations, explicit, key, work, options):
    slide, remark = slide_with_mpp(path, options.slide_mpp, options.override_slide_mpp)
    objects, counts, annotation_format = [], Counter(), None
    if annotations:
        objects, read, counts = read_objects(
            slide, annotations, options.class_map, options.point_diameter_um, explicit
        )
        counts, annotation_format = counts + read.counts, read.format
    if remark:
        counts[remark] = 0
    tiles = list(lay_tiles(slide, objects, options.layout, lambda text: counts.update({text: 0})))
    large = {(o["class"], *o["object_px"]) for t in tiles for o in t["objects"] if "object_px" in o}
    for name, width, height in sorted(large):
        size = f"{width:.0f}x{height:.0f} px, of the class {name!r}"
        counts[f"objects larger than a tile ({size}): a region of interest? Drop it with --class"] += 1
    folder = None
    if options.tiles == "png":
        folder = f"{slide_name(path)}_{key[:8]}"
        _write_pictures(tiles, slide, os.path.join(work, folder), options)
    elif options.verify:
        for tile in tiles:
            read_view(_entry(tile, slide), "hr")
    return {
        "format": annotation_format,
        "size_px": list(slide.size_px),
        "mpp": list(slide.mpp_xy),
        "slide_mpp": slide.slide_mpp,
        "annotated": dict(sorted(Counter(name for _, name, _ in objects).items())),
        "counts": dict(sorted(counts.items())),
        "folder": folder,
        "tiles": tiles,
    }


def _write_pictures(tiles, slide, folder, options):
    """Adds ``file_name`` and ``lr_file_name``; the folder is there once all files are."""
    temporary = f"{folder}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    os.makedirs(temporary)
    for number, tile in enumerate(tiles, 1):
        entry = _entry(tile, slide)
        for key, view, name in (
            ("file_name", "hr", f"{number:06d}.png"),
            ("lr_file_name", "lr", f"{number:06d}_lr.png"),
        ):
            pixels = read_view(entry, view, options.layout.lr_factor, options.lr_filter)
            Image.fromarray(pixels).save(os.path.join(temporary, name))
            tile[key] = f"images/{os.path.basename(folder)}/{name}"
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)


def _entry(tile, slide):
    region = {"slide_file": slide.path, "slide_mpp": slide.slide_mpp}
    region.update({k: tile[k] for k in ("x_px", "y_px", "mpp")})
    return {"file_name": slide.path, "width": tile["width"], "height": tile["height"], "region": region}


def _key(path, sums, options):
    name = {"version": __version__, "slide": os.path.basename(path)}
    text = json.dumps({**name, **sums, **options.parameters()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _write_json(content, path):
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w", encoding="utf-8") as f:
        f.write(json.dumps(content))
    os.replace(temporary, path)


@contextmanager
def _quiet_readers():
    """Their warnings are counts too, and are reported together at the end."""
    readers = logging.getLogger("mhkd.annotations")
    level = readers.level
    readers.setLevel(logging.ERROR)
    try:
        yield
    finally:
        readers.setLevel(level)
