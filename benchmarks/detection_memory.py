#!/usr/bin/env python
"""Peak memory of `mhkd detect` against the size of the slide, the tissue being the same.

Each slide is glass with SECTION, a slide of tissue, in its middle, written as a pyramid of JPEG tiles. Each
is searched in a process of its own; MiB are those above what the process had with the student loaded. The
first row is the section alone.
"""

import multiprocessing
import tempfile
import time
from multiprocessing.queues import Queue
from pathlib import Path

import mhkd  # noqa: F401  (first)
from mhkd.commands.numbers import whole_numbers
from mhkd.slide_detection.options import DetectOptions
from mhkd.slide_detection.run import detect_slide
from mhkd.slide_detection.student import load_student
from mhkd.slides.slide import Slide

import click
import pyvips
import torch
from read_tiles import memory_mib, write_pyramid

GLASS = (244, 243, 245)


def draw(path: str, section: str, size_px: int) -> None:
    """Write the section in the middle of a square of glass."""
    slide = Slide(section)
    image = pyvips.Image.new_from_file(section)
    x, y = ((size_px - n) // 2 for n in slide.size_px)
    image = image.embed(x, y, size_px, size_px, extend="background", background=list(GLASS))
    write_pyramid(path, image, slide.mpp_xy)


def worker(queue: Queue, path: str, folder: str, options: DetectOptions) -> None:
    """Glomeruli, MiB and CPU seconds of one slide."""
    torch.set_num_threads(1)
    student = load_student(folder, "cpu", None, options.overlap_um)
    before, began = memory_mib("VmRSS"), time.process_time()
    with tempfile.TemporaryDirectory() as out:
        summary = detect_slide(path, out, student, options, progress=False)
    queue.put((summary["glomeruli"], memory_mib("VmHWM") - before, time.process_time() - began))


@click.command(help=__doc__)
@click.argument("section", type=click.Path(exists=True))
@click.option("--student", required=True, type=click.Path(exists=True))
@click.option("--sizes", default="10000,20000,40000,60000", show_default=True, help="Sides in base pixels.")
@click.option("--glass-too", is_flag=True, help="Search all of it: as many tiles as the slide is large.")
def main(section: str, student: str, sizes: str, glass_too: bool) -> None:
    context = multiprocessing.get_context("spawn")
    click.echo("| side, px | glomeruli | peak MiB | CPU s |\n|---:|---:|---:|---:|")
    for size in [None, *whole_numbers(sizes, "--sizes", least=1)]:
        with tempfile.TemporaryDirectory() as folder:
            path = section
            if size:
                path = str(Path(folder, "slide.tiff"))
                draw(path, section, size)
            queue = context.Queue()
            args = (queue, path, student, DetectOptions(tissue_only=not glass_too))
            process = context.Process(target=worker, args=args)
            process.start()
            glomeruli, mib, seconds = queue.get()
            process.join()
        side = "x".join(map(str, Slide(section).size_px)) if size is None else size
        click.echo(f"| {side} | {glomeruli} | {mib:.0f} | {seconds:.1f} |")


if __name__ == "__main__":
    main()
