#!/usr/bin/env python
"""Whole-slide detection against SAHI's sliced inference and a plain DefaultPredictor loop, in one run.

The same weights, slide, tile size, overlap and lowest score for all. SAHI (its Detectron2 backend, which
infers tile by tile) and the loop get the slide as one image at the student's resolution, which is how they
are used; reading it is part of their time. "same tiles" is mhkd without its tissue mask, so that it has to
look at all of the glass too. They take turns; each figure is the median of the rounds.

SAHI is no dependency of the project: pip install --no-deps -r requirements/benchmark.txt

ANNOTATED slides come with their GeoJSON beside them, as `mhkd make-slides` draws them. They become the
sections of one slide, with glass between them as on a real one.
"""

import contextlib
import gc
import json
import math
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mhkd  # noqa: F401  (first)
from mhkd.annotations import ClassMap
from mhkd.commands.numbers import ABOVE_0, AT_LEAST_0, FROM_1
from mhkd.slide_detection.options import DetectOptions
from mhkd.slide_detection.run import detect_slide
from mhkd.slide_detection.student import Student, load_student
from mhkd.slides.slide import Slide
from mhkd.tiling.objects import read_objects

import click
import cv2
import numpy as np
import pyvips
import torch
from detectron2.engine import DefaultPredictor
from faster_coco_eval import COCO, COCOeval_faster
from torchvision.ops import batched_nms
from tqdm import tqdm

Found = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes XYXY, scores, classes
LOWEST_SCORE = 0.05
GLASS = (244, 243, 245)


def compose(
    slides: Sequence[str], folder: Path, columns: int, gap: float
) -> tuple[str, np.ndarray, list[str]]:
    """The slides as sections of one, ``gap`` times their width apart; returns it and its objects."""
    sections = [Slide(s) for s in slides]
    width, height = sections[0].size_px
    step_x, step_y = round(width * (1 + gap)), round(height * (1 + gap))
    rows = -(-len(sections) // columns)
    size = (columns * step_x, rows * step_y)
    image = np.full((size[1], size[0], 3), GLASS, np.uint8)
    boxes, classes = [], []
    for k, (path, section) in enumerate(zip(slides, sections)):
        x = (k % columns) * step_x + (step_x - width) // 2
        y = (k // columns) * step_y + (step_y - height) // 2
        image[y : y + height, x : x + width] = section.read_region(0, 0, width, height, section.mpp)
        objects, *_ = read_objects(section, str(Path(path).with_suffix(".geojson")), ClassMap({}), None)
        for geometry, name, ignored in objects:
            if not ignored:
                boxes.append(np.array(geometry.bounds) + (x, y, x, y))
                classes.append(name)
    out = folder / "composed.tiff"
    vips = pyvips.Image.new_from_array(image).copy(interpretation="srgb")
    resolution = 1000 / sections[0].mpp
    vips = vips.copy(xres=resolution, yres=resolution)
    vips.tiffsave(str(out), tile=True, pyramid=True, compression="jpeg", Q=90, resunit="cm", bigtiff=True)
    return str(out), np.array(boxes), classes


class Meter:
    """Wall and CPU seconds (of all threads) and the growth of the resident peak, of a call."""

    def __call__(self, function: Callable[[], Any]) -> "Meter":
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts again from here
        before = self._status("VmRSS")
        wall, cpu = time.perf_counter(), time.process_time()
        self.result = function()
        self.wall_s, self.cpu_s = time.perf_counter() - wall, time.process_time() - cpu
        self.mib = (self._status("VmHWM") - before) / 1024
        return self

    def _status(self, key: str) -> int:
        return int(Path("/proc/self/status").read_text().split(f"{key}:")[1].split()[0])


def whole_image(path: str, student: Student) -> np.ndarray:
    slide = Slide(path)
    return slide.read_region(0, 0, *slide.size_at(student.lr_mpp), student.lr_mpp, from_base=False)


def with_mhkd(
    path: str, student: Student, options: DetectOptions, folder: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, dict[str, float]]:
    out = Path(tempfile.mkdtemp(dir=folder))
    detect_slide(path, out, student, options, progress=False)
    found = json.loads((out / Path(path).name / "coco_instances_results.json").read_text())
    run = json.loads((out / Path(path).name / "run.json").read_text())
    shutil.rmtree(out)
    boxes = np.array([r["bbox"] for r in found]).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    classes = np.array([r["category_id"] for r in found], int) - 1
    return boxes, np.array([r["score"] for r in found]), classes, run["tiles"], run["timings"]


def with_sahi(path: str, student: Student, overlap_px: int, model: Any) -> Found:
    from sahi.predict import get_sliced_prediction

    image = whole_image(path, student)
    if model.model.input_format == "RGB":  # SAHI gives it RGB as it is, and the predictor expects BGR
        image = np.ascontiguousarray(image[:, :, ::-1])
    side = student.tile_px
    result = get_sliced_prediction(
        image, model, slice_height=side, slice_width=side, overlap_height_ratio=overlap_px / side,
        overlap_width_ratio=overlap_px / side, perform_standard_pred=False, postprocess_class_agnostic=True,
        verbose=0,
    )  # fmt: skip
    found = result.object_prediction_list
    boxes = np.array([p.bbox.to_xyxy() for p in found], float).reshape(-1, 4)
    scores = np.array([p.score.value for p in found])
    return boxes, scores, np.array([p.category.id for p in found], int)


def with_loop(
    path: str, student: Student, overlap_px: int, predictor: DefaultPredictor, whole_only: bool = False
) -> Found:
    """``whole_only``: leave out boxes that end at a side of their tile inside the slide."""
    image = whole_image(path, student)
    side = student.tile_px
    parts = []
    for x, y in tiles_of(image.shape, side, overlap_px):
        found = predictor(image[y : y + side, x : x + side, ::-1])["instances"].to("cpu")
        if whole_only:
            x0, y0, x1, y1 = found.pred_boxes.tensor.T
            cut = (x0 <= 1) & (x > 0) | (x1 >= side - 1) & (x + side < image.shape[1])
            cut |= (y0 <= 1) & (y > 0) | (y1 >= side - 1) & (y + side < image.shape[0])
            found = found[~cut]
        parts.append((found.pred_boxes.tensor + torch.tensor([x, y, x, y]), found.scores, found.pred_classes))
    boxes, scores, classes = (torch.cat(c) for c in zip(*parts))
    keep = batched_nms(boxes, scores, torch.zeros_like(classes), 0.5)
    return boxes[keep].numpy(), scores[keep].numpy(), classes[keep].numpy()


def tiles_of(shape: Sequence[int], side: int, overlap_px: int) -> list[tuple[int, int]]:
    """Corners of a lattice whose last tiles are flush, as SAHI's."""
    xs, ys = (
        sorted({min(k, max(n - side, 0)) for k in range(0, max(n - overlap_px, 1), side - overlap_px)})
        for n in (shape[1], shape[0])
    )
    return [(x, y) for y in ys for x in xs]


def score(
    found: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    boxes: np.ndarray,
    names: list[str],
    class_names: list[str],
    size: tuple[int, int],
) -> tuple[float, float]:
    """AP and AP50 in percent."""
    known = [k for k, n in enumerate(names) if n in class_names]
    annotations = [
        {"id": i + 1, "image_id": 1, "category_id": class_names.index(names[k]) + 1, "iscrowd": 0,
         "bbox": [*boxes[k, :2].tolist(), *(boxes[k, 2:] - boxes[k, :2]).tolist()],
         "area": float(np.prod(boxes[k, 2:] - boxes[k, :2]))}
        for i, k in enumerate(known)
    ]  # fmt: skip
    truth = COCO({
        "images": [{"id": 1, "width": size[0], "height": size[1], "file_name": "slide"}],
        "annotations": annotations,
        "categories": [{"id": k + 1, "name": n} for k, n in enumerate(class_names)],
    })  # fmt: skip
    results = [
        {"image_id": 1, "category_id": int(c) + 1, "score": float(s),
         "bbox": [*b[:2].tolist(), *(b[2:] - b[:2]).tolist()]}
        for b, s, c in zip(found, scores, classes)
    ]  # fmt: skip
    evaluation = COCOeval_faster(truth, truth.loadRes(results), "bbox", print_function=lambda *_: None)
    evaluation.params.maxDets = [1, 100, 10000]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # IoU, recall, class; all sizes; most detections
    precision = np.where(precision < 0, np.nan, precision)
    return 100 * float(np.nanmean(precision)), 100 * float(np.nanmean(precision[0]))


@click.command(help=__doc__)
@click.argument("annotated", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--student", "folder", required=True, type=click.Path(exists=True))
@click.option("--student-mpp", type=ABOVE_0)
@click.option("--columns", type=FROM_1, default=2, show_default=True, help="Sections side by side.")
@click.option(
    "--gap", type=AT_LEAST_0, default=0.5, show_default=True, help="Glass between sections, in their widths."
)
@click.option("--overlap-um", type=AT_LEAST_0, default=300.0, show_default=True)
@click.option("--batch-size", type=FROM_1, default=4, show_default=True)
@click.option("--rounds", type=FROM_1, default=3, show_default=True)
@click.option("--threads", type=FROM_1, default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write the figures as JSON.")
def main(
    annotated: tuple[str, ...],
    folder: str,
    student_mpp: float | None,
    columns: int,
    gap: float,
    overlap_um: float,
    batch_size: int,
    rounds: int,
    threads: int,
    out: Path | None,
) -> None:
    from sahi import AutoDetectionModel

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    student = load_student(folder, "cpu", student_mpp, overlap_um, min_score=LOWEST_SCORE)
    with contextlib.redirect_stdout(sys.stderr):  # it says there that the config is of no model zoo
        model = AutoDetectionModel.from_pretrained(
            "detectron2",
            model_path=str(Path(folder, "model_final.pth")),
            config_path=str(Path(folder, "config.yaml")),
            confidence_threshold=LOWEST_SCORE,
            device="cpu",
            category_mapping={str(k): c for k, c in enumerate(student.class_names)},
        )
    predictor = model.model
    assert isinstance(predictor, DefaultPredictor)
    overlap_px = 2 * math.ceil(overlap_um / student.lr_mpp / 2 - 1e-9)  # as lay_grid has it
    options = {"score_threshold": LOWEST_SCORE, "overlap_um": overlap_um, "batch_size": batch_size}
    with tempfile.TemporaryDirectory() as temporary:
        temporary = Path(temporary)
        path, boxes, names = compose(annotated, temporary, columns, gap)
        slide = Slide(path)
        to_base = student.lr_mpp / np.array(slide.mpp_xy * 2)
        lattice = len(tiles_of(slide.size_at(student.lr_mpp)[::-1], student.tile_px, overlap_px))
        ways = {
            "mhkd": lambda: with_mhkd(path, student, DetectOptions(**options), temporary),
            "SAHI": lambda: with_sahi(path, student, overlap_px, model),
            "mhkd, same tiles": lambda: with_mhkd(
                path, student, DetectOptions(**options, tissue_only=False), temporary
            ),
            "DefaultPredictor loop": lambda: with_loop(path, student, overlap_px, predictor),
            "loop, whole boxes only": lambda: with_loop(path, student, overlap_px, predictor, True),
        }
        with torch.inference_mode():
            predictor(np.zeros((student.tile_px, student.tile_px, 3), np.uint8))  # warm
        meters = {name: [] for name in ways}
        for k in tqdm(range(rounds), desc="rounds"):
            for name, way in list(ways.items())[:: -1 if k % 2 else 1]:
                meters[name].append(Meter()(way))
        rows, timings = [], {}
        for name, measured in meters.items():
            found, scores, classes, *ours = measured[-1].result
            if ours:
                tiles, timings[name] = ours
            else:
                tiles, found = lattice, found * to_base
            ap, ap50 = score(found, scores, classes, boxes, names, list(student.class_names), slide.size_px)
            cpu, wall = (statistics.median(getattr(m, k) for m in measured) for k in ("cpu_s", "wall_s"))
            ratios = [s.cpu_s / m.cpu_s for s, m in zip(meters["SAHI"], measured)]
            rows.append({
                "way": name, "tiles": tiles, "detections": len(found), "cpu_s": round(cpu, 2),
                "wall_s": round(wall, 2), "tiles_per_cpu_s": round(tiles / cpu, 2),
                "detections_per_cpu_s": round(len(found) / cpu, 1),
                "times_as_fast_as_sahi": round(statistics.median(ratios), 2),
                "lowest": round(min(ratios), 2), "highest": round(max(ratios), 2),
                "ap": round(ap, 1), "ap50": round(ap50, 1),
                "peak_mib": round(max(m.mib for m in measured)),
            })  # fmt: skip
    click.echo(f"{slide.size_px[0]}x{slide.size_px[1]} px, {len(names)} annotated, {threads} thread(s)\n")
    click.echo("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        click.echo("| " + " | ".join(str(v) for v in row.values()) + " |")
    click.echo("\nWhere mhkd's seconds go, in the last round (reading is in threads of its own):")
    for name, seconds in timings.items():
        click.echo(f"  {name}: {json.dumps({k: v for k, v in seconds.items() if k.endswith('_s')})}")
    if out:
        out.write_text(json.dumps({"rows": rows, "timings": timings}, indent=2) + "\n")


if __name__ == "__main__":
    main()
