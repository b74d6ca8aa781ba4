"""Corrections as the page sends and shows them: plain values, boxes in its own, square pixels."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ..corrections.corrected import object_ids
from ..corrections.export import geojson_text
from ..corrections.journal import ACCEPTED, Correction, CorrectionFile, standing
from ..errors import InputError
from ..evaluation.detections import Detections
from ..slide_detection.finished import FinishedSlide


class PageCorrections:
    """Of one slide."""

    def __init__(self, finished: FinishedSlide, stretch: np.ndarray) -> None:
        """
        Args:
            finished: its results.
            stretch: the page's pixels per base pixel, along x and y.
        """
        self._finished, self._stretch = finished, np.tile(stretch, 2)
        self._file = CorrectionFile(finished)

    def content(self, found: Detections) -> dict[str, Any]:
        """The ids by which detections are spoken of, and what :meth:`after` gives from the begin.

        Raises:
            InputError: the file is of another slide, or cannot be read.
        """
        records = self._file.all()
        return {"ids": object_ids(found, standing(records)), **self._since(records, 0)}

    def after(self, number: int) -> dict[str, Any]:
        """What was said after so many words: "records", and in "since" how many there are in all.

        Raises:
            InputError: as above.
        """
        return self._since(self._file.all(), number)

    def keep(self, sent: Any, number: int) -> dict[str, Any]:
        """Writes a word that the page sent to the disk, and answers like :meth:`after`.

        Args:
            sent: what came, of which nothing is taken for granted.
            number: how many words the page knows.

        Raises:
            ValueError: it is no correction of this slide, and why.
            InputError: as above, or it cannot be written.
        """
        word = Correction.parse(sent)
        if word.verdict == ACCEPTED and word.class_name not in self._finished.class_names:
            raise ValueError(f"has a class that is none of {', '.join(self._finished.class_names)}")
        size_px = self._finished.run.get("size_px")
        if not size_px:
            raise InputError(
                f"{self._finished.folder}: does not record the slide's size: run mhkd detect again"
            )
        box = np.round(np.divide(word.box_px, self._stretch), 2)
        # The page's last pixel may be a part of one.
        inside = (box[:2] >= 0).all() and (box[2:] < size_px + 1 / self._stretch[2:]).all()
        x0, y0, x1, y1 = np.minimum(box, np.tile(size_px, 2)).tolist()
        if not (inside and x0 < x1 and y0 < y1):
            raise ValueError(f"has a box that is not on the slide of {size_px[0]}x{size_px[1]} px")
        return self._since(self._file.append(replace(word, box_px=(x0, y0, x1, y1))), number)

    def geojson(self, score_threshold: float) -> bytes:
        """The corrected slide, see :func:`mhkd.corrections.export.geojson_text`."""
        return geojson_text(self._finished, self._file, score_threshold).encode()

    def _since(self, records: Sequence[Correction], number: int) -> dict[str, Any]:
        new = records[number:] if number <= len(records) else records  # the file is another one
        boxes = np.reshape([r.box_px for r in new], (-1, 4)) * self._stretch
        shown = [asdict(r) | {"box_px": box} for r, box in zip(new, boxes.round(2).tolist())]
        return {"since": len(records), "records": shown}
