"""Pictures of what was found: false positives red, false negatives yellow and dashed, the rest blue.

A glomerulus that is found as another class is light blue: scores count it as both a false positive and a
false negative. A pathologist judges a red or yellow box on the HR image and understands it on the LR image,
which is all that the student has seen, so both carry the same colours: HR with the annotated boxes and their
classes, LR with the detected boxes, classes, scores. The outlines of a student that
finds masks are drawn too, beside those of the annotations.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pycocotools.mask as mask_util
import shapely
from PIL import Image
from tqdm import tqdm

from ..coco.runs import outlines
from ..evaluation.mask_scores import as_rle
from ..evaluation.matching import as_boxes, judge
from ..files import replacing
from ..palette import FALSE_POSITIVE, FOUND, MISSED, NOT_SCORED, OTHER_CLASS
from ..pieces import runs_of_mask
from .panel import Mark, Outline, compose_pair, draw_panel

if TYPE_CHECKING:  # torch takes a while
    from detectron2.structures import Instances

# A panel's longer side: tiles of 256 px are enlarged, so that lines and labels leave tissue to see.
MIN_PANEL_PX, MAX_PANEL_PX = 768, 1600


def draw_overlay(
    image_rgb: np.ndarray,
    detections: Instances,
    annotations: Sequence[dict[str, Any]],
    class_names: Sequence[str],
    score_threshold: float = 0.5,
) -> np.ndarray:
    """Draw detections on an image, coloured by comparison with its annotations.

    Args:
        image_rgb: uint8, shape (H, W, 3).
        detections: ``pred_boxes``, ``scores``, ``pred_classes`` and perhaps ``pred_masks``, in the image's
            pixels.
        annotations: the image's ground truth, in Detectron2's standard format.
        class_names: in the order of the contiguous ids.
        score_threshold: detections with a lower score are left out.

    Returns:
        uint8 RGB, brought to a readable size (the longer side 768 to 1600 px).
    """
    found = Comparison(detections, annotations, class_names, score_threshold)
    scale = _panel_scale(image_rgb)
    size = _panel_size(image_rgb, scale)
    return draw_panel(image_rgb, size, found.detection_marks(), scale, found.detection_outlines())


def draw_pair(
    hr_image: np.ndarray,
    lr_image: np.ndarray,
    detections: Instances,
    annotations: Sequence[dict[str, Any]],
    class_names: Sequence[str],
    score_threshold: float = 0.5,
    title: str = "",
    captions: tuple[str, str] = ("HR: annotated", "LR: detected"),
) -> np.ndarray:
    """Draw the annotated HR image beside the LR image with the detections, and the counts above them.

    Args:
        hr_image: uint8 RGB, shape (H, W, 3).
        lr_image: uint8 RGB, of any smaller size; drawn as large as the HR image (bilinear, as the student
            gets it).
        detections: in HR pixels.
        annotations: in HR pixels.
        class_names: in the order of the contiguous ids.
        score_threshold: detections with a lower score are left out.
        title: the image's name.
        captions: what is written above either panel.

    Returns:
        uint8 RGB.
    """
    found = Comparison(detections, annotations, class_names, score_threshold)
    scale = _panel_scale(hr_image)
    size = _panel_size(hr_image, scale)
    hr_panel = draw_panel(hr_image, size, found.annotation_marks(), scale, found.annotation_outlines())
    lr_panel = draw_panel(lr_image, size, found.detection_marks(), scale, found.detection_outlines())
    return compose_pair((hr_panel, lr_panel), title, captions, found.legend())


def write_overlays(
    predict: Callable[[dict[str, Any]], Instances],
    dataset_dicts: Sequence[dict[str, Any]],
    class_names: Sequence[str],
    out_dir: str | os.PathLike[str],
    read_view: Callable[[dict[str, Any], str, int, str], np.ndarray],
    lr_factor: int,
    lr_filter: str = "area",
    score_threshold: float = 0.5,
    limit: int | None = None,
) -> list[Path]:
    """Write one picture (see ``draw_pair``) per image of a dataset.

    Args:
        predict: from a dataset dict to Instances in HR pixels.
        dataset_dicts: Detectron2's standard format.
        class_names: in the order of the contiguous ids.
        out_dir: made if need be.
        read_view: :func:`mhkd.slides.views.read_view`.
        lr_factor: HR pixels per LR pixel.
        lr_filter: how LR is made from HR.
        score_threshold: detections with a lower score are left out.
        limit: at most so many pictures, spread over the dataset, of annotated images first.

    Returns:
        ``<out_dir>/<image name>_<image_id>.png``.
    """
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    paths = []
    for entry in tqdm(_select(dataset_dicts, limit), desc="overlays", unit="image"):
        name = Path(entry["file_name"]).stem
        picture = draw_pair(
            read_view(entry, "hr", lr_factor, lr_filter),
            read_view(entry, "lr", lr_factor, lr_filter),
            predict(entry),
            entry.get("annotations", []),
            class_names,
            score_threshold,
            title=name,
            captions=_captions(entry.get("mpp"), lr_factor, score_threshold),
        )
        path = out_dir / f"{name}_{entry['image_id']}.png"
        with replacing(path) as temporary:
            Image.fromarray(picture).save(temporary, format="PNG")
        paths.append(path)
    return paths


class Comparison:
    """Detections above the threshold against the ground truth, and what to draw for either side."""

    def __init__(
        self,
        detections: Instances,
        annotations: Sequence[dict[str, Any]],
        class_names: Sequence[str],
        score_threshold: float,
    ) -> None:
        """Match.

        Args:
            detections, annotations, class_names, score_threshold: see :func:`draw_overlay`.
        """
        from detectron2.structures import BoxMode

        detections = detections.to("cpu")
        detections = detections[detections.scores >= score_threshold]
        self.boxes = detections.pred_boxes.tensor.numpy()
        self.scores = detections.scores.numpy()
        self.classes = detections.pred_classes.numpy()
        self.gt_boxes = as_boxes(
            [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations]
        )
        self.gt_classes = np.array([a["category_id"] for a in annotations], int)
        self.crowd = np.array([a.get("iscrowd", 0) for a in annotations], bool)
        self.class_names = class_names
        self.masks = detections.pred_masks.numpy() if detections.has("pred_masks") else None
        self.gt_segmentations = [a.get("segmentation") for a in annotations]

        found = (self.boxes, self.scores, self.classes)
        self.verdicts = judge(*found, self.gt_boxes, self.gt_classes, self.crowd)
        self.gt_confused = np.isin(np.arange(len(self.gt_boxes)), self.verdicts.confused_with)

    def detection_marks(self) -> list[Mark]:
        """What was found, and what was missed."""
        of, colors = self.verdicts, self._detection_colors()
        labels = [f"{self._name(c)} {s:.2f}".strip() for c, s in zip(self.classes, self.scores)]
        misses = zip(self.gt_boxes[of.missed], self.gt_classes[of.missed])
        return (
            self._crowd_marks()
            + [(box, MISSED, self._name(c)) for box, c in misses]
            + list(zip(self.boxes, colors, labels))
        )

    def annotation_marks(self) -> list[Mark]:
        """What is annotated, and what was found where nothing is."""
        ground_truth = zip(self.gt_boxes, self._annotation_colors(), self.gt_classes, self.crowd)
        return (
            self._crowd_marks()
            + [(box, FALSE_POSITIVE, "") for box in self.boxes[self.verdicts.false]]
            + [(box, color, self._name(c)) for box, color, c, crowd in ground_truth if not crowd]
        )

    def detection_outlines(self) -> list[Outline]:
        """Of the masks that were found."""
        if self.masks is None:
            return []
        return [(ring, c) for mask, c in zip(self.masks, self._detection_colors()) for ring in _rings(mask)]

    def annotation_outlines(self) -> list[Outline]:
        """Of what is annotated, where masks are found."""
        found: list[Outline] = []
        if self.masks is None:
            return found
        for outline, color, crowd in zip(self.gt_segmentations, self._annotation_colors(), self.crowd):
            if isinstance(outline, list) and not crowd:
                found += [(np.reshape(ring, (-1, 2)), color) for ring in outline]
            elif outline and not crowd:
                mask = mask_util.decode(as_rle(outline, tuple(outline["size"])))
                found += [(ring, color) for ring in _rings(mask.astype(bool))]
        return found

    def _detection_colors(self) -> list[str]:
        of = self.verdicts
        colors = np.select([of.hit, of.false, of.confused], [FOUND, FALSE_POSITIVE, OTHER_CLASS], NOT_SCORED)
        found: list[str] = colors.tolist()
        return found

    def _annotation_colors(self) -> list[str]:
        colors = np.select([self.verdicts.missed, self.gt_confused], [MISSED, OTHER_CLASS], FOUND)
        found: list[str] = colors.tolist()
        return found

    def legend(self) -> list[tuple[str, str]]:
        """Colours, and what they stand for with its number."""
        of = self.verdicts
        counts = [(FOUND, of.hit, "found"), (OTHER_CLASS, of.confused, "found as another class")]
        counts += [(FALSE_POSITIVE, of.false, "false positive"), (MISSED, of.missed, "missed")]
        if len(self.class_names) == 1:
            del counts[1]
        return [(color, f"{which.sum()} {what}") for color, which, what in counts]

    def _crowd_marks(self) -> list[Mark]:
        return [(box, NOT_SCORED, "not scored") for box in self.gt_boxes[self.crowd]]

    def _name(self, class_id: int) -> str:
        """One class goes without saying."""
        return self.class_names[class_id] if len(self.class_names) > 1 else ""


def _rings(mask: np.ndarray) -> list[np.ndarray]:
    """Outlines of a mask's pieces, each (n, 2), in its pixels."""
    pieces = outlines(*runs_of_mask(np.ascontiguousarray(mask.T)))
    return [shapely.get_coordinates(part.exterior) for part in shapely.get_parts(pieces)]


def _captions(mpp: float | None, lr_factor: int, score_threshold: float) -> tuple[str, str]:
    hr = f"HR, {mpp:.2g} µm/px" if mpp else "HR"
    lr = f"LR, {mpp * lr_factor:.2g} µm/px" if mpp else f"LR (1/{lr_factor})"
    return f"{hr}: annotated", f"{lr}: detected, score ≥ {score_threshold:g}"


def _select(dataset_dicts: Sequence[dict[str, Any]], limit: int | None) -> Sequence[dict[str, Any]]:
    if limit is None or limit >= len(dataset_dicts):
        return dataset_dicts
    annotated = [k for k, entry in enumerate(dataset_dicts) if entry.get("annotations")]
    if len(annotated) < limit:
        chosen = annotated + sorted(set(range(len(dataset_dicts))) - set(annotated))
        chosen = chosen[:limit]
    else:
        # Neighbours in a dataset are often of one slide.
        chosen = [annotated[k * len(annotated) // limit] for k in range(limit)]
    return [dataset_dicts[k] for k in sorted(chosen)]


def _panel_scale(image_rgb: np.ndarray) -> float:
    longer = max(image_rgb.shape[:2])
    return min(max(1, MIN_PANEL_PX / longer), MAX_PANEL_PX / longer)


def _panel_size(image_rgb: np.ndarray, scale: float) -> tuple[int, int]:
    return round(image_rgb.shape[1] * scale), round(image_rgb.shape[0] * scale)
