"""What ``mhkd pair`` does with a slide that was scanned twice: tiles, HR and LR, and how far they are off.

The LR pixels are the slide's own. The HR pixels and the annotations are brought to their grid, finer by a
whole number. The result is a part of the dataset as :mod:`mhkd.tiling.slide_task` makes it of one slide.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from PIL import Image
from tqdm import tqdm

from ..annotations import ClassMap, find_annotations, read_with
from ..errors import InputError
from ..files import make_folder, read_json, replacing, sha256, write_json
from ..slides.file_names import slide_name
from ..slides.slide import SAME_MPP, Slide, open_slide, slide_with_mpp
from ..terminal import legible
from ..tiling.layout import Layout, lay_tiles
from ..tiling.objects import SlideObject, read_objects
from ..version import __version__
from .align import Aligned, align
from .alignment import Alignment, warped
from .check import BEYOND, check_tile
from .patches import Lattice
from .picture import draw_check

MIN_FACTOR = 1.25  # of the resolutions, for the LR slide to be of low resolution
DEFAULT_TILE_PX = 1024


@dataclass(frozen=True)
class PairOptions:
    """What happens to every pair.

    Attributes:
        class_map: names of classes.
        annotations: of the HR slides: folder, or one file; default: beside each of them.
        annotated: False: no annotations are looked for.
        lr_factor: HR pixels per LR pixel; None: the whole number nearest to what the slides record.
        tile_size_px: side of a tile in HR pixels, a multiple of the factor; None: 1024, or just below.
        overlap_um, min_visible, keep_empty, tissue_only: see :class:`mhkd.tiling.layout.Layout`.
        max_error_um: a tile's greatest error; None: one LR pixel.
        point_diameter_um, within: see :func:`mhkd.tiling.objects.read_objects`.
        hr_mpp, lr_mpp: base resolution of slides that do not record it.
        override_hr_mpp, override_lr_mpp: the same, instead of what slides record.
        only_pair: there is no other, so that one file of annotations is its own.
    """

    class_map: ClassMap
    annotations: str | None = None
    annotated: bool = True
    lr_factor: int | None = None
    tile_size_px: int | None = None
    overlap_um: float = 0.0
    min_visible: float = 0.5
    keep_empty: float = 1.0
    tissue_only: bool = True
    max_error_um: float | None = None
    point_diameter_um: float | None = None
    within: tuple[str, ...] = ()
    hr_mpp: float | None = None
    lr_mpp: float | None = None
    override_hr_mpp: float | None = None
    override_lr_mpp: float | None = None
    only_pair: bool = True

    def parameters(self) -> dict[str, Any]:
        """All that decides about the result, apart from the files' contents."""
        classes = {"class_map": self.class_map.mapping, "classes": self.class_map.classes}
        own = {k: v for k, v in asdict(self).items() if k not in ("class_map", "only_pair")}
        return {**own, **classes}


def pair_slides(hr_path: str, lr_path: str, out: str, work: str, options: PairOptions) -> dict[str, Any]:
    """Make the part of one pair, or find it made.

    Args:
        hr_path, lr_path: the two scans.
        out: folder of the dataset; the picture to check goes into its ``checks``.
        work: work folder in it.
        options: how.

    Returns:
        A part, see :func:`mhkd.tiling.slide_task.tile_slide`, of the LR slide; with ``hr_file``,
        ``hr_sha256``, ``lr_factor``, ``scale`` (see :class:`mhkd.pairing.align.Aligned`), ``max_error_um``
        and ``checked``, one dict a tile, those left out included.

    Raises:
        InputError: a slide or its annotations cannot be used, the slides do not show the same, or no tile is
            left.
    """
    annotations = find_annotations(hr_path, options.annotations) if options.annotated else None
    names = annotations and read_with(annotations)
    sums: dict[str, str | None] = {"hr_sha256": sha256(hr_path), "sha256": sha256(lr_path)}
    sums["annotation_sha256"] = annotations and sha256(annotations)
    key = _key(
        {**sums, "names": names and sha256(names), "file": os.path.basename(lr_path), **options.parameters()}
    )
    part_file = os.path.join(work, f"{key}.json")
    folder = f"{slide_name(lr_path)}_{key[:8]}"
    part = _made(part_file, folder, out, work)
    if part is None:
        part = {**sums, **_make(hr_path, lr_path, annotations, folder, out, work, options)}
        write_json(part, part_file, indent=None)
    del part["tiles"]
    return {
        **part,
        "slide_file": lr_path,
        "hr_file": hr_path,
        "annotation_file": annotations,
        "part_file": part_file,
    }


def _made(part_file: str, folder: str, out: str, work: str) -> dict[str, Any] | None:
    try:
        part: dict[str, Any] = read_json(part_file, dict, "")
    except InputError:
        return None
    places = (os.path.join(work, folder), os.path.join(out, "images", folder))
    return part if any(map(os.path.isdir, places)) and os.path.exists(_check_file(out, folder)) else None


def _make(
    hr_path: str,
    lr_path: str,
    annotations: str | None,
    folder: str,
    out: str,
    work: str,
    options: PairOptions,
) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    hr, hr_remark = _opened(hr_path, options.hr_mpp, options.override_hr_mpp, "--hr-mpp")
    lr, lr_remark = _opened(lr_path, options.lr_mpp, options.override_lr_mpp, "--lr-mpp")
    recorded = lr.slide_mpp
    lr = open_slide(lr_path, lr.mpp)  # its pixels as they are, as squares
    counts.update({f"{slide_name(p)}: {r}": 0 for p, r in ((hr_path, hr_remark), (lr_path, lr_remark)) if r})
    layout = _layout(hr, lr, options)
    counts.update(_remarks_on_factor(hr, lr, layout))
    aligned = _aligned(hr, lr, work)
    if abs(aligned.scale - 1) > SAME_MPP:
        counts[
            f"things on it are {aligned.scale:.3f} times as large as on {os.path.basename(hr_path)}: one of "
            "the two resolutions is wrong by that"
        ] = 0
    objects: list[SlideObject] = []
    found, annotation_format, field = None, None, None
    if annotations:
        objects, found, odd, field = read_objects(
            hr, annotations, options.class_map, options.point_diameter_um,
            options.only_pair and not os.path.isdir(options.annotations or "."), within=options.within,
        )  # fmt: skip
        counts.update(odd + found.counts)
        annotation_format = found.format
        objects = [(_on_lr(outline, aligned.alignment), *rest) for outline, *rest in objects]
        field = field and _on_lr(field, aligned.alignment)
    tiles = list(lay_tiles(lr, objects, layout, lambda text: counts.update({text: 0}), field))
    limit_um = options.max_error_um or lr.mpp
    side = layout.tile_size_px // layout.lr_factor
    checked = [check_tile(hr, lr, tile, side, aligned, limit_um) for tile in tiles]
    kept = [tile for tile, check in zip(tiles, checked, strict=True) if not check["left_out"]]
    for reason, n in Counter(c["left_out"] for c in checked if c["left_out"]).items():
        what = f"{reason}, {limit_um:.3g} um" if reason == BEYOND else reason
        counts[f"of {len(tiles)} tiles left out: {what}"] = n
    with replacing(_check_file(out, folder)) as temporary:
        draw_check(hr, lr, aligned.alignment, side, checked, temporary)
    if not tiles:
        raise InputError(
            f"{lr_path}: no tile of tissue was found: if there is some, --glass-too takes all tiles"
        )
    if not kept:
        reasons = ", ".join(f"{n} {what}" for what, n in Counter(c["left_out"] for c in checked).items())
        what = f"none of its {len(tiles)} tiles could be used ({reasons})"
        raise InputError(f"{lr_path}: {what}; look at {_check_file(out, folder)}")
    named = (check for check in checked if not check["left_out"])
    for number, (tile, check) in enumerate(zip(kept, named, strict=True), 1):
        name = f"images/{folder}/{number:06d}"
        tile["file_name"], tile["lr_file_name"] = f"{name}.png", f"{name}_lr.png"
        check["file_name"] = tile["file_name"]
        measured = {k: check[k] for k in ("error_um", "squares")}
        tile["more"] = {"pair": {"hr_slide": os.path.basename(hr_path), **measured}}
    _write_pictures(hr, lr, kept, layout, aligned.alignment, os.path.join(work, folder))
    return {
        "format": annotation_format,
        "size_px": list(lr.size_px),
        "mpp": list(lr.mpp_xy),
        "slide_mpp": recorded,
        "annotated": dict(sorted(Counter(name for _, name, _ in objects).items())),
        "counts": dict(sorted(counts.items())),
        "folder": folder,
        "lr_factor": layout.lr_factor,
        "scale": round(aligned.scale, 5),
        "max_error_um": limit_um,
        "checked": checked,
        "tiles": kept,
    }


def _opened(
    path: str, mpp: float | None, override_mpp: float | None, option: str
) -> tuple[Slide, str | None]:
    slide, remark = slide_with_mpp(path, mpp, override_mpp)
    if slide.slide_mpp is None and slide.pixels.mpp is None:
        raise InputError(f"{path}: does not record its resolution: give it with {option}, um per base pixel")
    return slide, remark and remark.replace("slide-mpp", option[2:])


def _layout(hr: Slide, lr: Slide, options: PairOptions) -> Layout:
    """Tiles of whole LR pixels.

    Raises:
        InputError: the LR slide is of no lower resolution, or an option makes no sense.
    """
    ratio = lr.mpp / hr.mpp
    factor = options.lr_factor or round(ratio)
    if options.lr_factor is None and ratio < MIN_FACTOR:
        raise InputError(
            f"{lr.path}: has {lr.mpp:.4g} um per pixel and {hr.path} {hr.mpp:.4g}: name the finer scan "
            "first, or say with --lr-factor how many HR pixels make an LR pixel"
        )
    factor = max(2, factor) if options.lr_factor is None else factor
    return Layout(
        mpp=lr.mpp / factor,
        lr_factor=factor,
        tile_size_px=options.tile_size_px or max(1, DEFAULT_TILE_PX // factor) * factor,
        overlap_um=round(options.overlap_um / lr.mpp) * lr.mpp,
        min_visible=options.min_visible,
        keep_empty=options.keep_empty,
        tissue_only=options.tissue_only,
    )


def _remarks_on_factor(hr: Slide, lr: Slide, layout: Layout) -> dict[str, int]:
    wanted = lr.mpp / layout.lr_factor
    if abs(hr.mpp / wanted - 1) <= SAME_MPP:
        return {}
    return {
        f"{os.path.basename(hr.path)} is resampled from {hr.mpp:.4g} to {wanted:.4g} um per pixel, so that "
        f"{layout.lr_factor} of its pixels make one of LR": 0
    }


def _aligned(hr: Slide, lr: Slide, work: str) -> Aligned:
    """How the slides lie to each other; kept, whatever is tiled of it."""
    content = {"hr": sha256(hr.path), "lr": sha256(lr.path), "hr_mpp": hr.mpp_xy, "lr_mpp": lr.mpp_xy}
    path = os.path.join(work, f"{_key(content)}.aligned.json")
    lattice = Lattice.of(lr, lr.mpp)
    try:
        kept = read_json(path, dict, "")
        is_tissue, held_out = (np.array(kept[k], bool) for k in ("is_tissue", "held_out"))
        error = np.array([[np.nan if v is None else v for v in row] for row in kept["error_px"]])
        return Aligned(Alignment.from_dict(kept), lattice, is_tissue, error, held_out, kept["scale"])
    except (OSError, ValueError, LookupError, TypeError):
        found = align(hr, lr)
    record = {
        **found.alignment.as_dict(),
        "is_tissue": found.is_tissue.astype(int).tolist(),
        "held_out": found.held_out.astype(int).tolist(),
        "error_px": [[None if np.isnan(v) else round(float(v), 3) for v in row] for row in found.error_px],
        "scale": found.scale,
    }
    write_json(record, path, indent=None)
    return found


def _on_lr(outline: Any, alignment: Alignment) -> Any:
    return shapely.make_valid(shapely.transform(outline, alignment.to_lr))


def _write_pictures(
    hr: Slide, lr: Slide, tiles: list[dict[str, Any]], layout: Layout, alignment: Alignment, folder: str
) -> None:
    """The folder is there once all files are; those that are there already stay."""
    partial, factor = Path(f"{folder}.partial"), layout.lr_factor
    make_folder(partial)
    side, step = layout.tile_size_px // factor, 1 / factor
    for tile in tqdm(tiles, desc=legible(os.path.basename(folder)), unit="tile"):
        x, y = round(tile["x_px"]), round(tile["y_px"])
        views: dict[str, Callable[[], np.ndarray]] = {
            "lr_file_name": lambda x=x, y=y: lr.read_region(x, y, side, side, lr.mpp),  # type: ignore[misc]
            "file_name": lambda x=x, y=y: warped(  # type: ignore[misc]
                hr, alignment, x, y, (layout.tile_size_px,) * 2, (step, step), layout.grid_mpp
            ),
        }
        for view, read in views.items():
            path = partial / os.path.basename(tile[view])
            if not path.exists():
                with replacing(path) as temporary:
                    Image.fromarray(read()).save(temporary, "PNG")
    os.replace(partial, folder)


def _check_file(out: str, folder: str) -> str:
    return os.path.join(out, "checks", f"{folder}.png")


def _key(content: dict[str, Any]) -> str:
    text = json.dumps({"version": __version__, **content}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
