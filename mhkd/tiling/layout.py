"""Where the tiles of a slide lie, and which parts of which objects each shows."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from ..errors import InputError
from ..slides.slide import Slide
from ..slides.tissue import little_tissue, mask_mpp, tissue_mask
from .fields import outside
from .objects import SlideObject

MODES = ("grid", "centred", "whole")
MASK_PX_PER_TILE = 32  # resolution of the tissue mask
MIN_OBJECT_PX = 1.0  # width and height of an object, or of what a tile shows of it
MAX_IMAGE_PX = 2**26  # an image is held in memory, as floats when it is trained on


@dataclass(frozen=True)
class Layout:
    """How slides are cut into images.

    Attributes:
        mode: "grid"; "centred", a tile around every object, moved to stay on the slide; or
            "whole", the slide as one image.
        mpp: HR resolution, micrometres per pixel. Only "whole" may go without, if it has
            ``fit_px``.
        lr_factor: HR pixels per LR pixel; divides every image's sides.
        tile_size_px: side of a tile in HR pixels. What overhangs the slide is white.
        overlap_um: of neighbouring tiles of the grid.
        fit_px: of "whole": width and height of the images, the other way
            round where a slide's height is the longer side; each slide gets the resolution at which
            it fits into them, the rest is white.
        min_visible: an object cut by a tile's edge counts in that tile if at least this
            share of its area is visible; otherwise it is marked as ignored (``iscrowd`` 1).
        keep_empty: share of the grid's tiles without an object that are kept, evenly
            spread; in "centred" they come after the centred ones.
        tissue_only: leave out empty tiles that show hardly any tissue.
        min_tissue: the share of a tile that is.
        min_tissue_um2, max_hole_um2: see :func:`mhkd.slides.tissue.tissue_mask`.
    """

    mode: str = "grid"
    mpp: float | None = None
    lr_factor: int = 1
    tile_size_px: int = 1024
    overlap_um: float = 0.0
    fit_px: tuple[int, int] | None = None
    min_visible: float = 0.5
    keep_empty: float = 1.0
    tissue_only: bool = True
    min_tissue: float = 0.05
    min_tissue_um2: float = 0.0
    max_hole_um2: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"mode is {self.mode!r}: use one of {', '.join(MODES)}")
        if self.fit_px is not None and self.mode != "whole":
            raise InputError("fit_px is for whole slides only: use mpp and tile_size_px")
        if (self.mpp is None) == (self.fit_px is None):
            raise InputError("mpp is needed, micrometres per HR pixel; or, for whole slides, fit_px")
        if self.mpp is not None and not (math.isfinite(self.mpp) and self.mpp > 0):
            raise InputError(f"mpp is {self.mpp}: it must be a positive number")
        sides = self.fit_px or ((self.tile_size_px,) if self.mode != "whole" else ())
        name = "fit_px" if self.fit_px else "tile_size_px"
        if self.lr_factor < 1 or any(s < 1 or s % self.lr_factor for s in sides):
            what = " x ".join(map(str, sides))
            raise InputError(f"{name} {what} must be a multiple of lr_factor {self.lr_factor}")
        _check_size(math.prod(sides) * (sides[0] if len(sides) == 1 else 1), name)
        overlap_ok = math.isfinite(self.overlap_um) and self.overlap_um >= 0
        if self.mode != "whole" and not (overlap_ok and self.step_px >= 1):
            raise InputError(
                f"overlap_um is {self.overlap_um}: it must be at least 0 and less than a tile, "
                f"{self.tile_size_px * self.grid_mpp:g} um"
            )
        for share in ("min_visible", "keep_empty", "min_tissue"):
            if not 0 <= getattr(self, share) <= 1:
                raise InputError(f"{share} is {getattr(self, share)}: it must be a share between 0 and 1")
        for area in ("min_tissue_um2", "max_hole_um2"):
            if not 0 <= getattr(self, area) < math.inf:
                raise InputError(f"{area} is {getattr(self, area)}: it must be an area, 0 or more")

    @property
    def grid_mpp(self) -> float:
        """HR resolution of tiles; every mode but "whole" has one."""
        assert self.mpp is not None
        return self.mpp

    @property
    def step_px(self) -> int:
        """HR pixels from one tile of the grid to the next."""
        return self.tile_size_px - round(self.overlap_um / self.grid_mpp)

    def starts(self, n_px: float) -> list[int]:
        """Where tiles begin along an axis of n_px HR pixels, so that together they cover it."""
        count = max(1, math.ceil((n_px - self.tile_size_px) / self.step_px - 1e-9) + 1)
        return [k * self.step_px for k in range(count)]


def lay_tiles(
    slide: Slide,
    objects: Sequence[SlideObject],
    layout: Layout,
    warn: Callable[[str], object] | None = None,
    field: BaseGeometry | None = None,
) -> Iterator[dict[str, Any]]:
    """Lay tiles over a slide and put the objects into them.

    Args:
        slide: slide.
        objects: geometry in base pixels, class and whether it is to be ignored.
        layout: how.
        warn: called with what is odd about the slide's tissue, in words.
        field: in base pixels: only what is in it is annotated, and tiles that show nothing of it are left
            out; None: the whole slide.

    Yields:
        ``x_px``, ``y_px`` (base pixels of the slide), ``mpp``, ``width``, ``height`` (HR
        pixels) and ``objects``, a list of dicts with the keys of COCO annotations (HR pixels of the
        tile) and ``class``; of objects larger than the tile also ``object_px``, their width and height.
        With a ``field`` also ``outside``, see :func:`mhkd.tiling.fields.outside`.

    Raises:
        InputError: the slide cannot be read or has no resolution, or is too large for one image.
    """
    if layout.mode == "whole":
        yield _whole(slide, objects, layout, field)
        return
    mpp = layout.grid_mpp
    view = _ObjectsAt(slide, objects, mpp, layout.min_visible, field)
    size = layout.tile_size_px
    if layout.mode == "centred":
        for x_px, y_px in _centred_corners(slide, objects, layout):
            x, y = x_px / view.base_px[0], y_px / view.base_px[1]
            around = view.outside(x, y, size, size)
            yield _tile(x_px, y_px, mpp, (size, size), view.inside(x, y, size, size), around)
    empty = 0
    tissue = None
    for x, y in _grid_corners(view.size_hr, layout):
        found = view.inside(x, y, size, size)
        if layout.mode == "centred" and (found or layout.keep_empty == 0):
            continue
        around = view.outside(x, y, size, size)
        if around == [(0, 0, size, size)] and all(o["iscrowd"] for o in found):
            continue
        if not found:
            if tissue is None:
                tissue = _Tissue(slide, layout, warn)
            if not tissue.is_in(x, y):
                continue
            empty += 1  # every (1 / keep_empty)th of them
            if math.floor(empty * layout.keep_empty) == math.floor((empty - 1) * layout.keep_empty):
                continue
        x_px, y_px = x * view.base_px[0], y * view.base_px[1]
        yield _tile(x_px, y_px, mpp, (size, size), found, around)


def _tile(
    x_px: float, y_px: float, mpp: float, size: tuple[int, int], found: list[dict[str, Any]],
    around: list[tuple[int, int, int, int]] | None,
) -> dict[str, Any]:  # fmt: skip
    place = {"x_px": x_px, "y_px": y_px, "mpp": mpp}
    unknown = {} if around is None else {"outside": around}
    return {**place, "width": size[0], "height": size[1], "objects": found, **unknown}


def _whole(
    slide: Slide, objects: Sequence[SlideObject], layout: Layout, field: BaseGeometry | None
) -> dict[str, Any]:
    if layout.fit_px:
        width_um, height_um = (n * m for n, m in zip(slide.size_px, slide.mpp_xy, strict=True))
        turned = (height_um > width_um) != (layout.fit_px[1] > layout.fit_px[0])
        size = layout.fit_px
        if turned and height_um != width_um:
            size = size[1], size[0]
        mpp = max(n * m / s for n, m, s in zip(slide.size_px, slide.mpp_xy, size, strict=True))
    else:
        mpp, f = layout.grid_mpp, layout.lr_factor
        width, height = (n * m / mpp for n, m in zip(slide.size_px, slide.mpp_xy, strict=True))
        size = max(1, math.ceil(width / f - 1e-6)) * f, max(1, math.ceil(height / f - 1e-6)) * f
        _check_size(math.prod(size), f"{slide.path}: as one image of {size[0]}x{size[1]}")
    view = _ObjectsAt(slide, objects, mpp, layout.min_visible, field)
    return _tile(0.0, 0.0, mpp, size, view.inside(0, 0, *size), view.outside(0, 0, *size))


def _grid_corners(size_hr: Sequence[float], layout: Layout) -> Iterator[tuple[int, int]]:
    """HR pixels, row by row."""
    columns = layout.starts(size_hr[0])
    return ((x, y) for y in layout.starts(size_hr[1]) for x in columns)


def _centred_corners(
    slide: Slide, objects: Sequence[SlideObject], layout: Layout
) -> list[tuple[float, float]]:
    """Whole base pixels, since regions on the pixel grid are read fastest; from top to bottom."""
    corners = set()
    for geometry, _, ignored in objects:
        if ignored:
            continue
        x0, y0, x1, y1 = geometry.bounds
        corner = []
        for middle, n, m in zip(((x0 + x1) / 2, (y0 + y1) / 2), slide.size_px, slide.mpp_xy, strict=True):
            side = layout.tile_size_px * layout.grid_mpp / m  # base pixels
            corner.append(float(round(max(0, min(middle - side / 2, n - side)))))
        corners.add((corner[1], corner[0]))
    return [(x, y) for y, x in sorted(corners)]


class _Tissue:
    """Whether a tile of the grid shows any."""

    def __init__(self, slide: Slide, layout: Layout, warn: Callable[[str], object] | None):
        self._mask: np.ndarray | None = None
        if not layout.tissue_only:
            return
        mpp = mask_mpp(slide, layout.grid_mpp * layout.tile_size_px / MASK_PX_PER_TILE)
        self._mask = tissue_mask(slide, mpp, layout.min_tissue_um2, layout.max_hole_um2)
        if warn and (remark := little_tissue(self._mask, mpp)):
            warn(remark)
        self._scale = layout.grid_mpp / mpp
        self._side = max(1, round(layout.tile_size_px * self._scale))
        self._least = layout.min_tissue * self._side**2

    def is_in(self, x: float, y: float) -> bool:
        """Of a tile at (x, y), HR pixels."""
        if self._mask is None:
            return True
        i, j = round(y * self._scale), round(x * self._scale)
        return bool(self._mask[i : i + self._side, j : j + self._side].sum() >= self._least)


class _ObjectsAt:
    """The objects of a slide at one resolution."""

    def __init__(
        self, slide: Slide, objects: Sequence[SlideObject], mpp: float, min_visible: float,
        field: BaseGeometry | None,
    ):  # fmt: skip
        self.base_px = [mpp / m for m in slide.mpp_xy]  # base pixels per HR pixel, along x and y
        self.size_hr = [n / b for n, b in zip(slide.size_px, self.base_px, strict=True)]
        self._geometries = [
            shapely.transform(geometry, lambda xy: xy / self.base_px) for geometry, _, _ in objects
        ]  # in HR pixels of the slide
        self._classes = [(name, ignored) for _, name, ignored in objects]
        self._tree = shapely.STRtree(self._geometries)
        self._min_visible = min_visible
        self._mpp = mpp
        self._field = field and shapely.transform(field, lambda xy: xy / self.base_px)
        shapely.prepare(self._field)

    def outside(self, x: float, y: float, width: int, height: int) -> list[tuple[int, int, int, int]] | None:
        """What a tile at (x, y) shows of what nobody annotated; None without fields."""
        return None if self._field is None else outside(self._field, (x, y, width, height), self._mpp)

    def inside(self, x: float, y: float, width: int, height: int) -> list[dict[str, Any]]:
        """What a tile at (x, y) shows; HR pixels."""
        tile = shapely.box(x, y, x + width, y + height)
        found = []
        for k in sorted(self._tree.query(tile)):
            clipped = _clipped(self._geometries[k], tile, x, y)
            if clipped is not None:
                name, ignored = self._classes[k]
                visible = clipped.pop("visible")
                iscrowd = int(ignored or visible < self._min_visible)
                found.append({"class": name, **clipped, "iscrowd": iscrowd})
                x0, y0, x1, y1 = self._geometries[k].bounds
                if x1 - x0 > width or y1 - y0 > height:
                    found[-1]["object_px"] = [round(x1 - x0, 1), round(y1 - y0, 1)]
        return found


def _clipped(geometry: BaseGeometry, tile: BaseGeometry, x: float, y: float) -> dict[str, Any] | None:
    """The part of an object that lies in a tile; None if there is none."""
    part = geometry if tile.covers(geometry) else geometry.intersection(tile)
    if not part.area > 0:
        return None
    part = shapely.transform(part, lambda xy: xy - (x, y))
    left, top, right, bottom = part.bounds
    if min(right - left, bottom - top) < MIN_OBJECT_PX:
        return None
    outlines = [
        [round(v, 1) for v in shapely.get_coordinates(p.exterior)[:-1].ravel().tolist()]
        for p in shapely.get_parts(part)
        if p.area > 0
    ]
    return {
        "visible": part.area / geometry.area,
        "bbox": [round(v, 2) for v in (left, top, right - left, bottom - top)],
        "area": round(part.area, 1),
        "segmentation": outlines,
    }


def _check_size(n_px: int, what: str) -> None:
    if n_px > MAX_IMAGE_PX:
        raise InputError(
            f"{what}: {n_px / 2**20:.0f} megapixels are too much for one image "
            f"({MAX_IMAGE_PX / 2**20:.0f} at most): choose a coarser mpp or smaller tiles"
        )
