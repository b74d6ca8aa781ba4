"""What was found on a slide, as columns, and what is known of the slide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import shapely


@dataclass(frozen=True, eq=False)
class Detections:
    """Boxes of one slide or one tile; the columns are brought to their types.

    Attributes:
        boxes_px: float64, shape (N, 4), XYXY in base pixels of the slide.
        scores: float32, shape (N,).
        classes: int64, shape (N,), index into ``class_names``.
        class_names: the student's classes.
        grades: float64, shape (N, G), the probability of each grade that a classifier gives; G is 0 where
            none was asked.
        grade_names: the classifier's classes.
        outlines: shapely's Polygons without holes, shape (N,), in base pixels; None where the student finds
            boxes alone.

    Raises:
        ValueError: columns of different lengths, or a class that has no name.
    """

    boxes_px: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    class_names: tuple[str, ...]
    grades: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    grade_names: tuple[str, ...] = ()
    outlines: np.ndarray | None = None

    def __post_init__(self) -> None:
        grade_names = tuple(self.grade_names)
        columns = {
            "grade_names": grade_names,
            "grades": np.asarray(self.grades, np.float64) if grade_names else np.empty((len(self.scores), 0)),
            "boxes_px": np.asarray(self.boxes_px, np.float64).reshape(-1, 4),
            "scores": np.asarray(self.scores, np.float32).reshape(-1),
            "classes": np.asarray(self.classes, np.int64).reshape(-1),
            "class_names": tuple(self.class_names),
        }
        for name, column in columns.items():
            object.__setattr__(self, name, column)
        if not len(self.boxes_px) == len(self.scores) == len(self.classes):
            raise ValueError(
                f"{len(self.boxes_px)} boxes, {len(self.scores)} scores, {len(self.classes)} classes"
            )
        if self.grades.shape != (len(self), len(grade_names)):
            raise ValueError(f"{len(self)} boxes, grades of the shape {self.grades.shape} for {grade_names}")
        if self.outlines is not None:
            object.__setattr__(self, "outlines", np.asarray(self.outlines, object).reshape(-1))
            if len(self.outlines) != len(self):
                raise ValueError(f"{len(self)} boxes, {len(self.outlines)} outlines")
        if len(self) and not (0 <= self.classes.min() and self.classes.max() < len(self.class_names)):
            raise ValueError(
                f"classes {self.classes.min()} to {self.classes.max()} with the names {self.class_names}"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, index: np.ndarray | Sequence[int] | slice) -> Detections:
        """Some of the rows, in the order of ``index`` (integers, a mask or a slice)."""
        return replace(
            self,
            boxes_px=self.boxes_px[index],
            scores=self.scores[index],
            classes=self.classes[index],
            grades=self.grades[index],
            outlines=None if self.outlines is None else self.outlines[index],
        )

    def rings(self) -> Iterator[list[list[float]]]:
        """Of each detection the outline, or else the box, as [x, y]; the last is the first."""
        if self.outlines is None:
            for x0, y0, x1, y1 in self.boxes_px.tolist():
                yield [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
        else:
            for outline in self.outlines:
                yield shapely.get_coordinates(outline).tolist()

    def graded(self) -> Iterator[tuple[str, float] | None]:
        """Of each detection the most probable grade and its probability, of equal ones the first; or None."""
        if not self.grade_names:
            yield from [None] * len(self)
            return
        best = self.grades.argmax(1) if len(self) else np.empty(0, np.int64)
        for k, row in zip(best.tolist(), self.grades.tolist()):
            yield self.grade_names[k], round(row[k], 6)

    @classmethod
    def empty(cls, class_names: Sequence[str]) -> Detections:
        """None at all."""
        return cls(np.empty((0, 4)), np.empty(0), np.empty(0), tuple(class_names))

    @classmethod
    def concatenate(cls, parts: Iterable[Detections]) -> Detections:
        """The rows of all parts, which have the same classes and no grades yet; with outlines if all have.

        Raises:
            ValueError: no parts, or parts of other classes.
        """
        parts = list(parts)
        if len({p.class_names for p in parts}) != 1:
            raise ValueError(f"parts of the classes {sorted({p.class_names for p in parts})}")
        outlines = [p.outlines for p in parts if len(p) and p.outlines is not None]
        return cls(
            np.concatenate([p.boxes_px for p in parts]),
            np.concatenate([p.scores for p in parts]),
            np.concatenate([p.classes for p in parts]),
            parts[0].class_names,
            outlines=np.concatenate(outlines)
            if outlines and len(outlines) == sum(map(bool, map(len, parts)))
            else None,
        )

    def is_sound(self) -> np.ndarray:
        """Finite boxes of positive width and height, with finite scores: bool, shape (N,)."""
        finite = np.isfinite(self.boxes_px).all(axis=1) & np.isfinite(self.scores)
        return finite & (self.boxes_px[:, 2:] > self.boxes_px[:, :2]).all(axis=1)


@dataclass(frozen=True)
class SlideInfo:
    """What the results of a slide say about it.

    Attributes:
        slide_file: absolute path.
        size_px: width and height in base pixels.
        mpp_xy: micrometres per base pixel along x and y.
        tissue_area_um2: area of the tissue mask.
    """

    slide_file: str
    size_px: tuple[int, int]
    mpp_xy: tuple[float, float]
    tissue_area_um2: float
