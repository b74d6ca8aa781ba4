"""Figures of a comparison: the rows' scores, and what each of them finds in one region."""

import math
from pathlib import Path

import cv2
import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from PIL import Image, ImageDraw

from ..files import replacing
from ..fonts import drawn, sans
from ..palette import ERROR_BAR, FOUND, OURS, PAPERS, RUNS
from ..slides.views import read_view
from .cost import draw_line, error_bars, over_gflops
from .figures import draw_title, writing_figure
from .overlay import Comparison
from .panel import draw_panel

PANEL_PX = 560  # width of a method's panel


def plot_table(content: dict, path: Path) -> Path:
    """A bar a row: our AP with its interval, each seed as a dot, the paper's AP beside it.

    Args:
        content: of :func:`mhkd.comparison.report.collect`.
    """
    rows = content["rows"]
    with writing_figure(path, (7.5, 1.4 + 0.5 * len(rows))) as figure:
        axes = figure.add_subplot()
        y = np.arange(len(rows))[::-1]
        means = np.array([r["scores"]["AP"]["mean"] or 0.0 for r in rows])
        errors = error_bars(means, [r["AP_interval"] or (m, m) for r, m in zip(rows, means)])
        label = f"here ({content['dataset']}), {content['interval_percent']} % by {content['interval_by']}"
        axes.barh(y + 0.19, means, 0.36, color=OURS, xerr=errors, ecolor=ERROR_BAR, capsize=3, label=label)
        for k, r in enumerate(rows):
            values = [v for v in r["scores"]["AP"]["values"] if v is not None]
            if len(values) > 1:
                axes.plot(values, [y[k] + 0.19] * len(values), "o", color="white", mec="black", ms=4)
        papers = [r["paper"].get("AP", np.nan) for r in rows]
        if not np.isnan(papers).all():
            axes.barh(y - 0.19, papers, 0.36, color=PAPERS, label=f"the paper ({content['paper_dataset']})")
        axes.set_yticks(y, [r["title"] for r in rows])
        axes.set_xlabel("AP on low resolution, %")
        axes.set_xlim(left=0)
        draw_title(figure, f"Table {content['table']}: {content['title']}")
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return path


def plot_cost(content: dict, path: Path) -> Path:
    """A line a schedule, a point a row: AP with its interval over GFLOPs of an image.

    Args:
        content: as of :func:`plot_table`; rows whose FLOPs are not known are left out.
    """
    known = [r for r in content["rows"] if r["flops"] and r["scores"]["AP"]["mean"] is not None]
    score = f"AP on low resolution, % ({content['interval_percent']} % by {content['interval_by']})"
    with over_gflops(path, score, f"{content['dataset']}: {content['title']}") as axes:
        for number, schedule in enumerate(dict.fromkeys(r["schedule"] for r in known)):
            rows = sorted((r for r in known if r["schedule"] == schedule), key=lambda r: r["flops"])
            draw_line(
                axes,
                [r["flops"] / 1e9 for r in rows],
                [r["scores"]["AP"]["mean"] for r in rows],
                [r["AP_interval"] for r in rows],
                [r["title"] for r in rows],
                fmt="o-",
                color=RUNS[number % len(RUNS)],
                label=schedule,
            )
        axes.margins(x=0.3)
        axes.set_ylim(bottom=0)
    return path


def draw_regions(
    dataset: str,
    methods: dict[str, list[dict]],
    path: Path,
    lr_factor: int,
    lr_filter: str = "area",
    score_threshold: float = 0.5,
) -> Path:
    """One region, all methods, as the paper's Fig. 3: red false positives, yellow false negatives.

    The region is that of the test set with most annotated objects; the first panel has them on HR.

    Args:
        methods: title -> detections on LR, in COCO's result format.
    """
    entries = DatasetCatalog.get(dataset)
    metadata = MetadataCatalog.get(dataset)
    entry = max(entries, key=lambda e: len(e.get("annotations", ())))
    annotations = entry.get("annotations", [])
    to_contiguous = metadata.get("thing_dataset_id_to_contiguous_id")
    hr, lr = (read_view(entry, view, lr_factor, lr_filter) for view in ("hr", "lr"))
    scale = PANEL_PX / hr.shape[1]
    size = PANEL_PX, round(hr.shape[0] * scale)
    panels = []
    for title, detections in {"annotated (HR)": None, **methods}.items():
        found = [d for d in detections or () if d["image_id"] == entry["image_id"]]
        found = _instances(found, to_contiguous, hr.shape[:2])
        compared = Comparison(found, annotations, metadata.thing_classes, score_threshold)
        if detections is None:
            marks = [(box, FOUND, "") for box in compared.gt_boxes]
            legend = [(FOUND, f"{len(annotations)} objects")]
        else:
            marks = [(box, color, "") for box, color, _ in compared.detection_marks()]
            legend = compared.legend()
        panels.append((draw_panel(hr if detections is None else lr, size, marks, scale), title, legend))
    picture = _grid(panels, f"{Path(entry['file_name']).stem}, score ≥ {score_threshold:g}")
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")
    return path


def _instances(detections: list[dict], to_contiguous: dict | None, size: tuple[int, int]) -> Instances:
    boxes = torch.tensor([d["bbox"] for d in detections], dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    classes = [d["category_id"] for d in detections]
    classes = [to_contiguous[c] if to_contiguous else c for c in classes]
    return Instances(
        size,
        pred_boxes=Boxes(boxes),
        scores=torch.tensor([d["score"] for d in detections], dtype=torch.float32),
        pred_classes=torch.tensor(classes, dtype=torch.int64),
    )


def _grid(panels: list[tuple[np.ndarray, str, list[tuple[str, str]]]], title: str) -> np.ndarray:
    """Panels three in a row, each under its title and its legend: squares of a colour, each with a text."""
    font, gap, square = sans(15), 8, 12
    height, width = panels[0][0].shape[:2]
    line, columns = 24, min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    size = columns * (width + gap) + gap, line + rows * (height + 2 * line + gap)
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((gap, line // 2), drawn(title), "black", font, anchor="lm")
    for k, (panel, heading, legend) in enumerate(panels):
        x, y = gap + k % columns * (width + gap), line + k // columns * (height + 2 * line + gap)
        canvas.paste(Image.fromarray(cv2.resize(panel, (width, height))), (x, y + 2 * line))
        draw.text((x, y + line // 2), drawn(heading), "black", font, anchor="lm")
        middle = y + line + line // 2
        for color, text in legend:
            draw.rectangle((x, middle - 6, x + square, middle + 6), fill=color, outline="black")
            draw.text((x + square + 5, middle), drawn(text), "black", font, anchor="lm")
            x += square + 5 + int(font.getlength(drawn(text))) + 14
    return np.asarray(canvas)
