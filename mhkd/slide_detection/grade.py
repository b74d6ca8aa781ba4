"""A class for every glomerulus that was found: a classifier looks at the field around each."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from ..classifier import Classifier, load_classifier
from ..errors import InputError
from ..evaluation.detections import Detections
from ..slides.slide import Slide
from ..tiling.cut import Cut

BATCH = 16  # fields that are read before the network looks at them


@dataclass(frozen=True, eq=False)
class Grader:
    """A classifier and the field that it looks at.

    Attributes:
        cut: "centred", as the images were that it was trained on.
    """

    classifier: Classifier
    cut: Cut

    @property
    def record(self) -> dict[str, Any]:
        """For run.json."""
        return {"folder": self.classifier.folder, **self.decides}

    @property
    def decides(self) -> dict[str, Any]:
        """What decides about the grades."""
        return {
            "checksum": self.classifier.checksum,
            "classes": list(self.classifier.class_names),
            "lr_mpp": self.classifier.lr_mpp,
            "field_um": self.cut.field_um,
            "field_boxes": self.cut.field_boxes,
        }

    def grade(self, slide: Slide, detections: Detections, progress: bool = True) -> Detections:
        """The detections with their grades.

        Args:
            slide: that they are on.
            detections: in its base pixels.
            progress: show a bar.

        Raises:
            InputError: the slide is damaged.
        """
        said = [np.empty((0, len(self.classifier.class_names)))]
        boxes = detections.boxes_px.tolist()
        with tqdm(total=len(boxes), unit="glomerulus", desc="grades", disable=not progress) as bar:
            for start in range(0, len(boxes), BATCH):
                fields = [self._field(slide, box) for box in boxes[start : start + BATCH]]
                said.append(self.classifier.classify(fields))
                bar.update(len(fields))
        return replace(detections, grades=np.concatenate(said), grade_names=self.classifier.class_names)

    def _field(self, slide: Slide, box: list[float]) -> np.ndarray:
        """LR pixels, uint8 RGB."""
        x, y, width, height = self.cut.field(box, slide.size_px, slide.mpp_xy)
        mpp = self.classifier.lr_mpp
        width_px, height_px = (max(1, round(n * m / mpp)) for n, m in zip((width, height), slide.mpp_xy))
        return slide.read_region(x, y, width_px, height_px, mpp, resample=self.classifier.lr_filter)


def load_grader(
    folder: str,
    device: str = "",
    lr_mpp: float | None = None,
    field_um: float | None = None,
    field_boxes: float | None = None,
) -> Grader:
    """Load a classifier that is to grade what a detector finds.

    Args:
        folder: of the exported student.
        device: "cpu", "cuda", ...; empty: CUDA if there is one.
        lr_mpp: micrometres per LR pixel, for one that does not record it.
        field_um, field_boxes: the field around a glomerulus, in place of what it records; see
            :class:`mhkd.tiling.cut.Cut`.

    Raises:
        InputError: it is no classifier, its resolution or field is not known, or two fields are given.
    """
    classifier = load_classifier(folder, device, lr_mpp, "--grade-mpp")
    if not classifier.lr_mpp:
        raise InputError(
            f"{folder}: does not record the resolution that it was trained at, since its data had none: give "
            "it in micrometres per LR pixel with --grade-mpp"
        )
    if field_um is not None and field_boxes is not None:
        raise InputError("--grade-field-um and --grade-field-boxes: give one of them")
    if field_um is None and field_boxes is None:
        cut = classifier.cut
        if cut is None or cut.mode != "centred":
            looked = f"images cut with --mode {cut.mode}" if cut else "images of which no field is recorded"
            raise InputError(
                f"{folder}: was trained on {looked}: give the field around a glomerulus with "
                "--grade-field-um or --grade-field-boxes"
            )
        field_um, field_boxes = cut.field_um, cut.field_boxes
    return Grader(classifier, Cut("centred", field_um=field_um, field_boxes=field_boxes))
