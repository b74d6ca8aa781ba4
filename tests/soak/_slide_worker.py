"""Reads slides as the package does, in a process of its own: a line of JSON in, a line of JSON out.

In: {"path", "mpp" or null, "reference" (.npz) or null, "save" (.npz) or null}. Out: {"refused"} or what
was read, and how it differs from the reference; "trace" where something else than InputError was raised;
"mib", how far memory rose above what it was at the start.
"""

import json
import os
import sys
import traceback
from pathlib import Path

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.errors import InputError
from mhkd.slides.block_mean import block_mean
from mhkd.slides.reader_process import ProcessPixels
from mhkd.slides.slide import Slide
from mhkd.system import limit_process

import numpy as np

TILE_PX = 512
VIEWS = {"high": 1, "low": 4, "overview": 16}  # micrometres per pixel, of the slide's own
LARGEST_PX = 3000  # a larger slide, or one that claims to be, is read in part
MEMORY = 8 * 2**30  # address space, a backstop only: what is counted is memory in use
BLOCK_PX = 8  # in which views from another level are compared


def peak_mib(pid="self"):
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(status.split("VmHWM:")[1].split()[0]) // 1024 if "VmHWM:" in status else 0


def read_view(slide, factor):
    """All of it, tile by tile; and which pixels could be read."""
    mpp = slide.mpp * factor
    size = [min(n, LARGEST_PX) for n in slide.size_at(mpp)]
    pixels, known, error = np.zeros((size[1], size[0], 3), np.uint8), np.ones(size[::-1], bool), None
    for y in range(0, size[1], TILE_PX):
        for x in range(0, size[0], TILE_PX):
            w, h = min(TILE_PX, size[0] - x), min(TILE_PX, size[1] - y)
            try:
                part = slide.read_region(x * factor, y * factor, w, h, mpp, from_base=factor == 1)
                pixels[y : y + h, x : x + w] = part
            except InputError as e:
                known[y : y + h, x : x + w], error = False, str(e)
    return pixels, known, error


def difference(pixels, known, want, factor):
    """The box of base pixels in which a view is another, and by how much in blocks; None where it is not."""
    other = (pixels != want).any(-1) & known
    if not other.any():
        return None
    rows, columns = (np.flatnonzero(other.any(axis)) for axis in (1, 0))
    box = [int(v) * factor for v in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)]
    height, width = (n // BLOCK_PX * BLOCK_PX for n in known.shape)
    if not width or not height:
        return {"box": box, "grey_levels": float(np.abs(pixels.astype(int) - want)[known].mean())}
    size = (width // BLOCK_PX, height // BLOCK_PX)
    means = [block_mean(np.ascontiguousarray(p[:height, :width]), size).astype(int) for p in (pixels, want)]
    whole = known[:height, :width].reshape(size[1], BLOCK_PX, size[0], BLOCK_PX).all((1, 3))
    apart = np.abs(means[0] - means[1]).max(-1) * whole
    return {"box": box, "grey_levels": int(apart.max()), "share": float(other.mean())}


def read(request):
    answer = {}
    slide = Slide(request["path"], request["mpp"])
    try:
        answer |= {"size_px": slide.size_px, "mpp": slide.mpp_xy, "levels": list(slide.pixels.downsamples)}
    except InputError as e:
        return {"refused": str(e)}
    want = np.load(request["reference"]) if request["reference"] else None
    saved, errors, wrong = {}, {}, {}
    for name, factor in VIEWS.items():
        pixels, known, error = read_view(slide, factor)
        saved[name] = pixels
        if error:
            errors[name] = error
        if want is not None:
            if pixels.shape != want[name].shape:
                wrong[name] = {"shape": pixels.shape}
            elif found := difference(pixels, known, want[name], factor):
                wrong[name] = found
    if request["save"]:
        np.savez(request["save"], **saved)
    if isinstance(slide.pixels, ProcessPixels) and slide.pixels._process:
        answer["reader_mib"] = peak_mib(slide.pixels._process.pid)
    return answer | {"errors": errors, "wrong": wrong}


def main():
    answers = sys.stdout
    sys.stdout = sys.stderr
    limit_process(MEMORY)
    start = peak_mib()
    print(json.dumps({"ready": start}), file=answers, flush=True)
    for line in sys.stdin:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is this slide's
        begun = sum(os.times()[:4])  # of this process and its children
        try:
            answer = read(json.loads(line))
        except Exception:
            answer = {"trace": traceback.format_exc()}
        answer |= {"seconds": sum(os.times()[:4]) - begun, "mib": peak_mib() - start}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
