"""Corrected slides as annotations: GeoJSON that QuPath opens and ``mhkd tile`` reads."""

import json
import os
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import write_text
from ..slide_detection.exports.geojson import qupath_geojson
from ..slide_detection.finished import FinishedSlide
from .corrected import Corrected, corrected
from .journal import CorrectionFile

FIELD_CLASS = "Corrected field*"  # to QuPath and to mhkd tile a star says that it is no object
_NAMESPACE = uuid.UUID("b7c1a0e2-6a7e-5d6b-9d0a-2f8a1f3c5e11")  # any fixed one


def corrected_geojson(slide: FinishedSlide, found: Corrected) -> dict[str, Any]:
    """A FeatureCollection of QuPath's annotation objects.

    Args:
        slide: whose name the ids depend on, and whose resolution the sizes.
        found: what is on it. What a person drew has no score, and no area of a mask.
    """
    mpp_xy = slide.run.get("mpp_xy")
    content = qupath_geojson(found.detections, mpp_xy or (1.0, 1.0), slide.name)
    for feature, is_drawn in zip(content["features"], found.drawn):
        measurements = feature["properties"]["measurements"]
        for name in list(measurements):
            of_mask = name in ("Area um2", "Mean diameter um")
            if (is_drawn and (of_mask or name == "Score")) or (not mpp_xy and " um" in name):
                del measurements[name]
    for x0, y0, x1, y1 in found.fields_px.tolist():
        ring = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
        content["features"].append(
            {
                "type": "Feature",
                "id": str(uuid.uuid5(_NAMESPACE, f"{slide.name} {ring}")),
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {
                    "objectType": "annotation",
                    "classification": {"name": FIELD_CLASS, "color": [120, 120, 120]},
                    "isLocked": True,
                },
            }
        )
    return content


def geojson_text(slide: FinishedSlide, file: CorrectionFile, score_threshold: float | None = None) -> str:
    """The same as a file's content, see :func:`mhkd.corrections.corrected.corrected`.

    Args:
        slide: its results.
        file: its corrections.
        score_threshold: what nobody corrected counts from this score on; default: the results' own.

    Raises:
        InputError: results or corrections cannot be read.
    """
    threshold = slide.score_threshold if score_threshold is None else score_threshold
    found = corrected(slide.detections(), file.standing(), threshold)
    return json.dumps(corrected_geojson(slide, found), allow_nan=False) + "\n"


def write_corrected(
    slides: Iterable[FinishedSlide], out: str | os.PathLike[str], score_threshold: float | None, *,
    also_uncorrected: bool = False, overwrite: bool = False,
) -> tuple[list[Path], list[str]]:  # fmt: skip
    """``<slide's file name>.geojson`` of each slide that somebody corrected.

    Args:
        slides: their results.
        out: folder, made if need be.
        score_threshold: see :func:`geojson_text`.
        also_uncorrected: those too of which nobody said anything.
        overwrite: files of other content that are there.

    Returns:
        The files, and the names of slides that were left out.

    Raises:
        InputError: nothing to write, or a file of other content is there; nothing is written then.
    """
    texts: dict[Path, str] = {}
    left_out = []
    for slide in slides:
        file = CorrectionFile(slide)
        if also_uncorrected or file.standing():
            texts[Path(out) / f"{slide.name}.geojson"] = geojson_text(slide, file, score_threshold)
        else:
            left_out.append(slide.name)
    if not texts:
        raise InputError(
            f"nobody has corrected any of the slides {', '.join(left_out)}: do so with mhkd view, or give "
            "--all"
        )
    for path, text in texts.items():
        if path.exists() and not overwrite and path.read_text(encoding="utf-8", errors="replace") != text:
            raise InputError(
                f"{path}: is there already, and other than what would be written: give --overwrite"
            )
    for path, text in texts.items():
        write_text(text, path)
    return list(texts), left_out
