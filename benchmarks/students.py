#!/usr/bin/env python
"""What an image costs: the teacher on HR, and students on LR in PyTorch, ONNX and int8, taking turns.

One image is a field of 1024 x 1024 HR pixels. CPU seconds of one thread are medians of the rounds, ratios
those of each round's; memory is the peak above an empty process of the same packages, loading included.
Without --student the networks are those of the KidneyROI configs at x4 with random weights.
"""

import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import mhkd
from mhkd.commands.numbers import FROM_1
from mhkd.comparison.measure import count_flops, count_parameters
from mhkd.engine.exported import export_cfg, export_network, exported_cfg, load_deployed
from mhkd.modeling import is_student
from mhkd.onnx_export.export import export_onnx
from mhkd.onnx_file import OnnxNetwork
from mhkd.slide_detection.student import load_student
from mhkd.slides.views import downsample
from mhkd.synthetic.render import render_slide
from mhkd.synthetic.slides import write_tiff

import click
import numpy as np
import torch
from detectron2.modeling import build_model
from read_tiles import memory_mib
from torch import nn
from tqdm import tqdm

CONFIGS = Path(__file__).parents[1] / "projects/MHKD/configs/KidneyROI"
UNTRAINED = {
    "upsampled": "mhkd_R18_FPN_cpu",
    "native": "native_R18_FPN_cpu",
    "native, half as wide": "native_half_R18_FPN_cpu",
}
HR_PX, MPP = 1024, 0.5
TEACHER = "teacher, on HR"
BACKGROUND = 2.5


def write_untrained(folder: Path) -> dict[str, Path]:
    """Folders of a teacher and of students."""
    found = {}
    for name, config in UNTRAINED.items():
        cfg = mhkd.load_cfg(str(CONFIGS / f"{config}.yaml"))
        cfg.MODEL.DEVICE, cfg.MHKD.LR_MPP = "cpu", MPP * cfg.INPUT.LR_FACTOR
        torch.manual_seed(0)
        model = build_model(cfg)
        for network in (model.teacher, model.student):  # a few boxes, as a trained one has
            network.roi_heads.box_predictor.cls_score.bias.data[-1] = BACKGROUND
        if not found:
            found[TEACHER] = folder / "teacher"
            export_network(model.teacher.state_dict(), export_cfg(cfg, "teacher"), found[TEACHER])
        found[name] = folder / config
        export_network(model.student.state_dict(), export_cfg(cfg, "student"), found[name])
    return found


def write_onnx(folders: dict[str, Path], folder: Path, calibrate_on: list[str]) -> dict[str, Path]:
    """All that is measured: the folders, and behind each student what is exported of it."""
    paths = {}
    for key, path in folders.items():
        paths[key] = path
        if key != TEACHER:
            for what, sources, int8 in (("ONNX", [], False), ("ONNX int8", calibrate_on, True)):
                paths[f"{key}, {what}"] = folder / f"{len(paths)}.onnx"
                export_onnx(path, paths[f"{key}, {what}"], sources, int8)
    return paths


def prepare(path: Path, hr: np.ndarray) -> tuple[Callable[[], Any], nn.Module | None]:
    """A call that finds glomeruli in the image, on HR or as `mhkd detect` looks at a tile; the network."""
    if path.suffix == ".onnx" or is_student(exported_cfg(path)):
        is_folder = path.suffix != ".onnx"
        recorded = exported_cfg(path).MHKD.LR_MPP if is_folder else OnnxNetwork(path).record.lr_mpp
        student = load_student(str(path), "cpu", None if recorded else MPP, overlap_um=0.0, threads=1)
        tile = student.prepare(downsample(hr, student.lr_factor))
        return lambda: student.detect([tile]), getattr(student, "network", None)
    network = load_deployed(exported_cfg(path, "cpu")).eval()
    image = torch.from_numpy(hr.transpose(2, 0, 1).copy())
    return lambda: network([{"image": image, "height": HR_PX, "width": HR_PX}]), network


def measure_memory(queue: Queue, path: Path, hr: np.ndarray) -> None:
    torch.set_num_threads(1)
    before = memory_mib("VmRSS")
    with torch.inference_mode():
        prepare(path, hr)[0]()
    queue.put(memory_mib("VmHWM") - before)


def measure(paths: dict[str, Path], hr: np.ndarray, rounds: int) -> list[dict[str, Any]]:
    """A row each; ratios are over the first student's in PyTorch."""
    reference = next(key for key in paths if key != TEACHER)
    looks, networks = {}, {}
    for key, path in paths.items():
        looks[key], networks[key] = prepare(path, hr)
    seconds: dict[str, list[float]] = {key: [] for key in paths}
    for turn in tqdm(range(rounds + 1), desc="rounds"):
        for key, look in looks.items():
            began = time.process_time()
            with torch.inference_mode():
                look()
            if turn:
                seconds[key].append(time.process_time() - began)
    context, rows = multiprocessing.get_context("spawn"), []
    for key, path in paths.items():
        queue = context.Queue()
        process = context.Process(target=measure_memory, args=(queue, path, hr))
        process.start()
        memory = queue.get()
        process.join()
        network = networks[key] if isinstance(networks[key], nn.Module) else networks[key.split(", ONNX")[0]]
        factor = 1 if key == TEACHER else exported_cfg(paths[key.split(", ONNX")[0]]).INPUT.LR_FACTOR
        pixels = torch.zeros(3, HR_PX // factor, HR_PX // factor)
        image = {"image": pixels, "height": HR_PX, "width": HR_PX}
        files = path.rglob("*.pth") if path.is_dir() else [path]
        rows.append({
            "network": key,
            "M parameters": round(count_parameters(network) / 1e6, 2),
            "GFLOPs": round(count_flops(network, image) / 1e9, 1),
            "CPU s": round(statistics.median(seconds[key]), 3),
            f"times as fast as {reference}": round(
                statistics.median(a / b for a, b in zip(seconds[reference], seconds[key])), 2
            ),
            "MiB": round(memory),
            "file MB": round(sum(p.stat().st_size for p in files) / 1e6, 1),
        })  # fmt: skip
    return rows


@click.command(help=__doc__)
@click.option("--teacher", type=click.Path(exists=True, path_type=Path), help="Exported folder.")
@click.option(
    "--student", "students", metavar="NAME=FOLDER", multiple=True, help="The first is compared with."
)
@click.option("--calibrate-on", multiple=True, metavar="DATASET|SLIDE", help="Int8; default: a drawn slide.")
@click.option("--rounds", type=FROM_1, default=7, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write the figures as JSON.")
def main(
    teacher: Path | None,
    students: tuple[str, ...],
    calibrate_on: tuple[str, ...],
    rounds: int,
    out: Path | None,
) -> None:
    torch.set_num_threads(1)
    drawn, _ = render_slide(0, 4 * HR_PX, MPP, num_glomeruli=20)
    hr = np.ascontiguousarray(drawn[HR_PX:, HR_PX:][:HR_PX, :HR_PX])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tiff(folder / "slide.tiff", drawn, MPP, "drawn")
        given = {k: Path(v) for k, _, v in (s.partition("=") for s in students)}
        folders = {**({TEACHER: teacher} if teacher else {}), **given} if given else write_untrained(folder)
        sources = list(calibrate_on) or [str(folder / "slide.tiff")]
        rows = measure(write_onnx(folders, folder, sources), hr, rounds)
    click.echo("| " + " | ".join(rows[0]) + " |\n|---|" + "---:|" * (len(rows[0]) - 1))
    for row in rows:
        click.echo("| " + " | ".join("" if v is None else str(v) for v in row.values()) + " |")
    if out:
        out.write_text(json.dumps({"rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
