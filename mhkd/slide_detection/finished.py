"""Reads what ``mhkd detect`` left in a folder: one sub-folder a slide, finished where run.json is there."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely

from ..errors import InputError
from ..evaluation.detections import Detections
from ..evaluation.threshold_file import COUNTING, DEFAULT
from ..files import is_text, read_json
from ..slides.slide import Slide
from .checksum import checksum
from .options import DetectOptions

FARTHEST_PX = 1e9  # that a box may reach
SMALLEST_MPP, LARGEST_MPP = 1e-6, 1e6  # micrometres per pixel, of any file
SMALLEST_SUM, LARGEST_SUM = 1e-6, 1e12  # of glomeruli, and of tissue in mm2, where there is any
RUN, RESULTS, SUMMARY = "run.json", "coco_instances_results.json", "summary.json"


@dataclass(frozen=True)
class FinishedSlide:
    """The results of one slide.

    Attributes:
        folder: which has them; it is named like the slide's file.
        run: content of run.json.
    """

    folder: Path
    run: dict[str, Any]

    @property
    def name(self) -> str:
        """The slide's file name."""
        return self.folder.name

    @property
    def class_names(self) -> tuple[str, ...]:
        """The student's, in the order of the category ids from 1."""
        return tuple(self.run["classes"])

    @property
    def grade_names(self) -> tuple[str, ...]:
        """The classes of the classifier that graded them; empty where none was asked."""
        grade = self.run.get("grade")
        return tuple(map(str, grade["classes"])) if isinstance(grade, dict) else ()

    @property
    def keep_from_score(self) -> float:
        """The lowest score that a detection in the results may have."""
        parameters = self.run.get("parameters", {})
        # Results of before kept what they counted.
        return float(parameters.get("keep_from_score", parameters.get("score_threshold")) or 0.0)

    @property
    def score_threshold(self) -> float:
        """The score from which on detections count."""
        parameters = self.run.get("parameters", {})
        counted = float(parameters.get("score_threshold") or 0.0)
        # Those were made with a low one to score average precision; nobody meant to count from it.
        return counted if "keep_from_score" in parameters else max(DEFAULT, counted)

    def counts_like(self, options: DetectOptions) -> bool:
        """Whether the outputs count as the options say."""
        parameters = self.run.get("parameters", {})
        return all(parameters.get(name) == getattr(options, name) for name in COUNTING)

    @property
    def student(self) -> str | None:
        """Begin of the checksum of the student's weights, where it is recorded."""
        student = self.run.get("student")
        found = student.get("sha256") if isinstance(student, dict) else None
        return str(found)[:12] if found else None

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Content of summary.json: "glomeruli", "counts", "tissue_mm2", ..."""
        return read_json(self.folder / SUMMARY, dict, _AGAIN)

    @property
    def warnings(self) -> list[str]:
        """What was said of the slide."""
        return warnings_of(self.run)

    def detections(self) -> Detections:
        """All that are kept, in base pixels, in the order of the file.

        Raises:
            InputError: the file is missing or damaged.
        """
        path = self.folder / RESULTS
        found = read_json(path, list, _AGAIN)
        try:
            boxes = np.array([d["bbox"] for d in found], np.float64).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            scores = np.array([d["score"] for d in found], np.float32)
            if not ((np.abs(boxes) < FARTHEST_PX).all() and np.isfinite(scores).all()):
                raise ValueError("a box or a score is no finite number, or off every slide")
            classes = np.array([d["category_id"] - 1 for d in found], np.int64)
            names = self.grade_names
            none = [0.0] * len(names)  # of the one that stands for none
            grades = np.array([d.get("grades", none) for d in found], np.float64)
            grades = grades.reshape(len(found), len(names))
            detections = Detections(boxes, scores, classes, self.class_names, grades, names)
            if any("segmentation" in d for d in found):
                rings = [np.array(d["segmentation"][0], np.float64).reshape(-1, 2) for d in found]
                if not all(np.isfinite(ring).all() for ring in rings):
                    raise ValueError("an outline is no finite number")
                detections = replace(
                    detections, outlines=np.array([shapely.polygons(r) for r in rings], object)
                )
            return detections.select(detections.is_sound())  # without the one that stands for none
        except (KeyError, IndexError, TypeError, ValueError, OverflowError, shapely.GEOSException) as e:
            raise InputError(f"{path}: holds no detections of {self.class_names} ({e}): {_AGAIN}") from e

    def slide_path(self, slides_dir: str | None = None) -> str:
        """Where the slide is.

        Args:
            slides_dir: where it is now; default: where it was.

        Raises:
            InputError: it is not there.
        """
        path: str = os.path.join(slides_dir, self.name) if slides_dir else self.run["slide_file"]
        if not os.path.exists(path):
            remedy = "correct" if slides_dir else "say where it is now with"
            raise InputError(f"{path}: the slide is no longer there: {remedy} --slides DIR")
        return path

    def open_slide(self, slides_dir: str | None = None) -> Slide:
        """The slide that was looked at.

        Args:
            slides_dir: see :meth:`slide_path`.

        Returns:
            A new one, with the resolution that was used then.

        Raises:
            InputError: it is not there, cannot be opened, or is another one by its size.
        """
        path = self.slide_path(slides_dir)
        slide = Slide(path, self.run.get("parameters", {}).get("slide_mpp"))
        size = self.run.get("size_px")
        if size and tuple(size) != slide.size_px:
            raise InputError(
                f"{path}: has {slide.size_px[0]}x{slide.size_px[1]} px, but {self.folder} has the results "
                f"of a slide of {size[0]}x{size[1]} px: put the right slide there, or detect again"
            )
        return slide

    def doubt(self, path: str) -> str | None:
        """That the slide is another file than the one that was looked at, though of its size."""
        then = self.run.get("slide_checksum")
        if then and then != checksum(path):
            return (
                f"{path}: is not the file that was looked at, so the boxes may not fit: put the right slide "
                "there, or detect again"
            )
        return None


class Results(NamedTuple):
    """What a folder of results has.

    Attributes:
        finished: sorted by name.
        unfinished: names of slides that were begun and are not finished.
        damaged: why others cannot be used, by name.
    """

    finished: list[FinishedSlide]
    unfinished: list[str]
    damaged: dict[str, str]


def find_finished(out: str | os.PathLike[str]) -> Results:
    """What is finished in a folder.

    Args:
        out: ``--out`` of ``mhkd detect``, or the folder of one slide in it.

    Raises:
        InputError: no such folder, or nothing in it that can be used.
    """
    out = Path(out)
    if not out.is_dir():
        raise InputError(f"{out}: there is no such folder of results: make it with mhkd detect --out {out}")
    folders = [out] if (out / RUN).exists() else sorted(p for p in out.iterdir() if p.is_dir())
    finished, unfinished, damaged = [], [], {}
    for folder in folders:
        if (folder / RUN).exists():
            try:
                finished.append(read_finished(folder, folder / RUN))
            except InputError as e:
                damaged[folder.name] = str(e)
        elif (folder / ".work").is_dir():
            unfinished.append(folder.name)
    if not finished:
        begun = f" ({len(unfinished)} begun: run the same mhkd detect again)" if unfinished else ""
        reasons = "".join(f"; {reason}" for reason in damaged.values())
        remedy = f"make some with mhkd detect --out {out}"
        raise InputError(f"{out}: has no finished slide{begun}: {remedy}{reasons}")
    return Results(finished, unfinished, damaged)


def read_finished(folder: Path, run_file: Path) -> FinishedSlide:
    """The results of one slide, as far as its small files tell whether they can be used.

    Args:
        folder: of the slide.
        run_file: its run.json.

    Returns:
        One whose detections are not read yet.

    Raises:
        InputError: a file is missing or damaged.
    """
    run = read_json(run_file, dict, _AGAIN)
    classes, parameters = run.get("classes"), run.get("parameters", {})
    grade = run.get("grade")
    grade = grade.get("classes") if isinstance(grade, dict) else None
    named = classes and all(map(_are_names, (classes, [] if grade is None else grade)))
    slide_file = run.get("slide_file")
    if not isinstance(slide_file, str) or "\0" in slide_file or not named or not isinstance(parameters, dict):
        raise InputError(f"{run_file}: does not name the slide and the classes: {_AGAIN}")
    slide = FinishedSlide(folder.absolute(), run)
    try:
        for name in ("keep_from_score", "score_threshold"):
            if not 0 <= getattr(slide, name) <= 1:
                raise ValueError(name)
    except (TypeError, ValueError, OverflowError) as e:
        raise InputError(f"{run_file}: has no score threshold that is a number from 0 to 1: {_AGAIN}") from e
    for name in ("size_px", "mpp_xy"):
        if run.get(name) is not None and not _is_positive_pair(run[name]):
            raise InputError(f"{run_file}: {name} is not two numbers above 0: {_AGAIN}")
    slide_mpp = parameters.get("slide_mpp")
    for mpp in (*(run.get("mpp_xy") or ()), *([] if slide_mpp is None else [slide_mpp])):
        if not (_is_number(mpp) and SMALLEST_MPP < mpp < LARGEST_MPP):
            raise InputError(f"{run_file}: a resolution is no number of micrometres: {_AGAIN}")
    for name in ("glomeruli", "tissue_mm2"):
        value = slide.summary.get(name)
        if value is not None and not (_is_number(value) and _can_be_sum(value)):
            raise InputError(f"{folder / SUMMARY}: {name} is no number of 0 or more that can be: {_AGAIN}")
    if not (folder / RESULTS).is_file():
        raise InputError(f"{folder / RESULTS}: is missing: {_AGAIN}")
    return slide


def warnings_of(run: Mapping[str, Any]) -> list[str]:
    """What run.json says of the slide: lines, of results of any age and from anyone."""
    found = run.get("warnings")
    return [w for w in found if isinstance(w, str)] if isinstance(found, list) else []


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_text, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


def _can_be_sum(value: float) -> bool:
    return value == 0 or SMALLEST_SUM <= value <= LARGEST_SUM


def _is_positive_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_is_number(v) and v > 0 for v in value)


_AGAIN = "run mhkd detect again for this slide"
