"""Reads what ``mhkd detect`` left in a folder: one sub-folder a slide, finished where run.json is there."""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mhkd.errors import InputError
from mhkd.wsi.detection.detections import Detections
from mhkd.wsi.slide import Slide

import numpy as np

RUN, RESULTS, SUMMARY = "run.json", "coco_instances_results.json", "summary.json"


@dataclass(frozen=True)
class FinishedSlide:
    """The results of one slide.

    Attributes:
        folder (Path): which has them; it is named like the slide's file.
        run (dict): content of run.json.
    """

    folder: Path
    run: dict

    @property
    def name(self):
        """str: the slide's file name."""
        return self.folder.name

    @property
    def class_names(self):
        """tuple[str, ...]: the student's, in the order of the category ids from 1."""
        return tuple(self.run["classes"])

    @property
    def score_threshold(self):
        """float: the lowest score that a detection in the results may have."""
        return float(self.run.get("parameters", {}).get("score_threshold") or 0.0)

    @cached_property
    def summary(self):
        """dict: content of summary.json: "glomeruli", "counts", "tissue_mm2", ..."""
        return _read_json(self.folder / SUMMARY, dict)

    def detections(self):
        """Detections: in base pixels, in the order of the file.

        Raises:
            InputError: the file is missing or damaged.
        """
        path = self.folder / RESULTS
        found = _read_json(path, list)
        try:
            boxes = np.array([d["bbox"] for d in found], np.float64).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            scores = [d["score"] for d in found]
            return Detections(boxes, scores, [d["category_id"] - 1 for d in found], self.class_names)
        except (KeyError, TypeError, ValueError) as e:
            raise InputError(f"{path}: holds no detections of {self.class_names} ({e}): {_AGAIN}") from e

    def slide_path(self, slides_dir=None):
        """Where the slide is.

        Args:
            slides_dir (str, optional): where it is now; default: where it was.

        Returns:
            str: path.

        Raises:
            InputError: it is not there.
        """
        path = os.path.join(slides_dir, self.name) if slides_dir else self.run["slide_file"]
        if not os.path.exists(path):
            remedy = "correct" if slides_dir else "say where it is now with"
            raise InputError(f"{path}: the slide is no longer there: {remedy} --slides DIR")
        return path

    def open_slide(self, slides_dir=None):
        """The slide that was looked at.

        Args:
            slides_dir (str, optional): see :meth:`slide_path`.

        Returns:
            Slide: a new one, with the resolution that was used then.

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


def find_finished(out):
    """What is finished in a folder.

    Args:
        out (str): ``--out`` of ``mhkd detect``, or the folder of one slide in it.

    Returns:
        tuple[list[FinishedSlide], list[str]]: sorted by name; and the names of slides that were begun and
        are not finished.

    Raises:
        InputError: no such folder, nothing finished in it, or a damaged run.json.
    """
    out = Path(out)
    if not out.is_dir():
        raise InputError(f"{out}: there is no such folder of results: make it with mhkd detect --out {out}")
    folders = [out] if (out / RUN).exists() else sorted(p for p in out.iterdir() if p.is_dir())
    finished = [p for p in folders if (p / RUN).exists()]
    unfinished = [p.name for p in folders if p not in finished and (p / ".work").is_dir()]
    if not finished:
        begun = f" ({len(unfinished)} begun: run the same mhkd detect again)" if unfinished else ""
        raise InputError(f"{out}: has no finished slide{begun}: make some with mhkd detect --out {out}")
    return [_finished(p) for p in finished], unfinished


_AGAIN = "run mhkd detect again for this slide"


def _finished(folder):
    run = _read_json(folder / RUN, dict)
    classes = run.get("classes")
    if not isinstance(run.get("slide_file"), str) or not isinstance(classes, list) or not classes:
        raise InputError(f"{folder / RUN}: does not name the slide and the classes: {_AGAIN}")
    return FinishedSlide(folder.absolute(), run)


def _read_json(path, kind):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise InputError(f"{path}: is missing: {_AGAIN}") from e
    except (OSError, ValueError) as e:
        raise InputError(f"{path}: cannot be read ({e}): {_AGAIN}") from e
    if not isinstance(content, kind):
        raise InputError(f"{path}: holds no {'list' if kind is list else 'object'}: {_AGAIN}")
    return content
