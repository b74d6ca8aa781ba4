#!/usr/bin/env python
"""Tiles per CPU-second from a JPEG pyramid, against the loop one writes with openslide-python and Pillow.

Like is compared with like: both resample from the same level, once the one that OpenSlide recommends for
the scale (here the very resolution, so that nothing is left to resample; slide detection reads so) and
once the base level (datasets are read so). The two take turns on the same neighbouring tiles, with empty
caches; each figure is the median of the rounds. Last, how much memory a worker takes for the same reads.
"""

import json
import math
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from mhkd.commands.numbers import FROM_1, whole_numbers
from mhkd.files import replacing
from mhkd.slides.slide import Slide
from mhkd.slides.windows import tile_cache
from mhkd.synthetic import render_slide

import click
import cv2
import numpy as np
import openslide
import pyvips

MPP = 0.25
DRAWN_PX = 2048  # side of the picture that the slide is paved with
FRACTIONAL = 3.97  # scale that takes the most memory: from the base level, by Pillow
Corners = Sequence[tuple[int, int]]
MAX_BASE_PX = 2**27  # a round reads no more of the base level


def draw(path: Path, size_px: int) -> None:
    """Write a paved slide."""
    rgb, _ = render_slide(0, DRAWN_PX, 1.0, num_glomeruli=20)
    times = -(-size_px // DRAWN_PX)
    image = pyvips.Image.new_from_array(rgb).replicate(times, times).crop(0, 0, size_px, size_px)
    write_pyramid(path, image.copy(interpretation="srgb"), (MPP, MPP))


def write_pyramid(path: str | os.PathLike[str], image: pyvips.Image, mpp_xy: tuple[float, float]) -> None:
    """Write JPEG tiles (256 px, quality 85)."""
    image = image.copy(xres=1000 / mpp_xy[0], yres=1000 / mpp_xy[1])
    with replacing(path) as temporary:
        image.tiffsave(
            str(temporary), tile=True, tile_width=256, tile_height=256, pyramid=True, compression="jpeg",
            Q=85, bigtiff=True, resunit="cm",
        )  # fmt: skip


def plain_loop(
    path: str, corners: Corners, scale: float, tile_px: int, from_base: bool
) -> Iterator[np.ndarray]:
    slide = openslide.OpenSlide(path)
    level = 0 if from_base else slide.get_best_level_for_downsample(scale)
    read_px = round(tile_px * scale / slide.level_downsamples[level])
    for x, y in corners:
        tile = slide.read_region((x, y), level, (read_px, read_px)).convert("RGB")
        yield np.asarray(tile if read_px == tile_px else tile.resize((tile_px, tile_px)))


def mhkd_loop(
    path: str, corners: Corners, scale: float, tile_px: int, from_base: bool
) -> Iterator[np.ndarray]:
    slide = Slide(path)
    for x, y in corners:
        yield slide.read_region(x, y, tile_px, tile_px, MPP * scale, from_base=from_base)


def block(size_px: int, scale: float, tile_px: int, from_base: bool, rng: np.random.Generator) -> Corners:
    """Corners of neighbouring tiles, row by row, somewhere on the slide."""
    side = math.ceil(tile_px * scale)
    across = max(1, min(8, size_px // side))
    while from_base and across > 1 and (across * side) ** 2 > MAX_BASE_PX:
        across -= 1
    x0, y0 = (int(v) for v in rng.integers(0, max(1, size_px - across * side), 2))
    return [(x0 + i * side, y0 + j * side) for j in range(across) for i in range(across)]


def tiles_per_second(
    loop: Callable[..., Iterator[np.ndarray]], path: str, corners: Corners, *args: Any
) -> float:
    tile_cache.clear()
    start = time.process_time()
    for _ in loop(path, corners, *args):
        pass
    return len(corners) / (time.process_time() - start)


def compare(
    path: str, size_px: int, scale: int, tile_px: int, from_base: bool, rounds: int
) -> dict[str, Any]:
    """Medians of tiles per CPU-second, and of the rounds' ratios."""
    rng = np.random.default_rng(scale)
    theirs, ours = [], []
    for k in range(rounds + 1):  # the first warms up
        corners = block(size_px, scale, tile_px, from_base, rng)
        args = (path, corners, scale, tile_px, from_base)
        pair = [(plain_loop, theirs), (mhkd_loop, ours)]
        for loop, found in pair[:: -1 if k % 2 else 1]:
            found.append(tiles_per_second(loop, *args))
    theirs, ours = theirs[1:], ours[1:]
    return {
        "scale": scale,
        "from": "base level" if from_base else "best level",
        "plain_tiles_per_s": statistics.median(theirs),
        "mhkd_tiles_per_s": statistics.median(ours),
        "ratio": statistics.median(o / t for o, t in zip(ours, theirs)),
    }


def memory_mib(what: str) -> float:
    """Resident memory of this process, "VmRSS", or its peak, "VmHWM"; getrusage has the parent's peak too."""
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(what)) / 1024


def worker(queue: Queue, path: str, size_px: int, scales: Sequence[int], tile_px: int) -> None:
    """MiB above its imports that a worker takes at most."""
    cv2.setNumThreads(1)
    before = memory_mib("VmRSS")
    rng = np.random.default_rng(0)
    for scale in (*scales, FRACTIONAL):
        for from_base in (False, True):
            for _ in range(2):
                corners = block(size_px, scale, tile_px, from_base, rng)
                for _ in mhkd_loop(path, corners, scale, tile_px, from_base):
                    pass
    queue.put(memory_mib("VmHWM") - before)


def markdown(found: dict[str, Any]) -> str:
    lines = [
        f"Slide of {found['size_px']} px square, JPEG tiles of 256 px; tiles of {found['tile_size_px']} px; "
        f"{found['machine']}.",
        "",
        "| scale | read from | openslide-python + Pillow, tiles/CPU-s | mhkd, tiles/CPU-s | ratio |",
        "|---:|---|---:|---:|---:|",
    ]
    lines += [
        f"| {r['scale']}x | {r['from']} | {r['plain_tiles_per_s']:.2f} | {r['mhkd_tiles_per_s']:.2f} | "
        f"{r['ratio']:.1f} |"
        for r in found["rows"]
    ]
    return "\n".join([*lines, "", f"A worker takes {found['worker_mib']:.0f} MiB above its imports."])


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default="output/benchmarks",
    show_default=True,
    help="read_tiles.md and .json; the slide is drawn there once.",
)
@click.option(
    "--size-px",
    type=FROM_1,
    default=60000,
    show_default=True,
    help="Side of the slide; less for a quick look.",
)
@click.option("--tile-size-px", type=FROM_1, default=512, show_default=True)
@click.option("--scales", default="1,4,8", show_default=True, help="Base pixels per pixel.")
@click.option("--rounds", type=FROM_1, default=5, show_default=True)
def main(out: Path, size_px: int, tile_size_px: int, scales: str, rounds: int) -> None:
    """Compare reading tiles with the plain openslide-python + Pillow loop."""
    cv2.setNumThreads(1)
    numbers = whole_numbers(scales, "--scales", least=1)
    if size_px < max(numbers) * tile_size_px:
        raise click.ClickException(f"--size-px {size_px}: must hold a tile at {max(numbers)}x")
    path = out / f"pyramid_{size_px}.tiff"
    if not path.exists():
        click.echo(f"drawing {path}", err=True)
        draw(path, size_px)
    rows = [
        compare(str(path), size_px, scale, tile_size_px, from_base, rounds)
        for scale in numbers
        for from_base in ((False, True) if scale > 1 else (True,))
    ]
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=worker, args=(queue, str(path), size_px, numbers, tile_size_px))
    process.start()
    machine = f"{os.cpu_count()} CPU cores ({platform.machine()}), OpenSlide {openslide.__library_version__}"
    found = {"size_px": size_px, "tile_size_px": tile_size_px, "rounds": rounds, "machine": machine}
    found.update(rows=rows, worker_mib=queue.get())
    process.join()
    with replacing(out / "read_tiles.json") as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n")
    with replacing(out / "read_tiles.md") as temporary:
        temporary.write_text(markdown(found) + "\n")
    click.echo(markdown(found))


if __name__ == "__main__":
    main()
