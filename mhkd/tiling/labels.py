"""Writes ``labels_<split>.csv`` of images that are parts of slides, as :mod:`mhkd.data.labels` reads it."""

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

COLUMNS = (
    "file_name",
    "class",
    "slide",
    "patient",
    "mpp",
    "x_px",
    "y_px",
    "width_px",
    "height_px",
    "slide_mpp",
)


def label_rows(
    images: Iterable[Mapping[str, Any]],
    file_name: str,
    slide: str | None,
    patient: str | None,
    slide_mpp: float | None,
) -> list[dict[str, Any]]:
    """A row for each image of a slide.

    Args:
        images: from :func:`mhkd.tiling.cut.cut_images`; those without ``mpp`` are of base pixels.
        file_name: of the slide, relative to the table's folder.
        slide, patient: names.
        slide_mpp: where the file does not record it.
    """
    return [
        {
            "file_name": file_name,
            "class": image["class"],
            "slide": slide,
            "patient": patient,
            "mpp": image["mpp"],
            "x_px": image["x_px"],
            "y_px": image["y_px"],
            "width_px": image["width"],
            "height_px": image["height"],
            "slide_mpp": slide_mpp if image["mpp"] else None,
        }
        for image in images
    ]


def labels_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """The file's content. Names stand as they are: what reads it again must find the same."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, **{k: _short(row[k]) for k in ("x_px", "y_px")}} for row in rows)
    return out.getvalue()


def _short(value: float) -> float | int:
    return int(value) if value == int(value) else value
