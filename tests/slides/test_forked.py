"""Slides in workers that were forked from a process that has read some, as DataLoader's are."""

import multiprocessing

import mhkd  # noqa: F401  (first)
from mhkd.slides.slide import Slide

import numpy as np
import pytest
import pyvips
from tiff_pages import RGB

WAITED_S = 120


def read(path, answers):
    slide = Slide(path)
    answers.put((type(slide.pixels).__name__, slide.mpp, slide.read_region(0, 0, 420, 300, slide.mpp)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout, reader",
    [
        ({"tile": False, "compression": "lzw"}, "ProcessPixels"),  # libvips, which might hang
        ({"tile": True, "tile_width": 64, "tile_height": 64, "compression": "lzw"}, "OpenSlidePixels"),
    ],
)
def test_a_forked_worker_reads_what_the_first_process_does(tmp_path, layout, reader):
    path = tmp_path / "a.tiff"
    image = pyvips.Image.new_from_array(RGB).copy(xres=2000, yres=2000, interpretation="srgb")
    image.tiffsave(str(path), resunit="cm", **layout)
    slide = Slide(path)
    np.testing.assert_array_equal(slide.read_region(0, 0, 420, 300, slide.mpp), RGB)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    worker = context.Process(target=read, args=(path, answers))
    worker.start()
    try:
        name, mpp, pixels = answers.get(timeout=WAITED_S)
        worker.join(WAITED_S)
    finally:
        worker.kill()
    assert (name, mpp) == (reader, slide.mpp)
    np.testing.assert_array_equal(pixels, RGB)
