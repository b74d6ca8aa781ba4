"""Pictures of what was found: false positives red, false negatives yellow and dashed, the rest blue.

Red and yellow as in the paper's Fig. 3; blue, since red and green are one colour to many. A glomerulus
that is found as another class is light blue: scores count it as both a false positive and a false
negative. A pathologist judges a red or yellow box on the HR image and understands it on the LR image,
which is all that the student has seen, so both carry the same colours: HR with the annotated boxes and
their classes, LR with the detected boxes, classes, scores.
"""

import os
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from ..evaluation.matching import as_boxes, assign, confused, hits_and_misses
from ..files import replacing
from ..palette import CAPTION, FALSE_POSITIVE, FOUND, MISSED, NOT_SCORED, OTHER_CLASS

LINE_STYLES = {MISSED: "--", NOT_SCORED: ":"}  # the others are solid

# A panel's longer side: tiles of 256 px are enlarged, so that lines and labels leave tissue to see.
MIN_PANEL_PX, MAX_PANEL_PX = 768, 1600
LABEL_PT = 8
LABEL_HEIGHT_PX, LABEL_WIDTH_PX = 15, 7  # of a letter of it at the Visualizer's 100 dpi
STRIP_FONT_PX = 17
GAP_PX = 8


def draw_overlay(image_rgb, detections, annotations, class_names, score_threshold=0.5):
    """Draw detections on an image, coloured by comparison with its annotations.

    Args:
        image_rgb (ndarray): uint8, shape (H, W, 3).
        detections (Instances): ``pred_boxes``, ``scores``, ``pred_classes``, in the image's pixels.
        annotations (list[dict]): the image's ground truth, in Detectron2's standard format.
        class_names (list[str]): in the order of the contiguous ids.
        score_threshold (float): detections with a lower score are left out.

    Returns:
        ndarray: uint8 RGB, brought to a readable size (the longer side 768 to 1600 px).
    """
    found = Comparison(detections, annotations, class_names, score_threshold)
    scale = _panel_scale(image_rgb)
    return draw_panel(image_rgb, _panel_size(image_rgb, scale), found.detection_marks(), scale)


def draw_pair(
    hr_image,
    lr_image,
    detections,
    annotations,
    class_names,
    score_threshold=0.5,
    title="",
    captions=("HR: annotated", "LR: detected"),
):
    """The annotated HR image beside the LR image with the detections, and the counts above them.

    Args:
        hr_image (ndarray): uint8 RGB, shape (H, W, 3).
        lr_image (ndarray): uint8 RGB, of any smaller size; drawn as large as the HR image
            (bilinear, as the student gets it).
        detections (Instances): in HR pixels.
        annotations (list[dict]): in HR pixels.
        class_names (list[str]): in the order of the contiguous ids.
        score_threshold (float): detections with a lower score are left out.
        title (str): the image's name.
        captions (tuple[str, str]): what is written above either panel.

    Returns:
        ndarray: uint8 RGB.
    """
    found = Comparison(detections, annotations, class_names, score_threshold)
    scale = _panel_scale(hr_image)
    size = _panel_size(hr_image, scale)
    hr_panel = draw_panel(hr_image, size, found.annotation_marks(), scale)
    lr_panel = draw_panel(lr_image, size, found.detection_marks(), scale)
    return compose_pair((hr_panel, lr_panel), title, captions, found.legend())


def write_overlays(
    predict,
    dataset_dicts,
    class_names,
    out_dir,
    read_view,
    lr_factor,
    lr_filter="area",
    score_threshold=0.5,
    limit=None,
):
    """Write one picture (see ``draw_pair``) per image of a dataset.

    Args:
        predict (callable): dataset dict -> Instances in HR pixels.
        dataset_dicts (list[dict]): Detectron2's standard format.
        class_names (list[str]): in the order of the contiguous ids.
        out_dir (str or Path): made if need be.
        read_view (callable): ``mhkd.slides.views.read_view``.
        lr_factor (int): HR pixels per LR pixel.
        lr_filter (str): how LR is made from HR.
        score_threshold (float): detections with a lower score are left out.
        limit (int): at most so many pictures, spread over the dataset, of annotated images first.

    Returns:
        list[Path]: ``<out_dir>/<image name>_<image_id>.png``.
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
    """Detections above the threshold against the ground truth, and what to draw for either side.

    A mark is (box XYXY, colour, label).
    """

    def __init__(self, detections, annotations, class_names, score_threshold):
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

        assigned = assign(
            self.boxes, self.scores, self.classes, self.gt_boxes, self.gt_classes, 0.5, self.crowd
        )
        self.hit, self.missed = hits_and_misses(assigned, self.crowd)
        self.false = assigned < 0
        confusions = confused(self.boxes, self.scores, self.false, self.gt_boxes, self.missed)
        self.confused = confusions >= 0
        self.false &= ~self.confused
        self.gt_confused = np.isin(np.arange(len(self.gt_boxes)), confusions)
        self.missed &= ~self.gt_confused

    def detection_marks(self):
        verdicts = [self.hit, self.false, self.confused]
        colors = np.select(verdicts, [FOUND, FALSE_POSITIVE, OTHER_CLASS], NOT_SCORED)
        labels = [f"{self._name(c)} {s:.2f}".strip() for c, s in zip(self.classes, self.scores)]
        misses = zip(self.gt_boxes[self.missed], self.gt_classes[self.missed])
        return (
            self._crowd_marks()
            + [(box, MISSED, self._name(c)) for box, c in misses]
            + list(zip(self.boxes, colors.tolist(), labels))
        )

    def annotation_marks(self):
        colors = np.select([self.missed, self.gt_confused], [MISSED, OTHER_CLASS], FOUND).tolist()
        ground_truth = zip(self.gt_boxes, colors, self.gt_classes, self.crowd)
        return (
            self._crowd_marks()
            + [(box, FALSE_POSITIVE, "") for box in self.boxes[self.false]]
            + [(box, color, self._name(c)) for box, color, c, crowd in ground_truth if not crowd]
        )

    def legend(self):
        counts = [(FOUND, self.hit, "found"), (OTHER_CLASS, self.confused, "found as another class")]
        counts += [(FALSE_POSITIVE, self.false, "false positive"), (MISSED, self.missed, "missed")]
        if len(self.class_names) == 1:
            del counts[1]
        return [(color, f"{which.sum()} {what}") for color, which, what in counts]

    def _crowd_marks(self):
        return [(box, NOT_SCORED, "not scored") for box in self.gt_boxes[self.crowd]]

    def _name(self, class_id):
        """One class goes without saying."""
        return self.class_names[class_id] if len(self.class_names) > 1 else ""


def draw_panel(image_rgb, size, marks, scale):
    """The image at ``size`` (width, height) with its marks, their boxes multiplied by ``scale``."""
    from detectron2.utils.visualizer import Visualizer  # only where something is drawn

    filter_ = cv2.INTER_AREA if size[0] < image_rgb.shape[1] else cv2.INTER_LINEAR
    visualizer = Visualizer(cv2.resize(image_rgb, size, interpolation=filter_))
    visualizer._default_font_size = LABEL_PT  # draw_box takes the width of its lines from it
    for box, color, _ in marks:
        style = LINE_STYLES.get(color, "-")
        visualizer.draw_box(box * scale, alpha=1, edge_color=color, line_style=style)
    for box, color, label in (m for m in marks if m[2]):
        # Beside the tissue, not on it; a miss below, as it often lies under a false positive.
        x0, y0, _, y1 = box * scale
        y = np.clip(y1 if color == MISSED else y0 - LABEL_HEIGHT_PX, 1, size[1] - LABEL_HEIGHT_PX)
        cut = x0 + LABEL_WIDTH_PX * len(label) > size[0]
        visualizer.draw_text(
            label,
            (size[0] - 1 if cut else max(x0, 1), y),
            color=visualizer._change_color_brightness(color, brightness_factor=0.5),
            font_size=LABEL_PT,
            horizontal_alignment="right" if cut else "left",
        )
    return visualizer.get_output().get_image()


def strip_font(size_px):
    """The font that matplotlib brings."""
    path = os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(path, size_px)


def compose_pair(panels, title, captions, legend):
    """Panels side by side under a white strip: title and legend, then a caption for each panel."""
    font = strip_font(STRIP_FONT_PX)
    line = int(1.6 * STRIP_FONT_PX)
    height, width = panels[0].shape[:2]
    legend_width = sum(int(font.getlength(text)) + 3 * STRIP_FONT_PX for _, text in legend)
    title_width = int(font.getlength(title)) + 2 * STRIP_FONT_PX if title else 0
    one_row = title_width + legend_width <= 2 * width + GAP_PX
    rows = 2 if one_row else 3
    # A narrow image gets margins: the text must fit above it.
    text_widths = [legend_width // 2, title_width // 2, *(int(font.getlength(c)) for c in captions)]
    column = max(width, *text_widths)

    canvas = Image.new("RGB", (2 * column + GAP_PX, rows * line + height + GAP_PX), "white")
    draw = ImageDraw.Draw(canvas)
    middle = line // 2
    draw.text((4, middle), title, "black", font, anchor="lm")
    x, y = (title_width, middle) if one_row else (4, line + middle)
    for color, text in legend:
        half = STRIP_FONT_PX // 2
        draw.rectangle((x, y - half, x + 2 * half, y + half), fill=color, outline="black")
        draw.text((x + 3 * half, y), text, "black", font, anchor="lm")
        x += int(font.getlength(text)) + 3 * STRIP_FONT_PX
    for k, (panel, caption) in enumerate(zip(panels, captions)):
        x = k * (column + GAP_PX)
        draw.text((x + 4, (rows - 1) * line + middle), caption, CAPTION, font, anchor="lm")
        canvas.paste(Image.fromarray(panel), (x, rows * line))
    return np.asarray(canvas)


def _captions(mpp, lr_factor, score_threshold):
    hr = f"HR, {mpp:.2g} µm/px" if mpp else "HR"
    lr = f"LR, {mpp * lr_factor:.2g} µm/px" if mpp else f"LR (1/{lr_factor})"
    return f"{hr}: annotated", f"{lr}: detected, score ≥ {score_threshold:g}"


def _select(dataset_dicts, limit):
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


def _panel_scale(image_rgb):
    longer = max(image_rgb.shape[:2])
    return min(max(1, MIN_PANEL_PX / longer), MAX_PANEL_PX / longer)


def _panel_size(image_rgb, scale):
    return round(image_rgb.shape[1] * scale), round(image_rgb.shape[0] * scale)
