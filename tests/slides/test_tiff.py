"""Damaged TIFFs are refused before a library ends the process over them; odd ones are read."""

import os
import subprocess
import sys
from pathlib import Path

import mhkd  # noqa: F401  (first)
from mhkd.errors import InputError
from mhkd.slides import sources, tiff
from mhkd.slides.reader_process import ProcessPixels
from mhkd.slides.slide import Slide

import cv2
import numpy as np
import pytest
import pyvips
import simplejpeg
import tifffile

NOISE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (300, 420, 3), np.uint8), (0, 0), 3)
OFFSETS, BYTES = 324, 325
TILED = {"tile": True, "tile_width": 64, "tile_height": 64}
KINDS = {
    "jpeg": {**TILED, "pyramid": True, "compression": "jpeg"},
    "big": {**TILED, "pyramid": True, "compression": "jpeg", "bigtiff": True},
    "deflate": {**TILED, "compression": "deflate"},
    "plain": {**TILED, "compression": "none"},
    "strips": {"compression": "lzw"},
    "plain_strips": {"compression": "none"},
}


def write(path, pixels=NOISE, **options):
    image = pyvips.Image.new_from_array(pixels).copy(xres=2000, yres=2000, interpretation="srgb")
    image.tiffsave(str(path), resunit="cm", **options)
    return str(path)


def set_values(path, tag, values, page=0):
    """Overwrite the first values of a tag; tifffile knows where they are."""
    with tifffile.TiffFile(path) as file:
        order = file.byteorder
        found = file.pages[page].tags[tag]
    with open(path, "r+b") as f:
        f.seek(found.valueoffset)
        f.write(np.array(values, order + {3: "u2", 4: "u4", 16: "u8"}[int(found.dtype)]).tobytes())
    return path


def read(path):
    slide = Slide(path, 0.5)
    return slide.read_region(0, 0, *slide.size_px, 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_pages_are_read_as_they_are(tmp_path, kind):
    path = write(tmp_path / "a.tiff", **KINDS[kind])
    pages = tiff.read_pages(path)
    with tifffile.TiffFile(path) as file:
        assert [p.size_px for p in pages] == [p.shape[1::-1] for p in file.pages]
        for page, other in zip(pages, file.pages, strict=True):
            assert page.offsets.tolist() == list(other.dataoffsets)
            assert page.byte_counts.tolist() == list(other.databytecounts)
    assert pages[0].mpp == (0.5, 0.5)


@pytest.mark.parametrize("count", [2**32 - 1, 2**31, 300_000_000])
def test_an_absurd_byte_count_is_one_refused_slide(tmp_path, count):
    path = set_values(write(tmp_path / "bad.tiff", **KINDS["jpeg"]), BYTES, [count])
    with pytest.raises(InputError, match=rf"bad\.tiff: is damaged.*piece 1 of page 1, {count} bytes"):
        Slide(path).size_px  # noqa: B018


@pytest.mark.parametrize(
    "kind, tag, value",
    [
        ("jpeg", tiff.WIDTH, 60_000),
        ("jpeg", tiff.LENGTH, 60_000),
        ("jpeg", 322, 65_520),  # TileWidth
        ("jpeg", OFFSETS, 2**32 - 9),
        ("strips", tiff.WIDTH, 65_535),
        ("plain_strips", tiff.WIDTH, 4_200),
        ("strips", 278, 0),  # RowsPerStrip
        ("strips", tiff.LENGTH, 65_535),
    ],
)
def test_sizes_that_the_file_cannot_hold(tmp_path, kind, tag, value):
    path = set_values(write(tmp_path / "bad.tiff", **KINDS[kind]), tag, [value])
    with pytest.raises(InputError, match=r"bad\.tiff"):
        read(path)


def test_pages_in_a_circle_end(tmp_path):
    path = write(tmp_path / "bad.tiff", **KINDS["jpeg"])
    with tifffile.TiffFile(path) as file:
        first, last = file.pages[0].offset, file.pages[-1]
        after = last.offset + 2 + 12 * len(last.tags)
    with open(path, "r+b") as f:
        f.seek(after)
        f.write(first.to_bytes(4, "little"))
    with pytest.raises(InputError, match="is one that was there before"):
        Slide(path).size_px  # noqa: B018


@pytest.mark.slow
def test_mutated_files_end_no_process_hang_nowhere_and_take_no_memory(tmp_path):
    for kind, options in KINDS.items():
        write(tmp_path / f"source_{kind}.tiff", **options)
    program = Path(__file__).with_name("mutations.py")
    run = subprocess.run(
        [sys.executable, program, tmp_path, "400"], capture_output=True, text=True, timeout=120
    )
    lines = [line.split() for line in run.stdout.splitlines() if line.startswith(("begin", "end"))]
    assert run.returncode == 0, f"{lines[-1]}: {run.stderr[-1000:]}"
    ends = [line for line in lines if line[0] == "end"]
    assert len(ends) == 400
    outcomes = {outcome: sum(e[1] == outcome for e in ends) for outcome in ("read", "damaged", "refused")}
    assert min(outcomes.values()) > 10  # all three are tried
    assert max(float(e[2]) for e in ends) < 10
    assert int(ends[-1][3]) - int(ends[0][3]) < 400  # MiB


def test_blank_and_shared_tiles(tmp_path):
    """A tile of no bytes is white; tiles may share their bytes."""
    path = write(tmp_path / "a.tiff", **KINDS["jpeg"])
    want = read(path)
    with tifffile.TiffFile(path) as file:
        offsets, counts = (list(file.pages[0].tags[t].value) for t in (OFFSETS, BYTES))
    set_values(path, OFFSETS, [0, offsets[1], offsets[1]])
    set_values(path, BYTES, [0, counts[1], counts[1]])
    got = read(path)
    assert (got[:64, :64] == 255).all()
    np.testing.assert_array_equal(got[:64, 128:192], want[:64, 64:128])
    np.testing.assert_array_equal(got[64:], want[64:])


def write_trestle(path):
    """A slide of a format whose geometry is not in its tags alone, so that it is not checked."""
    padded = np.pad(NOISE, ((0, 212), (0, 92), (0, 0)))
    tiles = [padded[y : y + 256, x : x + 256] for y in (0, 256) for x in (0, 256)]
    with tifffile.TiffWriter(path) as f:
        f.write(
            (simplejpeg.encode_jpeg(np.ascontiguousarray(t), 95, "RGB", "444") for t in tiles),
            shape=NOISE.shape, dtype=np.uint8, tile=(256, 256), compression="zlib", photometric="ycbcr",
            subsampling=(1, 1), software="MedScan", metadata=None,
            description="Background Color=16777215;White Balance=0;Objective Power=10;JPEG Quality=100",
        )  # fmt: skip
    return set_values(str(path), tiff.COMPRESSION, [7])  # which it does not write by itself


def assert_is_noise(got, want):
    assert np.abs(got.astype(int) - want).mean() < 2  # JPEG


def test_formats_that_are_not_checked_are_read_by_another_process(tmp_path):
    slide = Slide(write_trestle(tmp_path / "t.tif"), 0.5)
    assert isinstance(slide.pixels, ProcessPixels)
    assert slide.size_px == (420, 300)
    assert_is_noise(slide.read_region(-10, 20, 200, 150, 0.5)[:, 10:], NOISE[20:170, :190])


@pytest.mark.slow
def test_a_reader_that_dies_is_one_error_and_the_next_window_is_read(tmp_path):
    slide = Slide(write_trestle(tmp_path / "t.tif"), 0.5)
    os.kill(slide.pixels._process.pid, 6)
    with pytest.raises(InputError, match=r"t\.tif: its pixels at base pixel \(3, 4\) are damaged"):
        slide.read_region(3, 4, 20, 20, 0.5)
    assert_is_noise(slide.read_region(0, 0, 420, 300, 0.5), NOISE)


@pytest.mark.slow
def test_what_ends_openslide_ends_the_reader_only(tmp_path, monkeypatch):
    path = write_trestle(tmp_path / "t.tif")
    set_values(path, BYTES, [2**32 - 1])
    with pytest.raises(InputError, match="piece 1 of page 1"):
        Slide(path, 0.5).size_px  # noqa: B018
    monkeypatch.setattr(sources.tiff, "read_pages", lambda path: None)  # as of a format without tags
    with pytest.raises(InputError, match=r"t\.tif.*damaged.*has ended"):
        read(path)
