"""What the page shows of a folder of results, as plain values for JSON."""

import hashlib
import logging
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import shapely

from ..annotations import belongs_to, find_annotations, is_named_like, read_annotations
from ..errors import InputError
from ..palette import class_colors, hex_color
from ..slide_detection.finished import FinishedSlide
from ..slides.slide import Slide
from .corrections import PageCorrections
from .tiles import DeepZoom

logger = logging.getLogger(__name__)

MAX_UM = 1e9  # that a place on a slide may have
OUTLINE_TOLERANCE_PX = 1.0  # an outline of thousands of points is drawn no better than one of dozens


@dataclass
class ShownSlide:
    """One slide of the page.

    Attributes:
        finished: its results.
        slides_dir: where slides are now; None: where they were.
        annotations: folder or file; None: beside the slide, where there are any.
        notes: what else is to be said beside it.
    """

    finished: FinishedSlide
    slides_dir: str | None = None
    annotations: str | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def _opened(self) -> tuple[Slide, DeepZoom, None] | tuple[None, None, str]:
        try:
            slide = self.finished.open_slide(self.slides_dir)
            return slide, DeepZoom(slide), None
        except InputError as e:
            return None, None, str(e)

    @cached_property
    def _doubt(self) -> str | None:
        slide = self._opened[0]
        return self.finished.doubt(slide.path) if slide else None

    @property
    def deep_zoom(self) -> DeepZoom | None:
        """The slide's pixels; None where :attr:`problem` says why."""
        return self._opened[1]

    @property
    def problem(self) -> str | None:
        """Why the slide cannot be shown."""
        return self._opened[2]

    @cached_property
    def corrections(self) -> PageCorrections:
        """What a person says of what was found."""
        return PageCorrections(self.finished, self.stretch)

    @cached_property
    def stretch(self) -> np.ndarray:
        """The page's pixels, which are square, per base pixel along x and y; the slide's need not be."""
        mpp_xy = self.finished.run.get("mpp_xy") or (self._opened[0] and self._opened[0].mpp_xy)
        return np.divide(mpp_xy, min(mpp_xy)) if mpp_xy else np.ones(2)

    def on_page(self, boxes_px: Any) -> Any:
        """Boxes in base pixels, XYXY, as lists in the page's pixels."""
        return (boxes_px * np.tile(self.stretch, 2)).round(2).tolist()

    @property
    def locked(self) -> str | None:
        """Why there is nothing to correct: what was looked at is not seen."""
        return self.problem or self._doubt

    @cached_property
    def key(self) -> str:
        """Stands for the slide's pixels, for addresses that a browser may keep."""
        slide = self._opened[0]
        file = None
        if slide:
            stat = os.stat(slide.path)
            file = slide.path, stat.st_mtime_ns, stat.st_size
        known = (self.finished.run["slide_file"], file)
        return hashlib.sha256(repr(known).encode()).hexdigest()[:16]

    @property
    def missing(self) -> str | None:
        """That the file is not where it should be, found without opening it."""
        try:
            self.finished.slide_path(self.slides_dir)
        except InputError as e:
            return str(e)
        return None

    def heading(self) -> dict[str, Any]:
        """Name and number, for the list of slides."""
        return {"name": _text(self.finished.name), "glomeruli": self.finished.summary.get("glomeruli")}

    def content(self) -> dict[str, Any]:
        """All about the slide but its pixels; read anew, as annotations change while one looks."""
        found = self.finished.detections()
        slide, deep_zoom, _ = self._opened
        mpp_xy = self.finished.run.get("mpp_xy") or (slide and slide.mpp_xy)
        outlines, remark = self._outlines(slide, self.stretch) if slide else ([], None)
        said: dict[str, Any] = {"ids": [], "since": 0, "records": []}
        locked = self.locked
        try:
            said = self.corrections.content(found)
        except InputError as e:
            locked = str(e)
        named = {name for name, _ in outlines} | {word["class_name"] for word in said["records"]}
        others = sorted(name for name in named if name and name not in found.class_names)
        colors = {**class_colors(others), **class_colors(found.class_names)}
        classes = [*found.class_names, *others]
        return {
            **self.heading(),
            "problem": self.problem,
            "key": self.key,
            "size_px": deep_zoom and deep_zoom.size_px,
            "mpp": min(mpp_xy) if mpp_xy else None,
            "score_threshold": self.finished.keep_from_score,  # the lowest that can be shown
            "working_threshold": self.finished.score_threshold,  # what the tables count from
            "tissue_mm2": self.finished.summary.get("tissue_mm2"),
            "classes": [{"name": c, "color": hex_color(colors[c])} for c in classes],
            "num_found_classes": len(found.class_names),  # the others are those of annotations alone
            "boxes_px": self.on_page(found.boxes_px),
            "scores": [round(float(s), 6) for s in found.scores],
            "class_of": found.classes.tolist(),
            "rings_of": [] if found.outlines is None else [_rings(o, self.stretch) for o in found.outlines],
            "outlines": [
                {"class": classes.index(name) if name else None, "rings": rings} for name, rings in outlines
            ],
            "squares": self._squares(),
            "remark": "; ".join(filter(None, [self._doubt, *self.finished.warnings, remark, *self.notes]))
            or None,
            "locked": locked,  # why nothing can be corrected
            **said,
        }

    def _squares(self) -> list[dict[str, Any]]:
        """Where tissue is out of focus, under pen or black: "reason", and "box" in the page's pixels."""
        run: Any = self.finished.run  # from a file: of any age, and anyone's
        try:
            quality, mpp_xy = run["quality"], run["mpp_xy"]
            side = quality["square_um"]
            found = [
                (reason, corner) for reason, corners in quality["squares_um"].items() for corner in corners
            ]
            corners = np.array([(x, y) for _, (x, y) in found], np.float64).reshape(-1, 2)
            boxes = np.hstack([corners, corners + float(side)])
            if not np.abs(boxes).max(initial=0) < MAX_UM:
                return []
            placed = self.on_page(boxes / np.tile(mpp_xy, 2))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            return []  # older results have none
        return [{"reason": reason, "box": box} for (reason, _), box in zip(found, placed)]

    def _outlines(
        self, slide: Slide, stretch: np.ndarray
    ) -> tuple[list[tuple[str | None, list[list[float]]]], str | None]:
        """(class, rings in the page's pixels) of the annotations, and why there are none."""
        try:
            path = find_annotations(slide.path, self.annotations)
        except InputError as e:
            return [], str(e) if self.annotations else None
        own = is_named_like(path, slide.path)
        try:
            read = read_annotations(path, slide)
            if not (self.annotations == path or belongs_to(read, slide.path)):
                raise InputError(f"{path}: is named like another slide than {self.finished.name}")
        except InputError as e:
            if not (own or self.annotations):
                return [], None  # some other file that lies beside the slide
            logger.warning("%s", e)
            return [], str(e)
        return [(a.name, _rings(a.geometry, stretch)) for a in read if not a.iscrowd], None


@dataclass
class DamagedSlide:
    """One whose results cannot be used: it is in the list, and asking for it says why.

    Attributes:
        name: the slide's file name.
        reason: why.
    """

    name: str
    reason: str
    missing: ClassVar[None] = None
    deep_zoom: ClassVar[None] = None
    key: ClassVar[str] = ""

    def heading(self) -> dict[str, Any]:
        """Name and number, for the list of slides."""
        return {"name": _text(self.name), "glomeruli": None}

    def content(self) -> dict[str, Any]:
        """Raises InputError, which says why."""
        raise InputError(self.reason)


def _text(file_name: str) -> str:
    """With "?" for the bytes that are no text, of which no address can be made."""
    return file_name.encode(errors="replace").decode()


def _rings(geometry: shapely.Geometry, stretch: np.ndarray) -> list[list[float]]:
    """Rings of a polygon or several, each [x, y, x, y, ...] in the page's pixels."""
    simple = shapely.simplify(geometry, OUTLINE_TOLERANCE_PX)
    rings = []
    for polygon in shapely.get_parts(simple):
        for ring in (polygon.exterior, *polygon.interiors):
            rings.append((shapely.get_coordinates(ring) * stretch).round(1).ravel().tolist())
    return rings
