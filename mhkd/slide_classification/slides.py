"""A classifier on slides: every piece of tissue, or the slide as a whole."""

import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..classifier import Classifier
from ..errors import InputError
from ..evaluation.detections import Detections
from ..files import locked, read_json, write_json, write_text
from ..slide_detection.exports.dsa import dsa_annotation
from ..slide_detection.exports.geojson import qupath_geojson
from ..slide_detection.slide_folder import WORK, FileState, file_state, reading, writing
from ..slides.slide import Slide, slide_with_mpp
from ..slides.slide_table import mpp_of
from ..tables import csv_text
from ..terminal import legible
from ..tiling.cut import Cut, cut_images
from ..version import __version__
from .images import Said, row_of

GEOJSON, DSA, TABLE, RUN = "sections.geojson", "sections_dsa.json", "sections.csv", "run.json"
FILES = (GEOJSON, DSA, TABLE)


@dataclass(frozen=True)
class SlideOptions:
    """How slides are cut and read.

    Attributes:
        cut: "section" or "whole".
        slide_mpp, override_slide_mpp: see :func:`mhkd.slides.slide.slide_with_mpp`, of all or by file name.
    """

    cut: Cut
    slide_mpp: float | dict[str, float] | None = None
    override_slide_mpp: float | dict[str, float] | None = None


def classify_slides(slides: Sequence[str], out: Path, classifier: Classifier, options: SlideOptions) -> Said:
    """Look at every slide; of its pieces the mean of the probabilities is the slide's.

    ``out/<slide>/`` gets a table of the pieces, GeoJSON for QuPath and JSON for the Digital Slide Archive.
    Finished slides are skipped; one that cannot be used does not keep the others from being finished.

    Raises:
        InputError: the resolution of the student is not known; another process is at work in ``out``.
    """
    if not classifier.lr_mpp:
        raise InputError(
            f"{classifier.folder}: does not record the resolution that it was trained at, since its data had "
            "none: give it in micrometres per LR pixel with --student-mpp"
        )
    said = Said()
    busy = f"{out}: another process is at work there: wait for it, or choose another --out"
    with locked(out / WORK, busy):
        for path in slides:
            try:
                said.probabilities[path] = _classify_slide(path, out, classifier, options)
            except InputError as e:
                said.errors[path] = " ".join(str(e).split())
                tqdm.write(legible(f"failed: {said.errors[path]}"))
    return said


def _classify_slide(path: str, out: Path, classifier: Classifier, options: SlideOptions) -> list[float]:
    folder = out / os.path.basename(path)
    given = [mpp_of(mpp, path) for mpp in (options.slide_mpp, options.override_slide_mpp)]
    slide, _ = slide_with_mpp(path, *given)
    cut = replace(options.cut, mpp=classifier.lr_mpp)
    state = file_state(path)
    key = _key(path, state, slide, classifier, cut)
    finished = _finished(folder, key)
    if finished is not None:
        return finished
    counts: Counter[str] = Counter()
    with reading(path, state):
        pieces = list(cut_images(slide, (), cut, "", counts))
        if not pieces:
            raise InputError(f"{path}: there is no tissue on it: is it the right slide? Or use --mode whole")
        said = []
        for piece in tqdm(pieces, desc=legible(folder.name), unit="section"):
            pixels = slide.read_region(
                piece["x_px"], piece["y_px"], piece["width"], piece["height"], piece["mpp"],
                resample=classifier.lr_filter,
            )  # fmt: skip
            said.append(classifier.classify([pixels])[0])
    probabilities = np.array(said)
    found = _as_detections(pieces, probabilities, slide, classifier)
    mean = probabilities.mean(0).tolist()
    with writing(folder):
        (folder / RUN).unlink(missing_ok=True)
        write_json(qupath_geojson(found, slide.mpp_xy, folder.name, "Section"), folder / GEOJSON, indent=None)
        described = f"{folder.name}: {len(found)} sections"
        write_json(dsa_annotation(found, "Sections", described), folder / DSA, indent=None)
        write_text(_table(found, probabilities), folder / TABLE)
        run = {
            "key": key,
            "slide_file": os.path.abspath(path),
            "classes": list(classifier.class_names),
            "probabilities": mean,
            "sections": len(found),
            "student": {"folder": classifier.folder, "lr_mpp": classifier.lr_mpp},
            "cut": asdict(cut),
            "mpp_xy": list(slide.mpp_xy),
            "remarks": sorted(counts),
            "version": __version__,
            "command": sys.argv,
        }
        write_json(run, folder / RUN)
    return mean


def _as_detections(
    pieces: Sequence[dict[str, Any]], probabilities: np.ndarray, slide: Slide, classifier: Classifier
) -> Detections:
    """Boxes in base pixels, with the most probable class and its probability."""
    scale = [piece["mpp"] / m for piece in pieces[:1] for m in slide.mpp_xy]
    corners = np.array([[piece["x_px"], piece["y_px"]] for piece in pieces])
    sizes = np.array([[piece["width"], piece["height"]] for piece in pieces]) * scale
    ends = np.minimum(corners + sizes, slide.size_px)
    boxes = np.round(np.hstack([corners, ends]), 2)
    return Detections(boxes, probabilities.max(1), probabilities.argmax(1), classifier.class_names)


def _table(found: Detections, probabilities: np.ndarray) -> str:
    header = ["number", "class", "probability", *(f"p({name})" for name in found.class_names)]
    header += ["x_px", "y_px", "width_px", "height_px"]
    lines = []
    for number, (box, said) in enumerate(zip(found.boxes_px.tolist(), probabilities.tolist()), 1):
        size = [round(box[k + 2] - box[k], 2) for k in range(2)]
        lines.append([*row_of(str(number), found.class_names, said), *box[:2], *size])
    return csv_text(header, lines)


def _key(path: str, state: FileState | None, slide: Slide, classifier: Classifier, cut: Cut) -> str:
    """Stands for all that the results depend on."""
    content = [
        __version__,
        os.path.abspath(path),
        (state or ())[:2],
        slide.mpp_xy,
        classifier.checksum,
        asdict(cut),
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _finished(folder: Path, key: str) -> list[float] | None:
    """Probabilities of a slide whose results are there and of this key."""
    try:
        run = read_json(folder / RUN, dict, "")
        found = [float(p) for p in run["probabilities"]]
    except (ValueError, KeyError, TypeError, OverflowError):  # InputError is a ValueError
        return None
    whole = all((folder / name).is_file() for name in FILES)
    return found if run.get("key") == key and whole else None
