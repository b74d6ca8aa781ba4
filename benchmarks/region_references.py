#!/usr/bin/env python
"""Time and memory until a dataset of very many tiles, read from slides, is ready to train on.

The annotation files are written as `mhkd tile` writes them (the slides are empty: pixels are not looked at).
Each figure is one new process, from its imports to a shuffled stream that has handed out entries: first
from the COCO file alone, then with the columns that were kept beside it, and last as Detectron2 has it, dicts
in a DatasetFromList (serialised, which workers share), here without outlines, which columns are without too.
Then workers are forked that look at entries all over the dataset; the memory is that of all processes,
each page counted once.
"""

import json
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import mhkd
from mhkd.commands.numbers import AT_LEAST_0, FROM_1
from mhkd.data import read_regions
from mhkd.data.loader import ShuffledStream, training_entries
from mhkd.data.registrar import ensure_registered
from mhkd.files import replacing
from mhkd.tiling.collect import coco_records

import click
import numpy as np
from detectron2.config import get_cfg
from detectron2.data import DatasetFromList, get_detection_dataset_dicts

TILES_PER_SLIDE = 10_000
TILE_PX = 1024
WORKERS = 4
ENTRIES_PER_WORKER = 100_000


def slide_parts(num_tiles: int, objects_per_tile: float, folder: Path) -> Iterator[dict[str, Any]]:
    """Slides with tiles in rows of 100, as :func:`mhkd.tiling.layout.lay_tiles` lays them."""
    rng = random.Random(0)
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    for slide in range(-(-num_tiles // TILES_PER_SLIDE)):
        name = f"slide_{slide:05d}.svs"
        (folder / name).touch()
        tiles = []
        for k in range(min(TILES_PER_SLIDE, num_tiles - slide * TILES_PER_SLIDE)):
            place = {"x_px": 2.0 * TILE_PX * (k % 100), "y_px": 2.0 * TILE_PX * (k // 100), "mpp": 0.5}
            objects = []
            if rng.random() < objects_per_tile:
                r, x, y = rng.uniform(100, 200), rng.uniform(200, 800), rng.uniform(200, 800)
                ring = np.stack([x + r * np.cos(angle), y + r * np.sin(angle)], 1).round(1)
                bbox = [round(v, 2) for v in (x - r, y - r, 2 * r, 2 * r)]
                objects.append({"class": "glomerulus", "bbox": bbox, "area": round(3.14 * r * r, 1),
                                "iscrowd": 0, "segmentation": [ring.ravel().tolist()]})  # fmt: skip
            tiles.append({**place, "width": TILE_PX, "height": TILE_PX, "objects": objects})
        yield {"slide_file": name, "tiles": tiles}


def write(folder: Path, num_tiles: int, objects_per_tile: float) -> Path:
    """Write ``annotations_train.json``, never all of it in memory."""
    annotations = folder / "annotations.part"
    json_file = folder / "annotations_train.json"
    with open(json_file, "w") as f, open(annotations, "w") as part:
        f.write('{"images": [')
        comma = {f: "", part: ""}
        for image, found in coco_records(slide_parts(num_tiles, objects_per_tile, folder), {"glomerulus": 1}):
            for file, record in ((f, image), *((part, a) for a in found)):
                file.write(comma[file] + json.dumps(record))
                comma[file] = ", "
        f.write('], "annotations": [')
        part.close()
        with open(annotations) as written:
            while text := written.read(2**20):
                f.write(text)
        f.write('], "categories": [{"id": 1, "name": "glomerulus"}]}')
    annotations.unlink()
    return json_file


def memory_mib(what: str) -> float:
    """Resident memory of this process, "VmRSS", or its peak, "VmHWM"; getrusage has the parent's peak too."""
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(what)) / 1024


def shared_memory_mib(pids: Iterable[int | None]) -> float:
    """Memory of several processes; pages that they share are counted once (PSS)."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            total += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return total / 1024


def look_around(stream: ShuffledStream, drawn: range, connection: Connection) -> None:
    """Draw entries, then stay until told to end."""
    for k in drawn:
        stream[k]
    connection.send(None)
    connection.recv()


def with_workers_mib(stream: ShuffledStream, num_entries: int) -> float:
    """Memory of this process and of WORKERS that have drawn entries, forked as a DataLoader's are."""
    context = multiprocessing.get_context("fork")
    each = min(ENTRIES_PER_WORKER, num_entries)
    pipes, workers = [], []
    for k in range(WORKERS):
        here, there = context.Pipe()
        pipes.append(here)
        drawn = range(k * each, (k + 1) * each)
        workers.append(context.Process(target=look_around, args=(stream, drawn, there)))
        workers[-1].start()
    for pipe in pipes:
        pipe.recv()
    total = shared_memory_mib([os.getpid(), *(w.pid for w in workers)])
    for pipe, worker in zip(pipes, workers):
        pipe.send(None)
        worker.join()
    return total


def serialised_entries(names: Sequence[str]) -> DatasetFromList:
    """As Detectron2 would train on the dataset."""
    read_regions.MIN_BYTES = float("inf")  # no file is that large
    dicts = get_detection_dataset_dicts(names, filter_empty=False)
    for entry in dicts:
        for annotation in entry["annotations"]:
            annotation.pop("segmentation", None)
    return DatasetFromList(dicts, copy=False, serialize=True)


def get_ready(queue: Queue, root: str, what: str) -> None:
    """What one process measures."""
    before = memory_mib("VmRSS")
    start, cpu = time.perf_counter(), time.process_time()
    cfg = get_cfg()
    mhkd.add_mhkd_config(cfg)
    cfg.DATASETS.TRAIN = ("many_train",)
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False
    ensure_registered(cfg.DATASETS.TRAIN, root)
    serialised = what == "from_coco_serialised"
    entries = serialised_entries(cfg.DATASETS.TRAIN) if serialised else training_entries(cfg)
    stream = ShuffledStream(entries, lambda entry: entry["image_id"], 0)
    num_tiles = min(1000, len(entries))
    assert len({stream[k] for k in range(num_tiles)}) == num_tiles
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = memory_mib("VmHWM")
    queue.put({"entries": len(entries), "seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1),
               "peak_mib": round(peak), "imports_mib": round(before), "held_mib": round(memory_mib("VmRSS")),
               f"with_{WORKERS}_workers_mib": round(with_workers_mib(stream, len(entries)))})  # fmt: skip


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default="output/benchmarks",
    show_default=True,
    help="region_references.json.",
)
@click.option("--num-tiles", type=FROM_1, default=1_000_000, show_default=True)
@click.option("--objects-per-tile", type=AT_LEAST_0, default=0.5, show_default=True)
def main(out: Path, num_tiles: int, objects_per_tile: float) -> None:
    """Measure how soon, and in how much memory, a dataset of NUM_TILES region references is ready."""
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "many"
        folder.mkdir()
        json_file = write(folder, num_tiles, objects_per_tile)
        found = {"file_mib": round(os.path.getsize(json_file) / 2**20)}
        for what in ("from_coco", "from_columns", "from_coco_serialised"):
            context = multiprocessing.get_context("spawn")
            queue = context.Queue()
            process = context.Process(target=get_ready, args=(queue, root, what))
            process.start()
            found[what] = queue.get()
            process.join()
            click.echo(f"{what}: {found[what]}")
    with replacing(out / "region_references.json") as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
